"""Whether SOCI indexes in an image are true: the SOCI snapshotter shows what they say, everyone else the layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from modelcar.errors import UnsafePath
from modelcar.layers.bytemap import ByteMap, Zeros
from modelcar.layers.members import Members
from modelcar.layers.soci.ztoc import SPAN_SIZE, ztoc
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.annotations import SOCI_INDEX, SOCI_LAYER_DIGEST
from modelcar.packaging.inspect import InspectedManifest
from modelcar.scanning.content import Content
from modelcar.scanning.findings import Finding, shown
from modelcar.scanning.image_rules import ANNOTATIONS

__all__ = ["SociCheck"]


@dataclass(slots=True)
class SociCheck:
    """The SOCI indexes of one image, and what their zTOCs have to be; several threads may share it."""

    indexes: Collection[InspectedManifest]
    _expected: dict[str, Digest] = field(default_factory=dict)  # digest of the zTOC, by that of the layer as text

    def look(self, layer: Descriptor, content: Content, members: Members) -> None:
        """Make the zTOC of a layer that one of the indexes describes."""
        described = {
            entry.annotations.get(SOCI_LAYER_DIGEST) for each in self.indexes for entry in each.manifest.layers
        }
        if str(layer.digest) in described and (found := _expected(content, members)) is not None:
            self._expected[str(layer.digest)] = found

    def unproven(self) -> list[InspectedManifest]:
        """The indexes that have something else than true zTOCs, once all layers were looked at."""
        return [each for each in self.indexes if not all(map(self._is_true, each.manifest.layers))]

    def _is_true(self, entry: Descriptor) -> bool:
        return self._expected.get(entry.annotations.get(SOCI_LAYER_DIGEST, "")) == entry.digest

    def findings(self, images: Iterable[InspectedManifest]) -> Iterator[Finding]:
        """Images that lead to an index that is not true, or is not there."""
        proven = {str(each.descriptor.digest) for each in self.indexes} - {
            str(each.descriptor.digest) for each in self.unproven()
        }
        for image in images:
            named = image.manifest.annotations.get(SOCI_INDEX)
            if named is not None and named not in proven:
                detail = f"its SOCI index {shown(named)} was not found to be true"
                yield Finding(rule=ANNOTATIONS, path=image.descriptor.digest.short, detail=detail)


def _expected(content: Content, members: Members) -> Digest | None:
    """The digest of the zTOC of a layer as modelcar makes them; `None` for any other layer."""
    entries = [Entry(path=path, content=ByteMap([Zeros(p.size)])) for path, p in members.files.items()]
    try:
        tar = build_tar(entries)
    except UnsafePath:
        return None
    if {p.path: p for p in tar.payloads} != dict(members.files) or tar.content.size != content.size:
        return None
    spans = [Digest.of(content.read(at, min(SPAN_SIZE, content.size - at))) for at in range(0, content.size, SPAN_SIZE)]
    return Digest.of(ztoc(tar, spans))
