"""Archives that are small here and huge unpacked."""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from typing import Final

from tests.corpus.formats.tars import file, gzipped, tar_of
from tests.corpus.formats.zips import DEFLATED, Member, zip_of, zipped
from tests.corpus.malicious.common import one_file
from tests.corpus.specimen import NEVER_CLEAN, Specimen

MIB: Final = 1 << 20
CRC_OF_A_GIB: Final = 0x5B64C2B0
"""Of zeros: zlib takes a third of a second for it."""


@cache
def specimens() -> list[Specimen]:
    """Made once: they cost more than all the others together."""
    many = b"".join([_zeros()] * 64)
    return [
        _bomb(
            "gzip",
            "16 GiB of zeros, in 1,024 members of a gzip packed by gzip",
            "weights.bin.gz",
            gzip.compress(many * 16, mtime=0),
        ),
        _bomb("zip", "One GiB of zeros in a member", "weights.zip", zip_of(_zero_member())),
        _bomb(
            "zip-overlapping",
            "A thousand members that share one GiB of zeros: a TiB in all",
            "weights.zip",
            _overlapping(),
        ),
        _bomb("zip-nested", "Sixteen copies each, four zips deep: 65,536 GiB in all", "weights.zip", _nested()),
        _bomb("npz", "An array of one GiB of zeros, deflated", "stats.npz", zip_of(_zero_member(name="mean.npy"))),
        _bomb(
            "torch",
            "A torch file with a storage of one GiB of zeros, deflated",
            "model.pt",
            zip_of(_zero_member(name="archive/data/0")),
        ),
        _bomb("tar-many-members", "Twenty thousand members, all of them empty", "weights.tar.gz", _members()),
        _bomb("quine", "A gzip whose content is a gzip, without an end to tell", "weights.bin.gz", _layers()),
    ]


def _bomb(name: str, description: str, path: str, content: bytes) -> Specimen:
    return one_file(f"bomb-{name}", "archive", "decompression bomb", description, path, content, expected=NEVER_CLEAN)


@cache
def _zeros() -> bytes:
    """16 MiB of zeros in a gzip member."""
    return gzip.compress(bytes(16 * MIB), 9, mtime=0)


@cache
def _deflated_gib() -> bytes:
    """A raw deflate stream of one GiB of zeros, put together from one MiB's."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * 1024 + packer.flush()


def _zero_member(name: str = "weights.bin", *, same_data_as: int | None = None) -> Member:
    return Member(
        name=name, method=DEFLATED, raw=_deflated_gib(), crc=CRC_OF_A_GIB, size=1 << 30, same_data_as=same_data_as
    )


def _overlapping() -> bytes:
    return zip_of(_zero_member("0"), *(_zero_member(str(i), same_data_as=0) for i in range(1, 1000)))


def _nested() -> bytes:
    packed = zip_of(_zero_member())
    for _ in range(4):
        packed = zipped({f"{i}.zip": packed for i in range(16)}, method=DEFLATED)
    return packed


def _members() -> bytes:
    """Two thousand names over and over: a tar's headers in gzip members, without an end in between."""
    headers = tar_of(*(file(f"{i:05}") for i in range(2_000)), pax=False)[: 2_000 * 512]
    return gzipped(headers) * 10 + gzipped(bytes(1024))


def _layers() -> bytes:
    data = b"weights"
    for _ in range(200):
        data = gzipped(data)
    return data
