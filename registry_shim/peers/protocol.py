"""What peers say to each other: paths, headers, and the map of who has which chunks. `docs/formats/peers.md`."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Final

from modelcar.lazy.grid import Grid
from modelcar.oci import Digest

__all__ = [
    "AUTHORIZATION",
    "HAVE",
    "MOST_CHUNKS",
    "ORIGIN",
    "PREFIX",
    "SENDER",
    "SENDING",
    "SIZE",
    "blob_path",
    "grid_path",
    "is_in_map",
    "pack_map",
    "unpack_map",
]

PREFIX: Final = "/peer/v1/"
ORIGIN: Final = "Modelcar-Origin"
"""`registry/repository` that the blob is read from."""
AUTHORIZATION: Final = "Modelcar-Authorization"
"""What the client that this is for sent as `Authorization`."""
SENDER: Final = "Modelcar-Peer"
"""The name of the node that asks."""
SIZE: Final = "Modelcar-Size"
"""The blob's size in bytes."""
HAVE: Final = "Modelcar-Have"
"""In answers: which chunks the node has."""
SENDING: Final = "Modelcar-Sending"
"""In answers: how many bodies the node is sending to its peers, this one included: what it has to share its uplink
among."""

MOST_CHUNKS: Final = 16_384
"""Of a blob with more chunks no map is sent: it would not fit into a header."""
_ALL: Final = "all"


def blob_path(digest: Digest, grid: str) -> str:
    return f"{PREFIX}blobs/{digest}/{grid}"


def grid_path(grid: Grid) -> str:
    return f"{PREFIX}grids/{grid.digest}/{grid.name}"


def pack_map(here: bytes) -> str:
    """One byte a chunk, as `PartialBlob.map` has it, as a header's value: bits, compressed, in base64."""
    if here.count(0) == 0:
        return _ALL
    bits = int(here[::-1].translate(_DIGITS), 2).to_bytes(_length(len(here)), "little")
    return base64.b64encode(zlib.compress(bits)).decode()


def unpack_map(text: str, chunks: int) -> bytes | None:
    """A bit a chunk, the first one the lowest of the first byte; `None` for what is not a map of so many chunks."""
    length = _length(chunks)
    if text == _ALL:
        return ((1 << chunks) - 1).to_bytes(length, "little")
    try:
        bits = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), length + 1)
    except (binascii.Error, zlib.error, ValueError):
        return None
    return bits if len(bits) == length and int.from_bytes(bits, "little") >> chunks == 0 else None


def is_in_map(bits: bytes, number: int) -> bool:
    return bool(bits[number >> 3] >> (number & 7) & 1)


def _length(chunks: int) -> int:
    return (chunks + 7) // 8


_DIGITS: Final = bytes([ord("0"), *[ord("1")] * 255])
