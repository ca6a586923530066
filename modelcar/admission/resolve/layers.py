"""Single files in an image's layers, found from the top down without unpacking anything.

Layers that engines and builders make are in the order of names, so in a large one the search ends behind the folder
that it is for: `/usr` with its gigabytes is not read for a file in `/etc`. Small layers are read to their end. What is
read in part is not verified: a registry that lies here makes the check in the pod fail, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

from modelcar.admission.resolve.tars import Bounds, Entry, Readable, entries
from modelcar.errors import InvalidContent
from modelcar.oci import Descriptor

__all__ = ["OpenLayer", "has_one_of", "read_file"]

OpenLayer = Callable[[Descriptor], AbstractContextManager[Readable]]

_STORED: Final = 64 << 20  # bytes of one image
_UNPACKED: Final = 512 << 20
_LARGEST_FILE: Final = 1 << 20
_SMALL_LAYER: Final = 4 << 20  # bytes that are read to their end, whatever order they are in
_LAST: Final = chr(0x10FFFF)  # behind every name
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


def read_file(path: str, layers: Sequence[Descriptor], open_layer: OpenLayer) -> bytes | None:
    """The content of the regular file at `path`, which has no leading slash; `None` if the image has none.

    Args:
        layers: from the lowest to the top one.

    Raises:
        InvalidContent: it, or a folder above it, is a link or too large, or a layer is no tar or too large.
        RegistryError: a layer cannot be had.
    """
    bounds = Bounds(stored=_STORED, unpacked=_UNPACKED)
    above = _ancestors(path)
    for layer in reversed(layers):
        is_hidden = False
        with open_layer(layer) as stream:
            for entry in _relevant(entries(stream, bounds), path, layer.size):
                if entry.path == path:
                    return _content(entry)
                if entry.path in above and not entry.is_folder:
                    raise InvalidContent(f"its /{entry.path} is no folder, but a link, say, which is not followed")
                is_hidden = is_hidden or _hides(entry.path, path, above)
        if is_hidden:
            return None
    return None


def has_one_of(paths: Collection[str], layers: Sequence[Descriptor], open_layer: OpenLayer) -> bool:
    """Whether a layer has one of `paths`, be it a link. Raises as `read_file`."""
    bounds = Bounds(stored=_STORED, unpacked=_UNPACKED)
    last = max(paths)
    for layer in reversed(layers):
        with open_layer(layer) as stream:
            if any(entry.path in paths for entry in _relevant(entries(stream, bounds), last, layer.size)):
                return True
    return False


def _content(entry: Entry) -> bytes:
    if not entry.is_file:
        raise InvalidContent(f"its /{entry.path} is a link or no file, which is not followed")
    if entry.size > _LARGEST_FILE:
        raise InvalidContent(f"its /{entry.path} has {entry.size} bytes")
    return entry.read()


def _ancestors(path: str) -> frozenset[str]:
    parts = path.split("/")
    return frozenset("/".join(parts[:n]) for n in range(1, len(parts)))


def _hides(marker: str, path: str, above: Collection[str]) -> bool:
    """Whether an entry of that name deletes what lower layers have at `path`."""
    folder, _, name = marker.rpartition("/")
    if name == _OPAQUE:
        return not folder or folder in above
    if not name.startswith(_WHITEOUT):
        return False
    deleted = f"{folder}/{name.removeprefix(_WHITEOUT)}".removeprefix("/")
    return deleted == path or deleted in above


def _relevant(found: Iterator[Entry], path: str, size: int) -> Iterator[Entry]:
    """The entries as far as `path` may still come: to the end, but in large layers that are in order of names.

    Some sort folder by folder and some by whole names, in which `etc-old` comes before `etc/passwd`. As long as a layer
    may be either, the search ends where neither lets anything come any more.
    """
    orders = [_by_folders, _by_names] if size > _SMALL_LAYER else []
    before = ""
    end = path.partition("/")[0] + "/" + _LAST
    for entry in found:
        name = entry.path.replace(_WHITEOUT, "")
        orders = [order for order in orders if order(before) <= order(name)]
        if orders and all(order(name) > order(end) for order in orders):
            return
        before = name
        yield entry


def _by_folders(name: str) -> list[str]:
    return name.split("/")


def _by_names(name: str) -> list[str]:
    return [name]
