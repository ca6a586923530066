"""Names, attributes, links and listings of a plan, asked for as the kernel asks."""

from __future__ import annotations

import errno
import stat
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.mounts.fuse import names
from modelcar.mounts.fuse.tree import Tree
from modelcar.mounts.fuse.wire import ROOT, Opcode, Read, Request
from tests.support.plans import plan_of

TREE = Tree(
    plan_of(
        [10_000],
        {"config.json": (0, 0, 100), "a/b/weights": (0, 4096, 5000), "a/empty": (0, 0, 0)},
        {"a/link": "../config.json"},
    ),
    uid=3,
    gid=4,
)


def ask(opcode: int, node: int, body: bytes = b"", tree: Tree = TREE) -> tuple[int, bytes]:
    """The `errno`, and the body."""
    raw = names.answer(tree, Request(opcode=opcode, unique=77, node=node, pid=1, body=body))
    length, error, unique = struct.unpack_from("=IiQ", raw)
    assert (length, unique) == (len(raw), 77)
    return -error, raw[16:]


def look_up(folder: int, name: str, tree: Tree = TREE) -> int:
    error, body = ask(Opcode.LOOKUP, folder, name.encode() + b"\0", tree)
    assert error == 0
    return int(struct.unpack_from("=Q", body)[0])


def walk(tree: Tree, *path: str) -> int:
    node = ROOT
    for name in path:
        node = look_up(node, name, tree)
    return node


def listed(node: int, size: int, tree: Tree = TREE, *, plus: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Name, node and type of every entry, read in portions of `size` bytes."""
    place = 0
    while True:
        opcode = Opcode.READDIRPLUS if plus else Opcode.READDIR
        error, body = ask(opcode, node, Read(offset=place, size=size).to_bytes(), tree)
        assert error == 0
        assert len(body) <= size
        if not body:
            return
        at = 0
        while at < len(body):
            at += 128 if plus else 0
            number, place, length, kind = struct.unpack_from("=QQII", body, at)
            yield body[at + 24 : at + 24 + length], number, kind
            at += (24 + length + 7) // 8 * 8


def attributes(node: int) -> tuple[int, int, int, int, int]:
    """Size, mode, links, owner and group."""
    error, body = ask(Opcode.GETATTR, node)
    assert error == 0
    size = struct.unpack_from("=Q", body, 24)[0]
    return (size, *struct.unpack_from("=IIII", body, 16 + 60))


def test_files_folders_and_links_are_what_the_plan_says() -> None:
    assert attributes(walk(TREE, "config.json")) == (100, stat.S_IFREG | 0o644, 1, 3, 4)
    assert attributes(walk(TREE, "a", "empty")) == (0, stat.S_IFREG | 0o644, 1, 3, 4)
    assert attributes(walk(TREE, "a", "link")) == (14, stat.S_IFLNK | 0o777, 1, 3, 4)
    assert attributes(walk(TREE, "a")) == (4096, stat.S_IFDIR | 0o755, 3, 3, 4)
    assert attributes(ROOT)[1:3] == (stat.S_IFDIR | 0o755, 3)


def test_a_link_says_where_it_leads() -> None:
    assert ask(Opcode.READLINK, walk(TREE, "a", "link")) == (0, b"../config.json")
    assert ask(Opcode.READLINK, walk(TREE, "config.json"))[0] == errno.EINVAL


def test_what_is_not_there_is_no_error_but_an_answer() -> None:
    assert look_up(ROOT, "model.safetensors.index.json") == 0


@pytest.mark.parametrize("plus", [False, True])
def test_a_folder_lists_itself_its_parent_and_what_is_in_it(plus: bool) -> None:
    folder = walk(TREE, "a")
    assert {name: (number, kind) for name, number, kind in listed(folder, 4096, plus=plus)} == {
        b".": (folder, 4),
        b"..": (ROOT, 4),
        b"b": (walk(TREE, "a", "b"), 4),
        b"empty": (walk(TREE, "a", "empty"), 8),
        b"link": (walk(TREE, "a", "link"), 10),
    }


@given(
    st.sets(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60), max_size=40),
    st.integers(400, 5000),
    st.booleans(),
)
def test_listings_in_portions_lack_nothing_and_repeat_nothing(found: set[str], size: int, plus: bool) -> None:
    found -= {".", ".."}
    tree = Tree(plan_of([1], dict.fromkeys(found, (0, 0, 1))))
    entries = [name.decode() for name, _, _ in listed(ROOT, size, tree, plus=plus)]
    assert sorted(entries) == sorted([".", "..", *found])
    for name in found:
        assert look_up(ROOT, name, tree) > ROOT


def test_the_same_plan_has_the_same_numbers() -> None:
    plan = plan_of([1], {"z": (0, 0, 1), "a/y": (0, 0, 1), "a/b/x": (0, 0, 0)}, {"m": "z"})
    paths = [("z",), ("a",), ("a", "y"), ("a", "b"), ("a", "b", "x"), ("m",)]
    first, second = Tree(plan), Tree(plan)
    numbers = [walk(first, *path) for path in paths]
    assert numbers == [walk(second, *path) for path in paths]
    assert len(set(numbers)) == len(paths) == len(first) - 1


def test_files_are_found_by_their_blob() -> None:
    tree = Tree(plan_of([5, 5], {"a": (0, 0, 1), "b": (1, 0, 1), "c": (0, 1, 1)}))
    assert tree.files_in(0) == [walk(tree, "a"), walk(tree, "c")]
    assert tree.files_in(1) == [walk(tree, "b")]


@pytest.mark.parametrize("opcode", [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 51])
def test_nothing_can_be_changed(opcode: int) -> None:
    assert ask(opcode, walk(TREE, "config.json"))[0] == errno.EROFS


@pytest.mark.parametrize("opcode", [Opcode.OPEN, Opcode.OPENDIR, 22, 23, 34, 39, 46, 52, 4000])
def test_what_needs_no_message_or_is_not_known_is_not_asked_again(opcode: int) -> None:
    assert ask(opcode, ROOT)[0] == errno.ENOSYS


def test_a_node_of_no_plan_is_stale() -> None:
    assert ask(Opcode.GETATTR, 10_000)[0] == errno.ESTALE


def test_a_file_is_no_folder() -> None:
    assert ask(Opcode.LOOKUP, walk(TREE, "config.json"), b"x\0")[0] == errno.ENOTDIR
    assert ask(Opcode.READDIR, walk(TREE, "config.json"), Read(offset=0, size=100).to_bytes())[0] == errno.ENOTDIR


def test_the_size_of_all_is_told() -> None:
    error, body = ask(Opcode.STATFS, ROOT)
    assert error == 0
    assert struct.unpack_from("=Q", body)[0] == 2  # blocks of 4096 bytes


@given(st.integers(0, 60), st.integers(0, 12), st.binary(max_size=80))
def test_every_request_has_an_answer(opcode: int, node: int, body: bytes) -> None:
    error, answer = ask(opcode, node, body)
    assert not (error and answer)
