"""JSON that is too long for a packet, in a file without a name."""

from __future__ import annotations

import os
from typing import Any, Final

from modelcar.oci import compact_json
from modelcar.oci.document import parse_object

__all__ = ["read_document", "write_document"]

_LARGEST: Final = 64 << 20  # bytes


def write_document(document: dict[str, Any]) -> int:
    """An open file that holds it, which the caller closes."""
    fd = os.memfd_create("modelcar", os.MFD_CLOEXEC)
    view = memoryview(compact_json(document))
    while view:
        view = view[os.write(fd, view) :]
    return fd


def read_document(fd: int) -> dict[str, Any]:
    """Raises `InvalidDocument`; the file stays open."""
    parts = []
    offset = 0
    while offset <= _LARGEST and (part := os.pread(fd, _LARGEST + 1 - offset, offset)):
        parts.append(part)
        offset += len(part)
    return parse_object(b"".join(parts), "document", limit=_LARGEST)
