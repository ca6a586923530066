"""SOCI index v2: an artifact in the image that has a zTOC for each weight layer. Source: soci-snapshotter, `soci/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.soci.ztoc import SPAN_SIZE, TOOL, ztoc
from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.packaging.annotations import SOCI_LAYER_DIGEST, SOCI_LAYER_TYPE, SOCI_SPAN_SIZE, SOCI_TOOL
from modelcar.packaging.packed import PackedLayer
from modelcar.store import write_document
from modelcar.store.layout import OciLayout

__all__ = ["SOCI_INDEX_V2", "ZTOC", "is_soci_index", "write_soci_index"]

SOCI_INDEX_V2: Final = "application/vnd.amazon.soci.index.v2+json"  # of the index's config
ZTOC: Final = "application/octet-stream"
_CONFIG: Final = b"{}"


def is_soci_index(manifest: Manifest) -> bool:
    """Whether it is an index of this kind to everybody, and nothing else to anybody."""
    is_one = manifest.config.media_type == SOCI_INDEX_V2 and manifest.artifact_type is None
    return is_one and all(layer.media_type == ZTOC for layer in manifest.layers)


def write_soci_index(store: OciLayout, layers: Sequence[tuple[PackedLayer, Descriptor]]) -> Descriptor:
    """Write the index of those layers whose spans were digested, and what it lists.

    The snapshotter parses it and writes it anew, which must give the same bytes: no member that it does not know.
    """
    entries = [_write_ztoc(store, layer, described) for layer, described in layers if layer.planned.spans]
    config = Descriptor.of(SOCI_INDEX_V2, _CONFIG)
    index = Manifest(config=config, layers=tuple(entries), annotations={SOCI_TOOL: TOOL})
    write_document(store, _CONFIG, config.digest)
    write_document(store, index.content, index.digest)
    return Descriptor(media_type=index.media_type, digest=index.digest, size=len(index.content))


def _write_ztoc(store: OciLayout, layer: PackedLayer, described: Descriptor) -> Descriptor:
    content = ztoc(layer.planned.tar, layer.digests.spans)
    digest = Digest.of(content)
    store.materialise(digest, ByteMap([Literal(content)]))
    annotations = {
        SOCI_LAYER_DIGEST: str(described.digest),
        SOCI_LAYER_TYPE: described.media_type,
        SOCI_SPAN_SIZE: str(SPAN_SIZE),
    }
    return Descriptor(media_type=ZTOC, digest=digest, size=len(content), annotations=annotations)
