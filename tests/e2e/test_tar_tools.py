"""Layers read by the tar programs of the world: GNU tar, bsdtar, Python's tarfile and Go's archive/tar.

Each one lists and unpacks: names, kinds, modes, times, sizes and contents.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modelcar.layers.bytemap import ByteMap, FileRange, Literal
from modelcar.layers.tar import Entry, VirtualTar, build_tar
from tests.support.golang import build_go
from tests.support.tars import write_sparse
from tests.support.trees import Source

pytestmark = pytest.mark.slow

GIB = 1 << 30
SIZES = [0, 1, 511, 512, 513, 65_535, 65_536, 65_537, 200_000]
NAMES = [
    *(f"size-{size}" for size in SIZES),
    *("n" * length for length in (99, 100, 101, 255)),
    *("models/" + "n" * length for length in (92, 93, 94, 255)),
    "models/" + "/".join(["d" * 120] * 20) + "/deep.safetensors",
    "models/" + "/".join("abcdefghij") + "/config.json",
    "models/模型/é.json",
    "models/e\u0301 and spaces/ü" + "é" * 100,
    "models/" + "é" * 46 + "x",  # exactly 100 bytes
    "models/" + "é" * 47,  # 101 bytes, and the cut falls within a character
    "models/-rf",
    "models/back\\slash 'quote' \"double\" $HOME * ~",
]
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
# What every reader is asked for: name without the slash of a folder, then (kind, mode, mtime, size, digest).
Member = tuple[str, int, int, int, str]
Members = dict[str, Member]

GO = r"""
package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	file, err := os.Open(os.Args[1])
	check(err)
	reader := tar.NewReader(file)
	members := map[string][]any{}
	for {
		h, err := reader.Next()
		if err == io.EOF {
			break
		}
		check(err)
		name, kind := h.Name, "file"
		if h.Typeflag == tar.TypeDir {
			name, kind = strings.TrimSuffix(name, "/"), "folder"
		} else if h.Typeflag != tar.TypeReg {
			check(fmt.Errorf("%s has type %c", h.Name, h.Typeflag))
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			check(fmt.Errorf("%s has an owner", h.Name))
		}
		digest := sha256.New()
		_, err = io.Copy(digest, io.LimitReader(reader, 1<<20))
		check(err)
		members[name] = []any{kind, h.Mode, h.ModTime.Unix(), h.Size, hex.EncodeToString(digest.Sum(nil))}
	}
	check(json.NewEncoder(os.Stdout).Encode(members))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
