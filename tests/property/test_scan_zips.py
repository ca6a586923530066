"""Zips: what Python's reader would hand out has been scanned, and no damage makes a scan fail or call it clean."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from hypothesis import given
from hypothesis import strategies as st

from modelcar.scanning.formats.zips.scan import FORMATS
from tests.support.containers import PLAIN, contained, rules_in
from tests.support.examples import examples
from tests.support.zips import DEFLATED, Member, extra, make_zip

names = st.sampled_from([b"a", b"b", b"d/", b"d/a", b"A", "ä".encode(), b"../a", b"a\0b", b"x" * 300])
contents = st.sampled_from([b"", PLAIN, b"PLAIN" + bytes(2000)]) | st.binary(max_size=100).map(lambda b: b"PLAIN" + b)
extras = st.sampled_from([b"", extra(0x4246, b"ZZZ"), extra(1, struct.pack("<Q", 5)), extra(0x1234, b"odd")])


def lies(*more: str) -> st.SearchStrategy[dict[str, object]]:
    fields: dict[str, st.SearchStrategy[object]] = {
        "name": names,
        "flags": st.sampled_from([0, 1, 8, 0x800]),
        "method": st.sampled_from([0, 8, 12, 14, 99]),
        "crc": st.integers(0, 9),
        "compressed": st.sampled_from([0, 1, 5, 2000, 2**32 - 1]),
        "size": st.sampled_from([0, 1, 5, 2000, 2**32 - 1]),
        "extra": extras,
        "offset": st.integers(0, 300),
    }
    chosen = {name: fields[name] for name in fields if name != "offset" or name in more}
    return st.fixed_dictionaries({}, optional=chosen).map(
        lambda lies: dict(list(lies.items())[:1])  # one lie at a time goes furthest
    )


def members(*, honest: bool) -> st.SearchStrategy[Member]:
    truth = st.just(dict[str, object]())
    return st.builds(
        Member,
        name=names,
        data=contents,
        method=st.sampled_from([0, DEFLATED]),
        central=truth if honest else lies("offset"),
        local=truth if honest else lies(),
        descriptor=st.sampled_from([None, "<LL", "<QQ"]),
        before=st.just(b"") if honest else st.sampled_from([b"", b"", b"gap"]),
    )


def handed_out(data: bytes) -> list[bytes]:
    """What Python's reader gives of each member, as far as it gives anything."""
    found = []
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeError, OverflowError):
        return []
    for info in archive.infolist():
        try:
            found.append(archive.read(info))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError, zlib.error):
            continue
    return found


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    """A zip that may lie in many places."""
    prefix = draw(st.sampled_from([b"", b"", b"prefix"]))
    return make_zip(
        draw(st.lists(members(honest=False), max_size=4)),
        prefix=prefix,
        base=draw(st.sampled_from([0, 0, -len(prefix)])),
        gap=draw(st.sampled_from([b"", b"", b"gap"])),
        comment=draw(st.sampled_from([b"", b"", b"comment"])),
        end=draw(st.sampled_from([{}, {}, {"entries": 1}, {"size": 47}, {"directory": 3}])),
        large_end=draw(st.sampled_from([None, {}, {"entries": 1}, {"directory": 9}, {"locator": 5}])),
    )


@examples(400)
@given(zips())
def test_what_python_hands_out_has_been_scanned_or_it_is_not_clean(data: bytes) -> None:
    scanned = {content for _, content in contained(FORMATS, data)}
    missing = [content for content in handed_out(data) if content not in scanned and content]
    # Python stops at the size that the directory names, we read on: then the beginning has been seen.
    assert all(any(full.startswith(content) for full in scanned) for content in missing)
    assert not missing or rules_in(FORMATS, data)


@examples(200)
@given(st.lists(members(honest=True), max_size=4), st.data())
def test_bytes_that_are_added_or_changed_are_noticed(entries: list[Member], data: st.DataObject) -> None:
    original = make_zip(entries)
    added = data.draw(st.binary(min_size=1, max_size=40))
    at = data.draw(st.integers(0, len(original)))
    assert rules_in(FORMATS, original[:at] + added + original[at:])


@examples(300)
@given(zips(), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8))
def test_damage_is_survived(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    assert "scan.failed" not in rules_in(FORMATS, bytes(damaged))


@given(st.binary(max_size=500), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06"]))
def test_any_bytes_are_survived(data: bytes, start: bytes) -> None:
    assert "scan.failed" not in rules_in(FORMATS, start + data)
    assert "scan.failed" not in rules_in(FORMATS, data + start + bytes(18))
