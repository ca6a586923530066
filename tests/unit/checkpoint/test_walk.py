from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.checkpoint import Checkpoint, Role, open_checkpoint, walk
from modelcar.checkpoint.names import check_name
from modelcar.errors import EmptySource, MalformedFile, SourceChanged, SourceError, StorageError, UnsafePath
from modelcar.files import FileStamp

from .conftest import Tree

Folder = Callable[..., Path]


def paths(checkpoint: Checkpoint) -> list[str]:
    return [file.path for file in checkpoint.files]


def test_files_are_sorted_by_bytes_and_know_their_source(folder: Folder) -> None:
    root = folder({"b": "", "a/z": "1", "a.txt": "", "Z": "", "é": "", "a/b/c": ""})
    checkpoint = open_checkpoint(str(root))
    assert paths(checkpoint) == ["Z", "a.txt", "a/b/c", "a/z", "b", "é"]
    file = checkpoint.files[3]
    assert file.source == root / "a/z"
    assert file.size == 1
    assert file.stamp == FileStamp.from_stat((root / "a/z").stat())
    assert (file.name, file.folder) == ("z", "a")
    assert checkpoint.root == root
    assert checkpoint.provenance.repo is None


def test_what_is_left_out_is_named(folder: Folder) -> None:
    root = folder(
        {
            "config.json": "{}",
            ".git/HEAD": "",
            "sub/.git": "gitdir: elsewhere",
            ".cache/huggingface/download/x.metadata": "",
            ".cache/kept": "",
            ".DS_Store": "",
            "code/__pycache__/x.pyc": "",
            ".gitattributes": "",
            "node/desktop.ini": "",
        }
    )
    checkpoint = open_checkpoint(str(root))
    assert paths(checkpoint) == [".cache/kept", ".gitattributes", "config.json"]
    assert checkpoint.excluded == (
        ".DS_Store", ".cache/huggingface/", ".git/", "code/__pycache__/", "node/desktop.ini", "sub/.git",
    )  # fmt: skip


@pytest.mark.parametrize("tree", [{}, {".git/HEAD": "", ".DS_Store": ""}])
def test_nothing_to_package(tree: Tree, folder: Folder) -> None:
    with pytest.raises(EmptySource, match="holds no file to package"):
        open_checkpoint(str(folder(tree)))


