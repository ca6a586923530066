"""Recipes: a virtual blob as a small JSON file, so that an image can be stored without a copy of its weights.

Recipes name files of the machine they were written on. They are read only from the user's own store, never from an OCI
layout that came from elsewhere: a foreign recipe could name any file as a layer.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from modelcar.errors import InvalidDocument, StorageError
from modelcar.files import FileStamp
from modelcar.layers.bytemap import ByteMap, FileRange, GzippedRange, Literal, Segment, Zeros
from modelcar.oci import Digest, compact_json, parse_object
from modelcar.oci.document import Fields

__all__ = ["dump_recipe", "load_recipe"]

_VERSION = 1
_MAX_RECIPE = 256 << 20  # bytes; a file takes about one thousand
_STAMP = ("device", "inode", "size", "mtime_ns", "ctime_ns")


def dump_recipe(digest: Digest, content: ByteMap) -> bytes:
    """The recipe of a virtual blob; every file range in it must carry a stamp."""
    return compact_json(
        {
            "version": _VERSION,
            "digest": str(digest),
            "size": content.size,
            "segments": [_segment_to_dict(s) for s in content.segments()],
        }
    )


def load_recipe(raw: bytes, digest: Digest) -> ByteMap:
    """Parse a recipe.

    Raises:
        StorageError: it is damaged, or is the recipe of another blob.
    """
    try:
        fields = Fields(parse_object(raw, "recipe", limit=_MAX_RECIPE), "recipe")
        if fields.size("version") != _VERSION or fields.text("digest") != str(digest):
            raise InvalidDocument("recipe is of another version or blob")
        content = ByteMap([_segment_from(f) for f in fields.objects("segments")])
        if content.size != fields.size("size"):
            raise InvalidDocument("recipe.segments do not add up to its size")
    except (InvalidDocument, ValueError) as e:
        raise StorageError(f"the recipe of {digest} is damaged: {e}", hint="build the image again") from None
    return content


def _segment_to_dict(segment: Segment) -> dict[str, Any]:
    if isinstance(segment, Literal):
        return {"literal": base64.b64encode(segment.data).decode()}
    if isinstance(segment, Zeros):
        return {"zeros": segment.size}
    if isinstance(segment, GzippedRange):
        if not segment.is_whole:
            raise ValueError("a recipe holds whole gzip members")
        crcs = base64.b64encode(segment.crcs).decode()
        return {"gzip": _segment_to_dict(segment.content), "member": segment.member, "crcs": crcs}
    if segment.stamp is None:
        raise ValueError(f"{segment.path} has no stamp")
    stamp = {name: getattr(segment.stamp, name) for name in _STAMP}
    return {**_path_to_dict(segment.path), "offset": segment.offset, "size": segment.size, "stamp": stamp}


def _path_to_dict(path: Path) -> dict[str, str]:
    if not path.is_absolute():
        raise ValueError(f"{path} is not absolute")
    try:
        path.as_posix().encode()
    except UnicodeEncodeError:  # a folder above the checkpoint may be named in any bytes
        return {"pathBytes": base64.b64encode(os.fsencode(path)).decode()}
    return {"path": str(path)}


def _segment_from(fields: Fields) -> Segment:
    if (literal := fields.optional_text("literal")) is not None:
        return Literal(base64.b64decode(literal, validate=True))
    if (packed := fields.optional_object("gzip")) is not None:
        content = _segment_from(packed)
        if not isinstance(content, FileRange):
            raise InvalidDocument(f"{packed.path} is no range of a file")
        crcs = base64.b64decode(fields.text("crcs"), validate=True)
        return GzippedRange.of(content, fields.size("member"), crcs)
    path = fields.optional_text("path")
    if (raw := fields.optional_text("pathBytes")) is not None:
        path = os.fsdecode(base64.b64decode(raw, validate=True))
    if path is not None:
        return _range_from(fields, path)
    return Zeros(fields.size("zeros"))


def _range_from(fields: Fields, path: str) -> FileRange:
    described = fields.optional_object("stamp")
    if described is None:
        raise InvalidDocument(f"{fields.path}.stamp is missing")
    if not path.startswith("/") or "\0" in path:
        raise InvalidDocument(f"{fields.path}.path is not an absolute path")
    stamp = FileStamp(**{name: described.integer(name) for name in _STAMP})
    offset, size = fields.size("offset"), fields.size("size")
    if offset + size > stamp.size:
        raise InvalidDocument(f"{fields.path} ends beyond its file")
    return FileRange(path=Path(path), offset=offset, size=size, stamp=stamp)
