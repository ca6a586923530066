"""Files in layers: overlays as engines make them, and nothing read that need not be."""

from __future__ import annotations

import gzip
import io
import random
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.admission.resolve import layers as module
from modelcar.admission.resolve.layers import has_one_of, read_file
from modelcar.errors import InvalidContent
from modelcar.oci import Descriptor, media_types
from tests.support.examples import examples
from tests.support.tars import FORMATS, header, make_tar, reseal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PATH = "etc/passwd"
NOISE = random.Random(1).randbytes(8 << 20)


class Layers:
    """Layers in memory, and how many bytes were read of each."""

    def __init__(self, *blobs: bytes) -> None:
        self._blobs = {Descriptor.of(media_types.LAYER_TAR, blob).digest: blob for blob in blobs}
        self.descriptors = [Descriptor.of(media_types.LAYER_TAR, blob) for blob in blobs]
        self.read: dict[str, int] = {}

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[io.BytesIO]:
        stream = io.BytesIO(self._blobs[descriptor.digest])
        yield stream
        self.read[str(descriptor.digest)] = stream.tell()

    def find(self, path: str = PATH) -> bytes | None:
        return read_file(path, self.descriptors, self.open)

    @property
    def reads(self) -> list[int]:
        return [self.read.get(str(descriptor.digest), 0) for descriptor in self.descriptors]


