"""zTOC 0.9 of an uncompressed layer: its files, and the digests of its spans.

Source: soci-snapshotter, `ztoc/fbs/ztoc.fbs` and `ztoc/compression/fbs/zinfo.fbs`. The numbers below are those of the
fields there. What we write is documented in `docs/formats/soci.md`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.layers.soci.flatbuffer import FlatBuffer
from modelcar.layers.tar import TarMember, VirtualTar
from modelcar.oci import Digest

__all__ = ["SPAN_SIZE", "TOOL", "ztoc"]

SPAN_SIZE: Final = CHUNK_SIZE  # bytes
TOOL: Final = "modelcar"  # without a version: the same layer has the same zTOC
_VERSION: Final = "0.9"
_ZINFO_VERSION: Final = 2
_UNCOMPRESSED: Final = 2
_EPOCH: Final = "1970-01-01T00:00:00Z"


def ztoc(tar: VirtualTar, spans: Sequence[Digest]) -> bytes:
    """The zTOC of a layer; `spans` are the digests of each `SPAN_SIZE` bytes of it."""
    size = tar.content.size
    if len(spans) != -(-size // SPAN_SIZE):
        raise ValueError(f"{len(spans)} spans of {size} bytes")
    buffer = FlatBuffer()
    version, tool = buffer.string(_VERSION), buffer.string(TOOL)
    members = [_member(buffer, member) for member in reversed(tar.members)]
    toc = buffer.table({0: buffer.references(members[::-1])})
    checkpoints = buffer.octets(_zinfo(size))
    digests = buffer.references([buffer.string(str(span)) for span in spans])
    compression = buffer.table({1: _int(len(spans) - 1), 2: digests, 3: checkpoints, 0: bytes([_UNCOMPRESSED])})
    return buffer.finish(
        buffer.table({0: version, 1: tool, 4: toc, 2: _long(size), 3: _long(size), 5: compression}),
    )


def _zinfo(size: int) -> bytes:
    """How to find a span in a layer that is not compressed."""
    buffer = FlatBuffer()
    return buffer.finish(buffer.table({0: _int(_ZINFO_VERSION), 1: _long(SPAN_SIZE), 2: _long(size)}))


def _member(buffer: FlatBuffer, member: TarMember) -> int:
    name, kind = buffer.string(member.name), buffer.string("dir" if member.is_folder else "reg")
    link, user, group, modified = (buffer.string(text) for text in ("", "", "", _EPOCH))
    records = []
    if member.comment:  # PAX records, all of them
        key, value = buffer.string("comment"), buffer.string(member.comment)
        records.append(buffer.table({0: key, 1: value}))
    attributes = buffer.references(records)
    return buffer.table(
        {
            0: name,
            1: kind,
            2: _long(member.offset),
            3: _long(member.size),
            4: link,
            5: _long(member.mode),
            8: user,
            9: group,
            10: modified,
            13: attributes,
        }
    )


def _int(value: int) -> bytes:
    return struct.pack("<i", value)


def _long(value: int) -> bytes:
    return struct.pack("<q", value)
