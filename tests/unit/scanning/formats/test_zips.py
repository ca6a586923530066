"""Zips: what honest writers write is clean, and no trick hides a member or goes unnoticed."""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zipfile
import zlib
from typing import Any

import pytest

from modelcar.scanning.formats.zips.scan import FORMATS
from modelcar.scanning.limits import Limits
from tests.support.containers import EVIL, PLAIN, contained, found_in, rules_in
from tests.support.zips import DEFLATED, Member, extra, inflatable, make_zip

UNIX_LINK = 0o120777


def rules(data: bytes, name: str = "file.bin", limits: Limits | None = None) -> set[str]:
    return rules_in(FORMATS, data, name=name, limits=limits)


def plain(name: bytes = b"a", **fields: Any) -> Member:
    return Member(name=name, data=PLAIN, **fields)


def evil(name: bytes = b"b", **fields: Any) -> Member:
    return Member(name=name, data=EVIL, **fields)


def python_zip(method: int, *, force_zip64: bool = False, streamed: bool = False) -> bytes:
    buffer = io.BytesIO()
    target = io.BufferedWriter(_Unseekable(buffer)) if streamed else buffer
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.mkdir("folder")
        with archive.open("folder/a", "w", force_zip64=force_zip64) as f:
            f.write(PLAIN * 100)
        archive.writestr("folder/empty", b"")
    return buffer.getvalue()


class _Unseekable(io.RawIOBase):
    def __init__(self, target: io.BytesIO) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self._target.write(data)  # type: ignore[arg-type]  # bytes, as zipfile has it


# --- honest ones


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("force_zip64", [False, True])
def test_what_python_writes_is_clean(method: int, streamed: bool, force_zip64: bool) -> None:
    data = python_zip(method, force_zip64=force_zip64, streamed=streamed)
    assert found_in(FORMATS, data) == ()
    assert contained(FORMATS, data) == [("folder/a", PLAIN * 100), ("folder/empty", b"")]


def test_an_empty_zip_is_clean() -> None:
    assert rules(make_zip([])) == set()


@pytest.mark.parametrize("sizes", ["<LL", "<QQ"])
@pytest.mark.parametrize("mark", [b"PK\x07\x08", b""])
@pytest.mark.parametrize("method", [0, DEFLATED])
def test_all_kinds_of_descriptors_are_understood(sizes: str, mark: bytes, method: int) -> None:
    data = make_zip([plain(method=method, descriptor=sizes, mark=mark), plain(b"c")])
    assert found_in(FORMATS, data) == ()


def test_padding_as_torch_writes_it_is_understood() -> None:
    padding = extra(0x4246, b"Z" * 37)
    data = make_zip([plain(local={"extra": padding}, flags=0x0800, descriptor="<LL")], large_end={})
    assert found_in(FORMATS, data) == ()


def test_members_beyond_4_gib_are_understood_as_torch_writes_them() -> None:
    # Simulated near the start: sizes and offset in the directory say "see there", the header's copies are zero or true.
    sizes = struct.pack("<QQ", len(PLAIN), len(PLAIN))
    there = {"compressed": 2**32 - 1, "size": 2**32 - 1, "offset": 2**32 - 1}
    local = {"extra": extra(1, struct.pack("<QQQ", len(PLAIN), 0, 0)) + extra(0x4246, b"ZZ")}
    member = plain(descriptor="<QQ", local=local, central=there | {"extra": extra(1, sizes + bytes(8))})
    assert found_in(FORMATS, make_zip([member], large_end={}, end={"directory": 2**32 - 1})) == ()


def test_times_and_owners_are_understood() -> None:
    fields = extra(0x5455, bytes(13)) + extra(0x7875, bytes(11)) + extra(0x000A, bytes(32))
    assert rules(make_zip([plain(local={"extra": fields}, central={"extra": extra(0x5455, bytes(5))})])) == set()


# --- names and kinds


@pytest.mark.parametrize(
    "name",
    [b"../a", b"a/../../b", b"/etc/passwd", b"\\\\server\\share", b"C:\\a", b"c:/a", b"..\\a", b"a/..\\..\\..\\b"],
)
def test_names_that_leave_the_folder_are_malicious(name: bytes) -> None:
    (finding,) = found_in(FORMATS, make_zip([plain(name)]))
    assert finding.rule.id == "archive.path-traversal"


@pytest.mark.parametrize("name", [b"a\\b", b"a//b", b"a/./b", b"a/../b", b"a\nb", b"", b"a.", b"a\x1b[2J", b"b" * 5000])
def test_names_that_programs_read_differently(name: bytes) -> None:
    assert rules(make_zip([plain(name)])) == {"archive.odd-name"}


