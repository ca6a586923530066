"""What is wrong with a checkpoint is one line that names the file. The readers themselves are tested elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.registry.session import Session
from tests.support.headers import frugal
from tests.support.weights import gguf_string, raw_safetensors, simple_safetensors
from tests.unit.cli.conftest import ModelcarCli

NAME = "localhost:5000/acme/tiny:v1"
SHARD = "model-00002-of-00003.safetensors"
INDEX = "model.safetensors.index.json"
BOMB = 2**62


def replaced(content: bytes, name: str = SHARD) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return spoil


def cut(size: int, name: str = SHARD) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, size)


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def reindexed(change: Callable[[dict[str, str]], object]) -> Callable[[Path], None]:
    """The index, its map from tensor to shard changed."""

    def spoil(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return spoil


def without_index(then: Callable[[Path], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / INDEX).unlink()
        then(folder)

    return spoil


def linked(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


def added(*names: str | bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for name in names:
            path = folder / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"{}")

    return spoil


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


TENSOR = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty folder": (emptied, "model holds no file to package"),
    "cut data": (cut(50_000), f"{SHARD}: is cut short"),
    "cut header": (cut(40), f"{SHARD}: "),
    "cut length": (cut(5), f"{SHARD}: "),
    "nothing": (cut(0), f"{SHARD}: "),
    "surplus": (replaced(raw_safetensors(TENSOR, bytes(9))), f"{SHARD}: has 1 bytes after its last tensor"),
    "lying shape": (replaced(raw_safetensors(TENSOR.replace(b"[2]", b"[3]"), bytes(8))), f"{SHARD}: .*8 bytes"),
    "lying offsets": (
        replaced(raw_safetensors(TENSOR.replace(b"[0,8]", b"[8,16]"), bytes(16))),
        f"{SHARD}: .*gap of 8",
    ),
    "unknown dtype": (replaced(raw_safetensors(TENSOR.replace(b"F32", b"F31"), bytes(8))), "unknown dtype 'F31'"),
    "no JSON": (replaced(raw_safetensors(b"{" + b"x" * 60)), f"{SHARD}: its header is not what the format asks for"),
    "header bomb": (replaced(raw_safetensors(TENSOR, length=200_000_000)), f"{SHARD}: .*200000000"),
    "greater header bomb": (replaced(raw_safetensors(TENSOR, length=2**64 - 1)), f"{SHARD}: .*18446744073709551615"),
    "hostile tensor name": (
        replaced(raw_safetensors(TENSOR.replace(b'"a"', b'"\\u001b[31m\\n"').replace(b"F32", b"?"), bytes(8))),
        f"{SHARD}: .*unknown dtype",
    ),
    "GGUF of very many tensors": (replaced(b"GGUF" + struct.pack("<IQQ", 3, BOMB, 0), "m.gguf"), "m.gguf: "),
    "GGUF of very many pairs": (replaced(b"GGUF" + struct.pack("<IQQ", 3, 0, BOMB), "m.gguf"), "m.gguf: "),
    "GGUF with a very long key": (
        replaced(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, BOMB) + bytes(64), "m.gguf"),
        "m.gguf: ",
    ),
    "GGUF with a very long array": (
        replaced(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_string("a") + struct.pack("<IIQ", 9, 8, BOMB), "m.gguf"),
        "m.gguf: ",
    ),
    "GGUF called safetensors": (replaced(b"GGUF" + bytes(60)), f"{SHARD}: is a gguf file under the name of"),
    "pickle called safetensors": (replaced(b"\x80\x04\x95" + bytes(60)), f"{SHARD}: "),
    "Git LFS pointer": (
        replaced(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"),
        f"'{SHARD}' is a Git LFS pointer",
    ),
    "missing shard": (removed(SHARD), f"{INDEX}: names the shard '{SHARD}', which is not there"),
    "missing shard without an index": (without_index(removed(SHARD)), f"is one of 3 shards, and '{SHARD}' is missing"),
    "tensor in the wrong shard": (
        reindexed(lambda m: m.update({"model.layers.1.weight": SHARD})),
        f"{INDEX}: places tensor 'model.layers.1.weight' in '{SHARD}', but it lies in 'model-00001-of-00003",
    ),
    "tensor that no shard has": (
        reindexed(lambda m: m.update({"lm_head.weight": SHARD})),
        f"{INDEX}: places tensor 'lm_head.weight' in '{SHARD}', but no file has it",
    ),
    "tensor that the index lacks": (
        replaced(simple_safetensors("model.layers.2.weight", "unheard.of")),
        f"{INDEX}: does not know tensor 'unheard.of', which lies in '{SHARD}'",
    ),
    "shard elsewhere": (
        reindexed(lambda m: m.update({"model.layers.1.weight": "../../etc/passwd"})),
        f"{INDEX} names the shard '../../etc/passwd', which is no path below it",
    ),
    "index that is none": (replaced(b"[]", INDEX), f"{INDEX}"),
    "index cut": (cut(100, INDEX), f"{INDEX}"),
    "config that is none": (replaced(b"{", "config.json"), "config.json"),
    "link out": (linked("x.bin", "/etc/passwd"), "the link 'x.bin' leads to /etc/passwd, outside the checkpoint"),
    "link up": (linked("x.bin", "../../x"), "'x.bin'"),
    "link to nothing": (linked("x.bin", "none"), "'x.bin'"),
    "link in a circle": (linked("x.bin", "x.bin"), "'x.bin'"),
    "link to a folder": (linked("x", "1_Pooling"), "'x'"),
    "pipe": (lambda folder: os.mkfifo(folder / "x.bin"), "'x.bin' is neither a file nor a folder"),
    "case": (added("Config.json"), "'Config.json' and 'config.json' are one and the same path"),
    "case of a folder": (added("1_pooling/x"), "'1_Pooling' and '1_pooling' are one and the same path"),
    "Unicode form": (added("caf\u00e9.json", "cafe\u0301.json"), "are one and the same path"),
    "escape in a name": (added("a\x1b[31mb"), "holds a control character"),
    "line end in a name": (added("a\nmodelcar: all is well"), "holds a control character"),
    "turned name": (added("a\u202egnp.exe"), "holds a control character"),
    "backslash": (added("a\\b"), "holds a path separator"),
    "bytes": (added(b"a\xff"), "is not valid UTF-8"),
    "whiteout": (added(".wh.config.json"), "'.*.wh.config.json' would make container engines delete files"),
    "opaque whiteout": (added("1_Pooling/.wh..wh..opq"), "would make container engines delete files"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_checkpoint_that_cannot_be_packaged(modelcar: ModelcarCli, folder: Path, what: str) -> None:
    spoil, line = WRONG[what]
    spoil(folder)
    with frugal(20_000_000):
        planned = modelcar.refusal(2, "plan", folder)
    assert re.search(line, planned.line), planned
    assert planned.hint
    assert modelcar.refusal(2, "build", folder, "-t", NAME) == planned
    assert modelcar.refusal(2, "build", folder, "--dry-run", "--json") == planned
    assert modelcar.json("list") == []


def test_a_file_that_cannot_be_read(
    modelcar: ModelcarCli, checkpoint: Path, public: Path, request: pytest.FixtureRequest
) -> None:
    folder = public / "model"
    shutil.copytree(checkpoint, folder)
    (folder / SHARD).chmod(0)
    (public / "closed").mkdir(mode=0)
    request.getfixturevalue("unprivileged")
    refused = modelcar.refusal(3, "plan", folder)
    assert refused.line == f"cannot read '{SHARD}': Permission denied"
    assert refused.hint == "make it readable, or remove it"
    assert "Permission denied" in modelcar.refusal(3, "plan", public / "closed").line
    assert "Permission denied" in modelcar.refusal(3, "plan", public / "closed" / "model").line


def rewritten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")


def touched(file: Path) -> None:
    os.utime(file)


def swapped(file: Path) -> None:
    other = file.with_suffix(".new")
    shutil.copy2(file, other)
    other.rename(file)


CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (rewritten, "has changed since it was hashed: it was written to"),
    (touched, "has changed since it was hashed: "),
    (swapped, "has changed since it was hashed: it was replaced"),
    (lambda file: os.truncate(file, 5), "has changed since it was hashed: it had 100096 bytes and now has 5"),
    (Path.unlink, "is gone; the image refers to it and holds no copy"),
    (lambda file: shutil.rmtree(file.parent), "is gone; the image refers to it and holds no copy"),
]


@pytest.mark.parametrize(
    ("change", "line"), CHANGES, ids=["rewritten", "touched", "swapped", "cut", "removed", "all removed"]
)
def test_a_file_that_changed_after_the_build(
    modelcar: ModelcarCli,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    line: str,
) -> None:
    """It is named before a byte is sent or written."""
    modelcar("build", folder, "-t", NAME)
    change(folder / SHARD)
    monkeypatch.setattr(Session, "_once", lambda *_: pytest.fail("the registry was asked"))
    pushed = modelcar.refusal(3, "push", NAME)
    assert re.search(re.escape(str(folder)) + "/model-0000[0-9]-of-00003.safetensors " + line, pushed.line), pushed
    assert "build" in pushed.hint
    exported = modelcar.refusal(3, "export", NAME, "-o", tmp_path / "layout")
    assert exported.line.endswith(line) or line in exported.line
    assert not any((tmp_path / "layout").rglob("sha256/*"))


def test_a_file_that_changes_during_the_build(
    modelcar: ModelcarCli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelcar.layers.bytemap import ByteReader

    real = ByteReader.readinto

    def readinto(self: ByteReader, buffer: memoryview) -> int:
        os.utime(folder / SHARD)
        return real(self, buffer)

    monkeypatch.setattr(ByteReader, "readinto", readinto)
    refused = modelcar.refusal(3, "build", folder, "-t", NAME)
    assert f"{SHARD} has changed since it was hashed" in refused.line
    assert modelcar.json("list") == []
