"""Tars from anywhere: ours finds what Python's finds, and no damage makes it find anything else."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modelcar.errors import InvalidContent
from modelcar.layers.members import locate_members
from modelcar.layers.tar import Entry, build_tar
from tests.support.damaged_tars import damaged
from tests.support.examples import examples
from tests.support.tars import FORMATS, make_tar
from tests.support.trees import paths, trees

contents = st.dictionaries(paths, st.binary(max_size=1500), max_size=5)


def located(tar: bytes) -> dict[str, tuple[int, int]]:
    members = locate_members(lambda offset, n: tar[offset : offset + n], len(tar))
    for payload in members.values():
        assert 0 < payload.offset <= payload.offset + payload.size <= len(tar)
    return {path: (p.offset, p.size) for path, p in members.items()}


def found_by_python(tar: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", encoding="utf-8") as opened:
        files = [info for info in opened if not info.isdir()]
    return {info.name.removeprefix("./"): (info.offset_data, info.size) for info in files}


@given(contents, st.sampled_from(sorted(FORMATS)))
def test_every_dialect(files: dict[str, bytes], dialect: str) -> None:
    assume(not any(other.startswith(f"{path}/") for path in files for other in files))
    try:
        tar = make_tar(files, dialect=dialect)
    except (ValueError, UnicodeError):  # names that ustar cannot hold
        assume(False)
    assert {path: tar[offset : offset + size] for path, (offset, size) in located(tar).items()} == files


@given(trees())
def test_our_own(entries: list[Entry]) -> None:
    layer = build_tar(entries)
    with layer.content.open() as reader:
        tar = reader.read()
    assert located(tar) == {p.path: (p.offset, p.size) for p in layer.payloads} == found_by_python(tar)


@examples(1000)
@given(damaged())
def test_damage_is_refused_or_changes_nothing_that_python_would_not_see_too(tar: bytes) -> None:
    try:
        ours = located(tar)
    except InvalidContent:
        return
    try:
        theirs = found_by_python(tar)
    except (tarfile.TarError, ValueError, UnicodeError):
        return  # numbers that we do not look at, such as times
    assert ours == theirs


@given(st.binary(max_size=3000))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    with pytest.raises(InvalidContent):
        located(content)
