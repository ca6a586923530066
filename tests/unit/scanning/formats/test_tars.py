"""Tars: what honest programs write is clean; what would harm those who unpack it, or divide them, is found."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from typing import Any

import pytest

from modelcar.scanning.formats.tars.scan import FORMATS
from tests.support.containers import EVIL, PLAIN, contained, found_in, rules_in
from tests.support.tars import FORMATS as DIALECTS
from tests.support.tars import header, make_tar, reseal


def rules(data: bytes) -> set[str]:
    return rules_in(FORMATS, data)


def tar(*members: tuple[str, dict[str, Any]], dialect: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of members with these attributes, harmless ones if nothing else is said."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=dialect) as opened:
        for name, fields in members:
            info = tarfile.TarInfo(name)
            data = fields.pop("data", b"" if fields.get("type", tarfile.REGTYPE) != tarfile.REGTYPE else PLAIN)
            info.size = len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            opened.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_what_python_writes_is_clean(dialect: str) -> None:
    files = {"d/": b"", "d/a": PLAIN, "./b": b"", "n" * 60 + "/" + "m" * 90: PLAIN * 20}
    assert found_in(FORMATS, make_tar(files, dialect=dialect)) == ()


def test_long_and_foreign_names_are_clean() -> None:
    files = {"x" * 300: PLAIN, "ä/ö": PLAIN}
    for dialect in ("gnu", "pax"):
        data = make_tar(files, dialect=dialect)
        assert found_in(FORMATS, data) == ()
        assert dict(contained(FORMATS, data)) == files


def test_the_root_may_be_in_it() -> None:
    assert rules(make_tar({"./": b"", "./a": PLAIN})) == set()


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "C:\\a"])
def test_names_that_leave_the_folder_are_malicious(name: str) -> None:
    assert "archive.path-traversal" in rules(tar((name, {})))
    assert "archive.path-traversal" in rules(tar((name + "/" + "x" * 200, {}), dialect=tarfile.PAX_FORMAT))


def test_a_name_that_leaves_the_folder_for_those_who_ignore_extensions() -> None:
    data = tar(("../a", {"pax_headers": {"path": "b"}}), dialect=tarfile.PAX_FORMAT)
    assert "archive.path-traversal" in rules(data)


@pytest.mark.parametrize(
    ("name", "fields", "rule"),
    [
        ("d/l", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "archive.link-outside"),
        ("d/l", {"type": tarfile.SYMTYPE, "linkname": "../../a"}, "archive.link-outside"),
        ("d/l", {"type": tarfile.SYMTYPE, "linkname": "../a"}, "archive.link"),
        ("d/l", {"type": tarfile.SYMTYPE, "linkname": "x" * 200}, "archive.link"),
        ("d/l", {"type": tarfile.LNKTYPE, "linkname": "../a"}, "archive.link-outside"),
        ("d/l", {"type": tarfile.LNKTYPE, "linkname": "d/a"}, "archive.link"),
        ("dev", {"type": tarfile.CHRTYPE}, "archive.special-file"),
        ("dev", {"type": tarfile.BLKTYPE}, "archive.special-file"),
        ("pipe", {"type": tarfile.FIFOTYPE}, "archive.special-file"),
    ],
)
def test_links_and_devices(name: str, fields: dict[str, Any], rule: str) -> None:
    assert rules(tar((name, fields))) == {rule}


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (("a", "a"), "archive.duplicate-name"),
        (("a", "./a"), "archive.duplicate-name"),
        (("a", "A"), "archive.colliding-names"),
        (("a", "a/b"), "archive.colliding-names"),
    ],
)
def test_names_that_are_one(names: Sequence[str], rule: str) -> None:
    assert rule in rules(tar(*((name, {}) for name in names)))


def test_every_member_is_scanned_whatever_it_is_called_and_whatever_kind_it_claims() -> None:
    assert "evil" in rules(tar(("a", {}), ("a", {"data": EVIL})))
    strange = header("a", b"Z", len(EVIL)) + EVIL.ljust(512, b"\0") + bytes(1024)
    assert rules(strange) == {"evil", "tar.disagreement"}


def test_what_follows_the_end_is_scanned() -> None:
    data = make_tar({"a": PLAIN}) + make_tar({"b": EVIL})
    assert rules(data) == {"evil", "tar.disagreement"}


def test_what_follows_the_end_and_is_no_member_is_unaccounted_for() -> None:
    assert rules(make_tar({"a": PLAIN}) + b"payload") >= {"file.unaccounted-bytes"}
    assert rules(make_tar({"a": PLAIN}) + bytes(512) + b"payload" * 100) >= {"file.malformed"}


def test_padding_has_to_be_empty() -> None:
    data = bytearray(make_tar({"a": PLAIN}))
    data[512 + len(PLAIN)] = 1
    assert rules(bytes(data)) == {"file.unaccounted-bytes"}


@pytest.mark.parametrize("cut", [300, 520, 1024])
def test_a_cut_off_tar_is_scanned_as_far_as_it_goes(cut: int) -> None:
    data = make_tar({"a": EVIL, "b": PLAIN * 50})[: 1024 + cut]
    assert "evil" in rules(data)
    assert rules(data) > {"evil"}


def test_a_size_that_some_programs_do_not_see() -> None:
    inner = header("b", b"0", len(EVIL)) + EVIL.ljust(512, b"\0")
    data = tar(("a", {"data": PLAIN.ljust(512) + inner}))
    lying = data[:124] + b"%011o\0" % 512 + data[136:512]
    records = b"17 size=00001536\n"
    pax = header("p", b"x", len(records)) + records.ljust(512, b"\0")
    assert "tar.disagreement" in rules(pax + reseal(lying) + data[512:])


def test_a_header_for_all_members() -> None:
    records = b"10 path=b\n"
    data = header("g", b"g", len(records)) + records.ljust(512, b"\0") + tar(("a", {}))
    assert "tar.disagreement" in rules(data)


def test_sparse_files() -> None:
    assert "tar.disagreement" in rules(header("a", b"S", 512) + bytes(512) + bytes(1024))


def test_damaged_headers() -> None:
    data = bytearray(make_tar({"a": PLAIN, "b": EVIL}))
    data[1024 + 3] ^= 1
    assert rules(bytes(data)) == {"file.malformed"}
    data[1024 + 3] ^= 1
    data[1024:1024] = b"x" * 512
    assert rules(bytes(data)) == {"file.malformed", "evil"}


def test_tars_before_posix_are_recognised() -> None:
    block = header("a", b"\0", len(EVIL))
    old = reseal(block[:257] + bytes(255))
    assert "evil" in rules(old + EVIL.ljust(512, b"\0") + bytes(1024))
