"""Whether an eStargz layer's table of contents is true: a snapshotter shows what it says, everyone else the tar."""

from __future__ import annotations

from io import BufferedReader
from typing import cast

from modelcar.errors import UnsafePath
from modelcar.layers.bytemap import ByteMap, Zeros
from modelcar.layers.estargz import LANDMARK, TOC_NAME, plan_estargz
from modelcar.layers.estargzhash import hash_estargz
from modelcar.layers.members import Members
from modelcar.layers.tar import Entry
from modelcar.oci import Descriptor, Digest
from modelcar.scanning.content import Content

__all__ = ["OWN_FILES", "proven_table"]

OWN_FILES = frozenset({TOC_NAME, LANDMARK})


def proven_table(layer: Descriptor, tar: Content, members: Members) -> Digest | None:
    """The digest of the table, if the layer is, byte for byte, what modelcar makes of the files in its `tar`.

    So everything in the blob is accounted for: that table is the only one, and it leads to the same files.
    """
    if TOC_NAME not in members.files:
        return None
    files = {path: payload for path, payload in members.files.items() if path not in OWN_FILES}
    entries = [Entry(path=path, content=ByteMap([Zeros(payload.size)])) for path, payload in files.items()]
    try:
        plan = plan_estargz(entries)
    except UnsafePath:
        return None
    planned = {payload.path: payload for payload in plan.tar.payloads if payload.path not in OWN_FILES}
    if planned != files or (plan.size, plan.tar_size) != (layer.size, tar.size):
        return None
    found = hash_estargz(plan, tar=cast("BufferedReader", tar.stream()))
    return Digest.of(plan.toc(found.chunks)) if found.blob == layer.digest else None