def test_a_name_with_a_nul_is_scanned_under_both_readings() -> None:
    data = make_zip([plain(b"a.txt\0.pkl")])
    assert rules(data) == {"archive.odd-name"}
    assert [name for name, _ in contained(FORMATS, data)] == ["a.txt\0.pkl", "a.txt"]


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        (b"a", b"a", "archive.duplicate-name"),
        (b"a", b"A", "archive.colliding-names"),
        ("ä".encode(), "a\u0308".encode(), "archive.colliding-names"),
        ("ﬁ".encode(), b"fi", "archive.colliding-names"),
        (b"a", b"a/b", "archive.colliding-names"),
        (b"a/b", b"a", "archive.colliding-names"),
        (b"d/a", b"D/b", "archive.colliding-names"),
    ],
)
def test_names_that_are_one_to_some_programs(one: bytes, other: bytes, rule: str) -> None:
    assert rules(make_zip([plain(one), plain(other)])) == {rule}


def test_a_folder_may_be_listed_beside_its_files() -> None:
    assert rules(make_zip([plain(b"d/a"), Member(name=b"d/"), plain(b"d/b")])) == set()


def test_both_members_of_one_name_are_scanned() -> None:
    assert "evil" in rules(make_zip([evil(b"a"), plain(b"a")]))
    assert "evil" in rules(make_zip([plain(b"a"), evil(b"a")]))


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        (b"/etc/passwd", "archive.link-outside"),
        (b"../../x", "archive.link-outside"),
        (b"../x", "archive.link"),
        (b"x", "archive.link"),
    ],
)
@pytest.mark.parametrize("method", [0, DEFLATED])
def test_links(target: bytes, rule: str, method: int) -> None:
    data = make_zip([Member(name=b"d/link", data=target, method=method, central={"mode": UNIX_LINK})])
    assert rule in rules(data)


def test_devices() -> None:
    assert rules(make_zip([plain(central={"mode": 0o060644})])) == {"archive.special-file"}


def test_a_folder_with_content_is_a_file_to_others() -> None:
    assert rules(make_zip([evil(b"d/")])) == {"archive.odd-name", "evil"}


# --- the directory against the members


@pytest.mark.parametrize(
    "lie",
    [
        {"name": b"other"},
        {"flags": 0x0800},
        {"method": DEFLATED},
        {"crc": 1},
        {"size": 1},
        {"compressed": 1},
        {"extra": extra(1, struct.pack("<Q", 12345))},
    ],
)
def test_headers_that_disagree(lie: dict[str, object]) -> None:
    assert "zip.disagreement" in rules(make_zip([plain(local=lie)]))


def test_a_member_is_scanned_under_both_names() -> None:
    data = make_zip([plain(b"model.pkl", local={"name": b"model.txt"})])
    assert [name for name, _ in contained(FORMATS, data)] == ["model.pkl", "model.txt"]


@pytest.mark.parametrize("flag", [0x01, 0x40, 0x2000])
@pytest.mark.parametrize("where", ["central", "local"])
def test_members_that_claim_to_be_encrypted_are_scanned(flag: int, where: str) -> None:
    assert rules(make_zip([evil(b"b", **{where: {"flags": flag}})])) == {"zip.encrypted", "zip.disagreement", "evil"}


@pytest.mark.parametrize("flag", [0x20, 0x10, 0x8000, 0x400])
def test_odd_flags(flag: int) -> None:
    assert rules(make_zip([evil(flags=flag)])) == {"zip.odd-flags", "evil"}


@pytest.mark.parametrize(("truth", "lie"), [(0, DEFLATED), (DEFLATED, 0), (0, 99)])
@pytest.mark.parametrize("where", ["central", "local"])
def test_the_data_is_read_in_both_ways_where_the_methods_differ(truth: int, lie: int, where: str) -> None:
    found = rules(make_zip([evil(b"b", method=truth, **{where: {"method": lie}})]))
    assert {"evil", "zip.disagreement"} <= found


def test_both_headers_may_lie_about_the_method() -> None:
    assert {"evil", "zip.unknown-compression"} <= rules(make_zip([Member(name=b"a", data=EVIL, method=97)]))
    assert "evil" in rules(make_zip([Member(name=b"a", data=EVIL, raw=EVIL, method=DEFLATED)]))


@pytest.mark.parametrize("method", [0, DEFLATED])
def test_a_wrong_checksum_hides_nothing(method: int) -> None:
    both = {"crc": 1}
    assert rules(make_zip([evil(method=method, central=both, local=both)])) == {"zip.wrong-checksum", "evil"}


