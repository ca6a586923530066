"""Which blobs make up an image on this machine."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from modelcar.errors import InvalidDocument
from modelcar.oci import Descriptor, Index, Platform, parse_manifest
from modelcar.oci.validate import MAX_NESTING

__all__ = ["Wanted", "this_platform", "wanted"]

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
Read = Callable[[Descriptor], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`manifests` are the documents below the root, `blobs` configs and layers, each once."""

    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]


def this_platform() -> Platform:
    machine = platform.machine()
    return Platform(os="linux", architecture=_ARCHITECTURES.get(machine, machine))


def wanted(root: Descriptor, content: bytes, read: Read, choice: Platform | None) -> Wanted:
    """What `choice` needs of an image (`None`: of all platforms). An index without that platform is taken whole.

    Args:
        read: returns a manifest's verified bytes.

    Raises:
        InvalidDocument: a manifest breaks its specification. And whatever `read` raises.
    """
    manifests: dict[str, Descriptor] = {}
    blobs: dict[str, Descriptor] = {}

    def visit(descriptor: Descriptor, raw: bytes, depth: int) -> None:
        document = parse_manifest(raw, descriptor.media_type)
        if not isinstance(document, Index):
            blobs.update((str(blob.digest), blob) for blob in document.blobs)
            return
        if depth > MAX_NESTING:
            raise InvalidDocument(f"{root.digest}: indexes are nested more than {MAX_NESTING} deep")
        for child in _chosen(document, choice):
            if str(child.digest) not in manifests:
                manifests[str(child.digest)] = child
                visit(child, read(child), depth + 1)

    visit(root, content, 0)
    return Wanted(manifests=tuple(manifests.values()), blobs=tuple(blobs.values()))


def _chosen(index: Index, choice: Platform | None) -> Iterator[Descriptor]:
    found = index.select(choice) if choice is not None else None
    if found is not None:
        yield found
    else:
        yield from index.manifests
