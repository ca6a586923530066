"""The shipped programs: pinned, compiled from the source that lies beside them, static, small and free of traces."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import struct
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import modelcar.holder
from modelcar.errors import StorageError
from modelcar.holder import ARCHITECTURES, Architecture, holder_bytes

ROOT = Path(__file__).resolve().parents[3]
MACHINE = {"amd64": 62, "arm64": 183}
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_GNU_STACK = 1, 2, 3, 4, 0x6474E551

each = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def segments(program: bytes) -> dict[int, list[int]]:
    """Program header types with their flags."""
    offset, size, count = *struct.unpack_from("<Q", program, 32), *struct.unpack_from("<HH", program, 54)
    found: dict[int, list[int]] = {}
    for at in range(offset, offset + size * count, size):
        kind, flags = struct.unpack_from("<II", program, at)
        found.setdefault(kind, []).append(flags)
    return found


@pytest.mark.slow
@each
def test_the_bytes_come_from_the_source(architecture: Architecture, hatch_build: ModuleType, tmp_path: Path) -> None:
    """Compiled here and now, from a copy in a folder of another name: the same bytes."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "modelcar/holder/src", tmp_path / "modelcar/holder/src")
    with hatch_build.cache_folder(ROOT) as cache:
        hatch_build.compile_holder(architecture, tmp_path / "made", cache=cache, root=tmp_path)
    assert (tmp_path / "made").read_bytes() == holder_bytes(architecture)


def test_the_compiler_has_one_place_wherever_it_is_installed(
    hatch_build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zig's cache goes by path: what pip's environment has compiled of musl need not be compiled for the next one."""
    places = []
    for name in ("one", "other"):
        (tmp_path / name / "ziglang/lib").mkdir(parents=True)
        (tmp_path / name / "ziglang/__init__.py").touch()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / name)
            patch.delitem(sys.modules, "ziglang", raising=False)
            places.append(hatch_build._library(tmp_path / "cache", "ziglang==1"))
        assert places[-1].resolve() == tmp_path / name / "ziglang/lib"
    assert places[0] == places[1]


def test_one_version_of_the_compiler_everywhere(hatch_build: ModuleType) -> None:
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    assert re.fullmatch(r"ziglang==\d[\w.]*", hatch_build.pinned_zig())
    assert hatch_build.pinned_zig() in dev


@each
def test_a_static_program_for_its_machine(architecture: Architecture) -> None:
    program = holder_bytes(architecture)
    assert program[:7] == b"\x7fELF\x02\x01\x01"
    kind, machine = struct.unpack_from("<HH", program, 16)
    assert (kind, machine) == (2, MACHINE[architecture])
    headers = segments(program)
    assert not headers.keys() & {PT_INTERP, PT_DYNAMIC, PT_NOTE}
    assert all(flags & 3 != 3 for flags in headers[PT_LOAD]), "nothing is both writable and executable"
    assert headers[PT_GNU_STACK] == [6]
    assert len(program) < 40 * 1024


@each
def test_nothing_of_the_builder_is_in_it(architecture: Architecture) -> None:
    program = holder_bytes(architecture)
    for trace in (str(ROOT), "/home", "/tmp", "site-packages", "zig-cache", "main.c", "build-id"):  # noqa: S108  # nothing is written there
        assert trace.encode() not in program, trace


def test_sums_are_in_sha256sum_format() -> None:
    lines = (ROOT / "modelcar/holder/SHA256SUMS").read_text().splitlines()
    assert lines == [f"{hashlib.sha256(holder_bytes(arch)).hexdigest()}  bin/holder-{arch}" for arch in ARCHITECTURES]


def test_a_missing_program_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelcar.holder, "_FOLDER", tmp_path)
    with pytest.raises(StorageError, match="No such file") as caught:
        holder_bytes.__wrapped__("amd64")
    assert "python hatch_build.py" in str(caught.value.hint)


def test_altered_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/holder-amd64").write_bytes(holder_bytes("amd64") + b"\0")
    (tmp_path / "SHA256SUMS").write_bytes((ROOT / "modelcar/holder/SHA256SUMS").read_bytes())
    monkeypatch.setattr(modelcar.holder, "_FOLDER", tmp_path)
    with pytest.raises(StorageError, match="not the program that SHA256SUMS pins"):
        holder_bytes.__wrapped__("amd64")


def test_a_build_that_yields_other_bytes_fails(
    hatch_build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(architecture: str, output: Path, *, cache: Path, root: Path) -> None:
        output.write_bytes(b"other")

    holder = tmp_path / "modelcar/holder"
    holder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (holder / "SHA256SUMS").write_bytes((ROOT / "modelcar/holder/SHA256SUMS").read_bytes())
    monkeypatch.setattr(hatch_build, "compile_holder", other)
    with pytest.raises(hatch_build.HolderError, match=r"holder-amd64 came out as .* --update") as caught:
        hatch_build.build(tmp_path)
    assert "\n" not in str(caught.value)
    assert list((holder / "bin").iterdir()) == []


def test_right_bytes_are_not_built_again(hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hatch_build, "compile_holder", None)
    assert hatch_build.build(ROOT) == hatch_build.pinned_sums(ROOT)