@pytest.mark.parametrize("size", [5, 500])
def test_a_wrong_size_hides_nothing(size: int) -> None:
    both = {"size": size}
    assert rules(make_zip([evil(method=DEFLATED, central=both, local=both)])) == {"archive.damaged-member", "evil"}


def test_a_broken_stream_hides_nothing_that_comes_before() -> None:
    raw = inflatable(EVIL + bytes(1000), 0)[:-20]
    assert rules(make_zip([evil(method=DEFLATED, raw=raw)])) == {"archive.damaged-member", "evil"}


def test_bytes_behind_a_stream_are_found() -> None:
    data = make_zip([plain(method=DEFLATED, raw=inflatable(PLAIN) + b"more")])
    assert rules(data) == {"archive.damaged-member"}


def test_a_missing_descriptor_is_found() -> None:
    assert rules(make_zip([plain(flags=0x08, local={"crc": 0})])) == {"zip.disagreement"}


@pytest.mark.parametrize("fields", [{"crc": 7}, {"size": 7}])
def test_a_descriptor_that_lies_is_found(fields: dict[str, int]) -> None:
    found = rules(make_zip([plain(descriptor="<LL", central=fields)]))
    assert "zip.disagreement" in found


def test_a_member_that_is_not_there() -> None:
    assert rules(make_zip([plain(central={"offset": 5})])) >= {"zip.disagreement"}
    assert rules(make_zip([plain(), plain(b"b", header=False, central={"offset": 2**31})])) == {"zip.disagreement"}


def test_two_names_for_the_same_bytes() -> None:
    data = make_zip([plain(b"a"), plain(b"b", header=False)])
    assert rules(data) >= {"zip.overlap", "zip.disagreement"}


def test_a_member_inside_of_the_directory() -> None:
    inner = make_zip([evil(b"c")])[: -22 - 46 - 1]
    first = plain(b"a", central={"extra": extra(0x5455, inner)})
    at = 30 + 1 + len(PLAIN) + 46 + 1 + 4
    data = make_zip([first, evil(b"c", header=False, central={"offset": at})])
    assert rules(data) == {"zip.overlap", "zip.extra-field", "evil"}


def test_members_inside_of_members() -> None:
    inner = make_zip([evil(b"c")])[: -22 - 46 - 1]  # its member alone
    outer = [Member(name=b"a", data=PLAIN + inner), evil(b"c", header=False, central={"offset": 31 + len(PLAIN)})]
    assert rules(make_zip(outer)) == {"zip.overlap", "evil"}


# --- where the directory lies


def test_a_zip_behind_something_else_is_found() -> None:
    honest = make_zip([evil()])
    assert {"evil", "zip.shifted"} <= rules(PLAIN + honest)
    assert rules(make_zip([evil()], prefix=PLAIN)) == {"evil", "file.several-formats", "file.unaccounted-bytes"}


def test_two_directories_for_programs_that_shift_and_those_that_do_not() -> None:
    # The end names the first archive's directory; the second's lies right before the end.
    first = make_zip([evil(b"a")])[:-22]
    directory = len(first) - 46 - 1
    second = make_zip([plain(b"b")], prefix=first, end={"directory": directory})
    assert {"evil", "zip.several-archives", "zip.shifted"} <= rules(second)
    shifted = make_zip([plain(b"a")])[:-22]
    other = make_zip([evil(b"b")], prefix=shifted, end={"directory": directory - len(EVIL) + len(PLAIN)})
    assert {"evil", "zip.several-archives"} <= rules(other)


def test_one_zip_behind_the_other() -> None:
    assert {"evil", "zip.several-archives"} <= rules(make_zip([evil()]) + make_zip([plain()]))
    assert {"evil", "zip.several-archives"} <= rules(make_zip([plain()]) + make_zip([evil()]))


def test_an_end_in_the_comment_of_another() -> None:
    inner = make_zip([evil()])
    outer = make_zip([plain()])
    data = outer[:-2] + struct.pack("<H", len(inner)) + inner
    assert {"evil", "zip.several-archives"} <= rules(data)


def test_a_zip_in_a_zip_is_one_member() -> None:
    data = make_zip([plain(), Member(name=b"inner", data=make_zip([evil()]))])
    (finding,) = found_in(FORMATS, data)
    assert finding.path == "file.bin!inner!b"


def test_a_large_end_that_says_something_else() -> None:
    other = make_zip([evil()])[:-22]
    data = make_zip([plain()], prefix=other, large_end={"directory": len(other) - 47, "size": 47})
    assert {"evil", "zip.several-archives"} <= rules(data)


