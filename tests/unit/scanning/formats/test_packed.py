"""Compressed files: what is in them is scanned, all of it, and what is around it accounted for."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable

import pytest

from modelcar.scanning.formats.packed import FORMATS
from modelcar.scanning.formats.tars.scan import FORMATS as TARS
from modelcar.scanning.formats.unopened import FORMATS as UNOPENED
from modelcar.scanning.formats.zips.scan import FORMATS as ZIPS
from modelcar.scanning.limits import Limits
from tests.support.containers import EVIL, PLAIN, contained, found_in, rules_in
from tests.support.tars import make_tar
from tests.support.zips import Member, make_zip

Compress = Callable[[bytes], bytes]
KINDS: list[Compress] = [gzip.compress, bz2.compress, lzma.compress]
kinds = pytest.mark.parametrize("compress", KINDS)


def rules(data: bytes, limits: Limits | None = None) -> set[str]:
    return rules_in((*FORMATS, *TARS, *ZIPS), data, limits=limits)


def gzipped(data: bytes, *, flags: int = 0, fields: bytes = b"", method: int = 8) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    trailer = struct.pack("<LL", zlib.crc32(data), len(data))
    return b"\x1f\x8b" + bytes([method, flags]) + bytes(6) + fields + packed + trailer


@kinds
@pytest.mark.parametrize("content", [b"", PLAIN, PLAIN + bytes(5 << 20)])
def test_what_python_writes_is_clean(compress: Compress, content: bytes) -> None:
    assert found_in(FORMATS, compress(content)) == ()
    assert contained(FORMATS, compress(content)) == [("file.bin", content)]


@kinds
def test_streams_behind_one_another_are_one_file(compress: Compress) -> None:
    data = compress(PLAIN) + compress(b"") + compress(b"more")
    assert found_in(FORMATS, data) == ()
    assert contained(FORMATS, data) == [("file.bin", PLAIN + b"more")]


@kinds
def test_zeros_may_follow(compress: Compress) -> None:
    assert found_in(FORMATS, compress(PLAIN) + bytes(512)) == ()


def test_zeros_between_streams_of_xz() -> None:
    data = lzma.compress(PLAIN) + bytes(8) + lzma.compress(b"more")
    assert contained(FORMATS, data) == [("file.bin", PLAIN + b"more")]


@kinds
def test_anything_else_that_follows_is_not_accounted_for(compress: Compress) -> None:
    assert rules(compress(PLAIN) + EVIL) == {"file.unaccounted-bytes"}
    assert rules(compress(PLAIN) + bytes(20) + EVIL) == {"file.unaccounted-bytes"}


@pytest.mark.slow
@kinds
def test_a_broken_stream_hides_nothing_that_comes_before(compress: Compress) -> None:
    content = EVIL + bytes(range(256)) * 8_000  # more than one block of bzip2
    data = compress(content)
    assert rules(data[: len(data) * 9 // 10]) > {"archive.damaged-member"}
    assert "evil" in rules(data[: len(data) * 9 // 10])


@kinds
def test_a_broken_second_stream(compress: Compress) -> None:
    data = compress(EVIL) + compress(PLAIN)[:-5]
    assert rules(data) >= {"evil", "archive.damaged-member"}


@kinds
def test_archives_in_it_are_opened(compress: Compress) -> None:
    inner = make_zip([Member(name=b"a", data=make_tar({"b": EVIL}))])
    (finding,) = found_in((*FORMATS, *TARS, *ZIPS), compress(inner), name="x/model.zip.gz")
    assert finding.path in ("x/model.zip.gz!model.zip!a!b", "x/model.zip.gz!model.zip.gz!a!b")


def test_names_without_what_says_that_it_is_compressed() -> None:
    for name, inner in {
        "a/model.nemo.gz": "model.nemo",
        "m.tgz": "m.tar",
        ".gz": ".gz",
        "model.bin": "model.bin",
    }.items():
        assert [found for found, _ in contained(FORMATS, gzip.compress(PLAIN), name=name)] == [inner]


def test_what_tarfile_compresses_is_clean() -> None:
    for mode in ("w:gz", "w:bz2", "w:xz"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            info = tarfile.TarInfo("d/a")
            info.size = len(PLAIN)
            tar.addfile(info, io.BytesIO(PLAIN))
        assert rules(buffer.getvalue()) == set()


def test_headers_of_gzip() -> None:
    assert rules(gzipped(PLAIN)) == set()
    assert rules(gzipped(PLAIN, flags=0x08, fields=b"model.bin\0")) == set()
    assert rules(gzipped(PLAIN, flags=0x02, fields=b"\1\2")) == set()
    assert rules(gzipped(PLAIN, flags=0x04, fields=b"\6\0BC\2\0\1\1")) == set()
    assert rules(gzipped(PLAIN, flags=0x04, fields=b"\7\0payload")) == {"archive.damaged-member"}
    assert rules(gzipped(PLAIN, flags=0x10, fields=b"payload\0")) == {"archive.damaged-member"}
    assert rules(gzipped(PLAIN, flags=0x08, fields=b"../../x\0")) == {"archive.path-traversal"}
    assert rules(gzipped(PLAIN, flags=0x08, fields=b"x" * 9000)) >= {"archive.damaged-member"}
    assert rules(gzipped(PLAIN, flags=0x80)) >= {"archive.damaged-member"}
    assert rules(gzipped(PLAIN, method=7)) >= {"archive.damaged-member"}


@pytest.mark.parametrize("at", [-1, -5])
def test_checksum_and_size_of_gzip(at: int) -> None:
    data = bytearray(gzipped(EVIL))
    data[at] ^= 1
    assert rules(bytes(data)) == {"archive.damaged-member", "evil"}


@pytest.mark.slow
@kinds
def test_bombs_are_stopped_and_hide_nothing(compress: Compress) -> None:
    limits = Limits(piece=1 << 20, ratio=100)
    assert rules(compress(EVIL + bytes(20 << 20)), limits) >= {"scan.limit-exceeded", "evil"}


def test_compression_in_compression_ends_somewhere() -> None:
    data = PLAIN
    for _ in range(20):
        data = gzip.compress(data)
    assert rules(data) == {"scan.limit-exceeded"}


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07\x01\0", "rar"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x50\x2a\x4d\x18", "zstd"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"!<arch>\ndebian-binary", "ar"),
        (b"070701" + b"0" * 104, "cpio"),
        (b"hsqs", "squashfs"),
        (b"MSCF\0\0\0\0", "cab"),
        (b"ZF0x1f", "zfile"),
        (bytes(32769) + b"CD001", "iso9660"),
    ],
)
def test_archives_that_are_not_opened_are_named(beginning: bytes, kind: str) -> None:
    (finding,) = found_in(UNOPENED, beginning + bytes(100))
    assert (finding.rule.id, finding.detail) == ("archive.not-opened", kind)