@pytest.mark.parametrize("source", ["", "a\0b", "x" * 5000, "ftp://host/x", "~nobody-of-that-name"])
def test_source_that_is_none(source: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(source)
    assert str(caught.value).isprintable()
    assert caught.value.hint == "name a folder, a weights file, hf://org/name, or s3://bucket/folder"


def test_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no .*/nothing") as caught:
        open_checkpoint(str(tmp_path / "nothing"))
    assert caught.value.hint


def test_links_inside_are_followed(folder: Folder) -> None:
    root = folder({"real/w.bin": "weights", "one": "-> real/w.bin", "two": "-> one", "sub/up": "-> ../two"})
    checkpoint = open_checkpoint(str(root))
    assert {file.source for file in checkpoint.files} == {root / "real/w.bin"}
    assert paths(checkpoint) == ["one", "real/w.bin", "sub/up", "two"]


def test_root_may_be_a_link(folder: Folder, tmp_path: Path) -> None:
    root = folder({"a": ""})
    (tmp_path / "alias").symlink_to(root)
    assert open_checkpoint(str(tmp_path / "alias")).root == root


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("../outside", "leads to .*/outside, outside the checkpoint"),
        ("/etc/passwd", "leads to /etc/passwd, outside the checkpoint"),
        ("sub/../../outside", "outside the checkpoint"),
        ("hop", "leads to .*/outside, outside the checkpoint"),
        ("..", "outside the checkpoint"),
        ("link", "in a circle"),
        ("sub", "leads to the folder .*, which would be packaged twice"),
        ("sub/..", "leads to the folder"),
        (".", "leads to the folder"),
    ],
)
def test_link_that_is_refused(target: str, said: str, folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    root = folder({"link": f"-> {target}", "sub/x": "", "hop": "-> ../outside"} if target == "hop" else {
        "link": f"-> {target}", "sub/x": ""
    })  # fmt: skip
    with pytest.raises(UnsafePath, match=f"the link '(link|hop)' .*{said}") as caught:
        open_checkpoint(str(root))
    assert caught.value.hint


def test_link_through_a_linked_folder_is_judged_by_where_it_ends(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f").write_text("secret")
    root = folder({"a": ""})
    (root / "d").symlink_to(tmp_path / "elsewhere")
    (root / "b").symlink_to("d/f")
    with pytest.raises(UnsafePath, match=r"the link 'b' leads to .*/elsewhere/f, outside"):
        open_checkpoint(str(root))


@pytest.mark.parametrize("target", ["gone", "gone/../x", "x/y"])
def test_link_to_nothing(target: str, folder: Folder) -> None:
    with pytest.raises(SourceError, match="the link 'link' leads to nothing"):
        open_checkpoint(str(folder({"link": f"-> {target}", "x": ""})))


def test_special_files(folder: Folder) -> None:
    root = folder({"a": "", "to-pipe": "-> pipe"})
    os.mkfifo(root / "pipe")
    with pytest.raises(UnsafePath, match="'pipe' is neither a file nor a folder"):
        open_checkpoint(str(root))
    (root / "to-pipe").rename(root / "a-link")
    with pytest.raises(UnsafePath, match=r"'a-link' leads to .*/pipe, which is not a regular file"):
        open_checkpoint(str(root))
    with pytest.raises(SourceError, match="neither a folder nor a file"):
        open_checkpoint(str(root / "pipe"))


@pytest.mark.slow
def test_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
        with pytest.raises(UnsafePath, match="'s' is neither a file nor a folder"):
            open_checkpoint(".")


@pytest.mark.parametrize(
    ("name", "shown"),
    [(os.fsdecode(b"d\xc3\xa9-\xe9"), r"'sub/dé-\xe9'"), ("gpj.\u202eexe", r"'sub/gpj.\u202eexe'")],
)
def test_what_is_to_be_renamed_can_be_found(name: str, shown: str) -> None:
    with pytest.raises(UnsafePath, match=re.escape(f"the name {shown} ")):
        check_name("sub", name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("new\nline", "control character"),
        ("bell\x07", "control character"),
        ("c1\x85", "control character"),
        ("sep\u2028", "control character"),
        ("gpj.\u202eexe", "control character"),
        ("back\\slash", "path separator"),
        (os.fsdecode(b"latin-\xe9"), "not valid UTF-8"),
    ],
)
def test_name_that_is_refused(name: str, said: str, folder: Folder) -> None:
    with pytest.raises(UnsafePath, match=said) as caught:
        open_checkpoint(str(folder({f"sub/{name}": ""})))
    assert str(caught.value).isprintable()
    assert "'sub/" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", [".modelcar", ".modelcar.new"])
def test_names_of_the_farm_are_not_for_models(name: str, folder: Folder) -> None:
    open_checkpoint(str(folder({f"sub/{name}": ""}, name="below")))
    for i, tree in enumerate(({name: ""}, {f"{name}/x": ""}, {name: "-> x", "x": ""})):
        root = folder({**tree, "config.json": "{}"}, name=f"top{i}")
        with pytest.raises(UnsafePath, match=f"^'{name}' at the top .* the holder publishes") as caught:
            open_checkpoint(str(root))
        assert caught.value.hint == "rename it"


def test_path_too_deep(folder: Folder) -> None:
    root = folder({"d/" * 64 + "f": ""})
    assert open_checkpoint(str(root)).files[0].path.count("/") == 64
    with pytest.raises(UnsafePath, match="65 folders; the limits are 3840 and 64"):
        open_checkpoint(str(folder({"e/" * 65 + "f": ""})))


def test_path_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(16):
        Path("x" * 250).mkdir()
        os.chdir("x" * 250)
    Path("f").touch()
    os.chdir(tmp_path)
    with pytest.raises(UnsafePath, match="has 4015 bytes and 15 folders"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("README.md", "readme.md"),
        ("Sub/a", "sub/b"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("a/b/C", "A/x"),
    ],
)
def test_names_that_collide(first: str, second: str, folder: Folder) -> None:
    root = folder({first: "", second: ""})
    with pytest.raises(UnsafePath, match="one and the same path") as caught:
        open_checkpoint(str(root))
    message = str(caught.value)
    assert {
        part for part in (first, second, first.partition("/")[0], second.partition("/")[0]) if f"'{part}'" in message
    }


def test_git_lfs_pointer(folder: Folder) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n"
    with pytest.raises(MalformedFile, match=r"'model.safetensors' is a Git LFS pointer") as caught:
        open_checkpoint(str(folder({"model.safetensors": pointer})))
    assert caught.value.hint is not None
    assert "git lfs pull" in caught.value.hint


def test_unreadable_file(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder({"a": "", "secret": ""})
    real_open = os.open

    def refusing(path: str | Path, *args: int, **kwargs: int) -> int:
        if path == "secret":
            raise PermissionError(13, "Permission denied")
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(StorageError, match="cannot read 'secret': Permission denied") as caught:
        open_checkpoint(str(root))
    assert caught.value.hint == "make it readable, or remove it"


def test_file_swapped_for_a_link_while_walking(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder({"a": "", "b": ""})
    real_open = os.open

    def swapping(path: str | Path, *args: int, **kwargs: int) -> int:
        if path == "b":
            (root / "b").unlink()
            (root / "b").symlink_to("/etc/passwd")
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(SourceChanged, match="'b' was replaced"):
        open_checkpoint(str(root))


def test_too_many_files(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_FILES", 2)
    with pytest.raises(SourceError, match="more than 2 files"):
        open_checkpoint(str(folder({"a": "", "b": "", "c": ""})))


def test_one_weights_file(folder: Folder, small_model: Tree) -> None:
    root = folder({**small_model, "alias.safetensors": "-> model.safetensors"})
    checkpoint = open_checkpoint(str(root / "alias.safetensors"))
    assert paths(checkpoint) == ["alias.safetensors"]
    assert checkpoint.files[0].source == root / "model.safetensors"
    assert checkpoint.files[0].role is Role.WEIGHT
    assert list(checkpoint.headers()) == ["alias.safetensors"]


def test_one_file_that_is_no_model(folder: Folder, small_model: Tree) -> None:
    root = folder({**small_model, "w-00001-of-00002.gguf": "GGUF"})
    with pytest.raises(SourceError, match=r"config.json is not a weights file"):
        open_checkpoint(str(root / "config.json"))
    with pytest.raises(SourceError, match="is one of 2 shards"):
        open_checkpoint(str(root / "w-00001-of-00002.gguf"))


def test_headers_notice_a_change_after_opening(folder: Folder, small_model: Tree) -> None:
    root = folder(small_model)
    checkpoint = open_checkpoint(str(root))
    with (root / "model.safetensors").open("ab") as out:
        out.write(b"x")
    with pytest.raises(SourceChanged, match=r"model\.safetensors has changed"):
        checkpoint.headers()