def test_a_large_end_that_is_elsewhere() -> None:
    hidden = make_zip([evil()], large_end={})[:-42]
    data = make_zip([plain()], prefix=hidden, large_end={"locator": len(hidden) - 56})
    assert {"evil", "zip.several-archives"} <= rules(data)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_members(count: int) -> None:
    data = make_zip([plain(b"a"), evil(b"b")], end={"entries": count})
    assert rules(data) == {"zip.disagreement", "evil"}


def test_comments() -> None:
    assert rules(make_zip([plain()], comment=b"hello")) == {"zip.comment"}
    assert rules(make_zip([plain(central={"comment": b"hello"})])) == {"zip.comment"}
    assert "file.malformed" in rules(make_zip([plain()], comment=b"hello", end={"comment": 2}))


def test_volumes() -> None:
    assert rules(make_zip([plain()], end={"disk": 1})) == {"file.malformed"}


@pytest.mark.parametrize(
    "field",
    [
        extra(0x9901, bytes(7)),
        extra(0x1234, b""),
        extra(0x4246, b"ZZevil"),
        extra(0x5455, bytes(99)),
        b"\x01\x00\xff\xff",
    ],
)
def test_fields_that_nobody_understands(field: bytes) -> None:
    assert rules(make_zip([plain(local={"extra": field})])) >= {"zip.extra-field"}
    assert rules(make_zip([plain(central={"extra": field})])) >= {"zip.extra-field"}


def test_another_name_in_a_field() -> None:
    field = extra(0x7075, b"\x01" + struct.pack("<L", zlib.crc32(b"a")) + b"b.pkl")
    data = make_zip([plain(b"a", central={"extra": field})])
    assert rules(data) == {"zip.disagreement"}
    assert [name for name, _ in contained(FORMATS, data)] == ["a", "b.pkl"]


# --- what lies between


def test_gaps_are_not_accounted_for() -> None:
    assert rules(make_zip([plain(), plain(b"b", before=b"payload")])) == {"file.unaccounted-bytes"}
    assert rules(make_zip([plain()], gap=b"payload")) == {"file.unaccounted-bytes"}
    assert rules(make_zip([plain()]) + b"x") == {"file.unaccounted-bytes", "file.malformed"}


@pytest.mark.parametrize("method", [0, DEFLATED])
@pytest.mark.parametrize("descriptor", [None, "<LL"])
def test_members_that_the_directory_does_not_list_are_scanned(method: int, descriptor: str | None) -> None:
    data = make_zip([plain(), evil(listed=False, method=method, descriptor=descriptor), plain(b"c")])
    assert {"evil", "zip.hidden-member", "file.unaccounted-bytes"} == rules(data)


def test_a_zip_without_its_end_is_read_from_the_front() -> None:
    data = make_zip([plain(method=DEFLATED), evil(method=DEFLATED)])
    assert rules(data[:-22]) == {"file.malformed", "zip.hidden-member", "evil"}


# --- bounds


def test_a_bomb_is_stopped_and_hides_nothing() -> None:
    bomb = Member(name=b"bomb", data=EVIL + bytes(3 << 20), method=DEFLATED)
    limits = Limits(piece=1 << 20, ratio=100)
    assert rules(make_zip([bomb, plain()]), limits=limits) == {"scan.limit-exceeded", "evil"}


def test_more_members_than_may_be() -> None:
    data = make_zip([plain(b"%d" % i) for i in range(20)])
    assert rules(data, limits=Limits(members=10)) >= {"scan.limit-exceeded"}
    assert rules(data, limits=Limits(members=20)) == set()


def test_zips_in_zips_end_somewhere() -> None:
    data = PLAIN
    for _ in range(12):
        data = make_zip([Member(name=b"a", data=data)])
    assert rules(data) == {"scan.limit-exceeded"}


def test_lzma_that_asks_for_too_much_memory() -> None:
    packed = lzma.compress(PLAIN, format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16}])
    ordinary = b"\x09\x04\x05\0" + b"\x5d" + struct.pack("<L", 1 << 16) + packed
    assert rules(make_zip([plain(method=14, raw=ordinary)])) == set()
    greedy = b"\x09\x04\x05\0" + b"\x5d" + struct.pack("<L", 1 << 31) + packed
    assert "zip.unknown-compression" in rules(make_zip([plain(method=14, raw=greedy)]))


def test_a_second_stream_in_a_member_is_found() -> None:
    raw = bz2.compress(PLAIN) + bz2.compress(EVIL)
    assert rules(make_zip([plain(method=12, raw=raw)])) == {"archive.damaged-member"}