def tar_of(*members: tuple[str, bytes, bytes | str], dialect: str = "gnu") -> bytes:
    """Members as (name, kind, content or link)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[dialect]) as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(content, str):
                info.linkname, content = content, b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_the_top_layer_that_has_the_file_wins() -> None:
    layers = Layers(make_tar({PATH: b"low"}), make_tar({PATH: b"high"}), make_tar({"app/main": b"x"}))
    assert layers.find() == b"high"
    assert layers.reads[0] == 0


def test_an_image_without_the_file_has_none() -> None:
    assert Layers(make_tar({"etc/group": b"x"}), make_tar({})).find() is None
    assert Layers(b"").find() is None
    assert Layers().find() is None


@pytest.mark.parametrize(
    "marker", ["etc/.wh.passwd", "etc/.wh..wh..opq", ".wh.etc", ".wh..wh..opq", "./etc/.wh.passwd"]
)
def test_what_an_upper_layer_deletes_is_gone(marker: str) -> None:
    layers = Layers(make_tar({PATH: b"low"}), make_tar({marker: b"", "etc/zzz": b""}))
    assert layers.find() is None


@pytest.mark.parametrize("marker", ["etc/.wh.passwd", "etc/.wh..wh..opq", ".wh.etc", ".wh..wh..opq"])
def test_a_layer_does_not_delete_what_it_brings_itself(marker: str) -> None:
    assert Layers(make_tar({PATH: b"low"}), make_tar({marker: b"", PATH: b"new"})).find() == b"new"
    assert Layers(make_tar({PATH: b"low"}), make_tar({PATH: b"new", marker: b""})).find() == b"new"


@pytest.mark.parametrize("marker", ["etc/.wh.passwd-", "usr/.wh..wh..opq", ".wh.etcetera", "etc/.wh.pass/passwd"])
def test_other_deletions_do_not_matter(marker: str) -> None:
    assert Layers(make_tar({PATH: b"low"}), make_tar({marker: b""})).find() == b"low"


@pytest.mark.parametrize(
    "members",
    [
        [(PATH, tarfile.SYMTYPE, "/usr/lib/passwd")],
        [(PATH, tarfile.LNKTYPE, "etc/shadow")],
        [(PATH, tarfile.FIFOTYPE, b"")],
        [(PATH, tarfile.DIRTYPE, b"")],
        [("etc", tarfile.SYMTYPE, "usr/etc")],
        [("etc", tarfile.REGTYPE, b"no folder")],
        [(PATH, tarfile.REGTYPE, bytes(2 << 20))],
    ],
)
def test_what_is_not_a_small_plain_file_is_refused(members: Sequence[tuple[str, bytes, bytes | str]]) -> None:
    with pytest.raises(InvalidContent, match="/etc"):
        Layers(make_tar({PATH: b"low"}), tar_of(*members)).find()


@pytest.mark.parametrize("dialect", FORMATS)
@pytest.mark.parametrize("name", [PATH, f"./{PATH}", f"/{PATH}"])
@pytest.mark.parametrize("packed", ["plain", "gzip", "two gzips", "zstd"])
def test_every_dialect_and_packing_is_read(dialect: str, name: str, packed: str) -> None:
    tar = tar_of(
        ("a" * 90 + "/" + "ü" * 90, tarfile.REGTYPE, b"x" * 700),
        (name, tarfile.REGTYPE, b"content"),
        dialect="pax" if dialect == "ustar" else dialect,
    )
    half = len(tar) // 2
    blob = {
        "plain": tar,
        "gzip": gzip.compress(tar),
        "two gzips": gzip.compress(tar[:half]) + gzip.compress(tar[half:]),
        "zstd": zstd.compress(tar),
    }[packed]
    assert Layers(blob).find() == b"content"


def test_a_long_name_is_found_whatever_announces_it() -> None:
    path = "/".join(["d" * 60] * 5)
    for dialect in ("gnu", "pax"):
        assert Layers(tar_of((path, tarfile.REGTYPE, b"content"), dialect=dialect)).find(path) == b"content"


def test_names_that_climb_are_nobodys() -> None:
    assert Layers(make_tar({"x/../etc/passwd": b"bad"})).find() is None


def test_a_tar_without_an_end_mark_ends_all_the_same() -> None:
    assert Layers(make_tar({"a": b"x"})[:1024]).find() is None


def test_a_large_layer_in_order_is_not_read_behind_the_place() -> None:
    layers = Layers(
        make_tar({PATH: b"low"}), make_tar({"app": b"x", "etc-old": b"x", "etc/zzz": b"x", "usr/lib": NOISE})
    )
    assert layers.find() == b"low"
    assert layers.reads[1] < 1 << 20


def test_a_large_layer_in_no_order_is_read_on() -> None:
    assert Layers(make_tar({PATH: b"low"}), make_tar({"usr/lib": NOISE, "bin/x": b"", PATH: b"late"})).find() == b"low"
    assert (
        Layers(make_tar({PATH: b"low"}), make_tar({"usr/a": b"", "bin/x": b"", "z": NOISE, PATH: b"late"})).find()
        == b"low"
    )
    unordered = {"opt/x": b"x", "bin/x": b"x", "usr/lib": NOISE, PATH: b"late"}
    assert Layers(make_tar({PATH: b"low"}), make_tar({"b": b"", "a": b"", **unordered})).find() == b"late"


def test_a_small_layer_is_read_whatever_its_order() -> None:
    assert Layers(make_tar({PATH: b"low"}), make_tar({"usr/lib": b"x", PATH: b"late"})).find() == b"late"


def test_no_more_is_read_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STORED", 1 << 20)
    layers = Layers(make_tar({PATH: b"low"}), make_tar({"a/noise": NOISE, PATH: b"far"}))
    with pytest.raises(InvalidContent, match="too large"):
        layers.find()
    assert layers.reads[0] == 0


def test_a_bomb_does_not_go_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNPACKED", 1 << 20)
    for blob in (gzip.compress(make_tar({"a": bytes(8 << 20)})), zstd.compress(make_tar({"a": bytes(8 << 20)}))):
        with pytest.raises(InvalidContent, match="too large"):
            Layers(blob).find()


@pytest.mark.parametrize(
    "blob",
    [
        b"no tar at all" * 100,
        make_tar({"a": b"x" * 5000})[:2000],
        gzip.compress(make_tar({"a": NOISE[:100_000]}))[:5000],
        b"\x1f\x8b" + b"x" * 100,
        b"\x28\xb5\x2f\xfd" + b"x" * 100,
        reseal(header("x", b"L", 100 << 20)) + bytes(2048),
        reseal(header("x", b"x", 100 << 20)) + bytes(2048),
    ],
)
def test_damage_is_said_and_goes_no_further(blob: bytes) -> None:
    with pytest.raises(InvalidContent):
        Layers(make_tar({PATH: b"low"}), blob).find()


def test_a_size_in_records_counts() -> None:
    content = b"x" * 600
    tar = bytearray(tar_of(("a", tarfile.REGTYPE, content), (PATH, tarfile.REGTYPE, b"found"), dialect="gnu"))
    record = b"12 size=600\n"
    extension = reseal(header("pax", b"x", len(record))) + record + bytes(512 - len(record))
    tar[124:136] = b"00000000000\0"
    tar[:512] = reseal(bytes(tar[:512]))
    assert Layers(extension + bytes(tar)).find() == b"found"


@pytest.mark.parametrize("name", ["bin/sh", "usr/bin/busybox"])
def test_a_program_counts_as_there_in_any_form(name: str) -> None:
    layers = Layers(
        make_tar({"models/a": b"x"}), tar_of((name, tarfile.SYMTYPE, "busybox")), make_tar({"models/b": b"x"})
    )
    assert has_one_of({"bin/sh", "usr/bin/busybox"}, layers.descriptors, layers.open)
    assert not has_one_of({"bin/bash"}, layers.descriptors, layers.open)


_GOOD = make_tar({"bin/sh": b"x" * 600, PATH: b"content", "usr/" + "n" * 120: b"y"}, dialect="pax")
_PACKED = (_GOOD, gzip.compress(_GOOD, mtime=0), zstd.compress(_GOOD))


@examples(300)
@given(
    blob=st.sampled_from(_PACKED),
    changes=st.lists(st.tuples(st.integers(0, 6000), st.binary(max_size=20)), max_size=4),
    end=st.integers(0, 20_000),
)
def test_damaged_layers_are_said_to_be_and_nothing_worse(
    blob: bytes, changes: list[tuple[int, bytes]], end: int
) -> None:
    data = bytearray(blob)
    for at, new in changes:
        data[at % len(data) : at % len(data) + len(new)] = new
    with suppress(InvalidContent):
        found = Layers(bytes(data[:end])).find()
        assert found is None or len(found) < 1 << 20