"""


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Layer:
    """A layer on disk and what is in it."""

    def __init__(self, folder: Path, entries: dict[str, FileRange | Literal], programs: tuple[str, ...] = ()) -> None:
        self.tar: VirtualTar = build_tar(
            [Entry(path=path, content=content, executable=path in programs) for path, content in entries.items()]
        )
        self.path = folder / "layer.tar"
        write_sparse(self.tar.content, self.path)
        self.members: Members = {}
        for path, content in entries.items():
            for i in range(path.count("/")):
                self.members["/".join(path.split("/")[: i + 1])] = ("folder", 0o755, 0, 0, digest_of(b""))
            with ByteMap([content]).open(0, min(content.size, 1 << 20)) as reader:
                first = digest_of(reader.read())
            self.members[path] = ("file", 0o755 if path in programs else 0o644, 0, content.size, first)


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    folder = tmp_path_factory.mktemp("layer")
    sizes = dict(zip(NAMES, SIZES, strict=False))
    sources = {
        name: Source(folder / "sources" / str(i), os.urandom(sizes.get(name, 70_000 if i % 2 else 10)))
        for i, name in enumerate(NAMES)
    }
    return Layer(folder, {name: s.range() for name, s in sources.items()}, ("size-1", "models/-rf"))


@pytest.fixture(scope="module")
def large_layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    """Files around and beyond 8 GiB, each followed by a small one that a reader finds only by the right size."""
    folder = tmp_path_factory.mktemp("large")
    entries: dict[str, FileRange | Literal] = {}
    for i, size in enumerate([8 * GIB - 1, 8 * GIB, 9 * GIB, 100 * GIB + 12_345]):
        path = folder / str(size)
        with path.open("wb") as f:
            f.write(b"begin")
            f.seek(size - 3)
            f.write(b"end")
        entries[f"models/{i}-{'n' * 100 * (i % 2)}large"] = FileRange(path=path, offset=0, size=size)
        entries[f"models/{i}-small"] = Literal(b"after %d" % size)
    return Layer(folder, entries)


@pytest.fixture(scope="module")
def go_reader() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield build_go(GO, Path(folder))


def read_with_go(program: Path, path: Path) -> Members:
    output = subprocess.run([program, path], check=True, capture_output=True).stdout
    return {name: tuple(member) for name, member in json.loads(output).items()}


def read_with_python(path: Path) -> Members:
    members: Members = {}
    with tarfile.open(path, "r:", encoding="utf-8") as tar:
        for info in tar:
            assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
            stream = tar.extractfile(info) if info.isreg() else None
            content = stream.read(1 << 20) if stream else b""
            kind = "folder" if info.isdir() else "file"
            members[info.name] = (kind, info.mode, int(info.mtime), info.size, digest_of(content))
    return members


def unpacked(folder: Path) -> Members:
    members: Members = {}
    for path in folder.rglob("*"):
        st = path.lstat()
        name, mode = str(path.relative_to(folder)), stat.S_IMODE(st.st_mode)
        if stat.S_ISDIR(st.st_mode):
            members[name] = ("folder", mode, int(st.st_mtime), 0, digest_of(b""))
        else:
            members[name] = ("file", mode, int(st.st_mtime), st.st_size, digest_of(path.read_bytes()))
    return members


def unpack(command: list[str], layer: Layer, folder: Path) -> Members:
    folder.mkdir()
    done = subprocess.run(
        [*command, str(layer.path), "-C", str(folder)], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return unpacked(folder)


def names_listed(command: list[str], path: Path) -> list[str]:
    done = subprocess.run([*command, str(path)], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_go(layer: Layer, go_reader: Path) -> None:
    assert read_with_go(go_reader, layer.path) == layer.members


def test_python(layer: Layer) -> None:
    assert read_with_python(layer.path) == layer.members


@pytest.mark.debian("tar")
def test_gnu_tar(layer: Layer, tmp_path: Path) -> None:
    assert unpack(["tar", "-xpf"], layer, tmp_path / "out") == layer.members
    listed = names_listed(["tar", "--quoting-style=literal", "-tf"], layer.path)
    assert sorted(name.rstrip("/") for name in listed) == sorted(layer.members)


@pytest.mark.debian("bsdtar")
def test_bsdtar(layer: Layer, tmp_path: Path) -> None:
    assert unpack(["bsdtar", "-xpf"], layer, tmp_path / "out") == layer.members
    assert len(names_listed(["bsdtar", "-tf"], layer.path)) == len(layer.members)


def test_go_beyond_8_gib(large_layer: Layer, go_reader: Path) -> None:
    assert read_with_go(go_reader, large_layer.path) == large_layer.members


def test_python_beyond_8_gib(large_layer: Layer) -> None:
    assert read_with_python(large_layer.path) == large_layer.members
    with tarfile.open(large_layer.path) as tar:
        offsets = {info.name: info.offset_data for info in tar}
    for payload in large_layer.tar.payloads:
        assert offsets[payload.path] == payload.offset
        with large_layer.tar.content.open(payload.offset + payload.size - 3, 3) as reader:
            assert payload.size < GIB or reader.read() == b"end"


def sizes_of_gnu_tar(line: str) -> tuple[str, int]:
    _, _, size, _, _, name = line.split(maxsplit=5)
    return name.rstrip("/"), int(size)


def sizes_of_bsdtar(line: str) -> tuple[str, int]:
    fields = line.split(maxsplit=8)
    return fields[8].rstrip("/"), int(fields[4])


@pytest.mark.parametrize(
    ("command", "parse"),
    [
        pytest.param("tar", sizes_of_gnu_tar, marks=pytest.mark.debian("tar")),
        pytest.param("bsdtar", sizes_of_bsdtar, marks=pytest.mark.debian("bsdtar")),
    ],
)
def test_programs_beyond_8_gib(large_layer: Layer, command: str, parse: Callable[[str], tuple[str, int]]) -> None:
    lines = names_listed([command, "-tvf"], large_layer.path)
    assert dict(map(parse, lines)) == {name: size for name, (_, _, _, size, _) in large_layer.members.items()}
    last = max(large_layer.members)
    content = subprocess.run([command, "-xOf", large_layer.path, last], capture_output=True, check=True).stdout
    assert digest_of(content) == large_layer.members[last][4]


@pytest.mark.debian("tar")
def test_a_stream_from_the_reader_unpacks(layer: Layer, tmp_path: Path) -> None:
    """The layer as it goes over the network: never written, read once, through a pipe."""
    (tmp_path / "out").mkdir()
    command = ["tar", "-xpf", "-", "-C", str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdin
        with layer.tar.content.open() as reader, process.stdin as pipe:
            while piece := reader.read(65_536):
                pipe.write(piece)
    assert process.returncode == 0
    assert unpacked(tmp_path / "out") == layer.members
