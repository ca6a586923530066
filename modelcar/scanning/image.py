"""Scanning an image: every layer of every manifest once, and whether the model index tells the truth."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from modelcar.errors import InvalidContent
from modelcar.layers.index import IndexedLayer, ModelIndex
from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.packaging.fetch import ImageSource
from modelcar.packaging.inspect import Inspected, index_layer_of, inspect_image, parse_index_layer
from modelcar.packaging.plan import MODEL_ROOT
from modelcar.progress import SILENT, Progress
from modelcar.registry.cancel import run_parallel
from modelcar.scanning.blobs import Blobs
from modelcar.scanning.content import Content
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Finding, shown
from modelcar.scanning.image_rules import DISAGREES, HEADERS_ONLY, INDEX_UNREADABLE, PATH_TWICE, UNKNOWN_ENTRY
from modelcar.scanning.indexed import compare_layer
from modelcar.scanning.layers import ScannedLayer, digest_pieces, scan_layer
from modelcar.scanning.names import name_findings
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings
from modelcar.scanning.version import RULE_SET

__all__ = ["quick_scan_image", "scan_image"]

_DEFAULTS: Final = ScanSettings()
_LICENSES: Final = "org.opencontainers.image.licenses"


def scan_image(
    source: ImageSource,
    blobs: Blobs,
    settings: ScanSettings = _DEFAULTS,
    *,
    subject: str,
    progress: Progress = SILENT,
) -> Report:
    """Scan every byte of an image; what comes out is about its digest. `subject` names it for people.

    Raises:
        InvalidContent: a document or layer is not what its digest says: that is another image, and no verdict.
        WorldError, NotFound: something cannot be had.
    """
    return _scan(_ImageScan(source=source, blobs=blobs, scanner=FileScanner(settings), progress=progress), subject)


def quick_scan_image(
    source: ImageSource, blobs: Blobs, settings: ScanSettings = _DEFAULTS, *, subject: str, progress: Progress = SILENT
) -> Report:
    """Look at the headers of an image's files, as far as `blobs` lets them be read; never *clean*.

    Other scanners are not asked: they want whole files.

    Raises:
        InvalidContent: a document is not what its digest says.
        WorldError, NotFound: something cannot be had.
    """
    scanner = FileScanner(replace(settings, plugins=()))
    scan = _ImageScan(source=source, blobs=blobs, scanner=scanner, progress=progress, quick=True)
    return _scan(scan, subject)


def _scan(scan: _ImageScan, subject: str) -> Report:
    root = scan.source.resolve()
    inspected = inspect_image(root, scan.source.read, models=False)
    layers, findings = scan.run(inspected)
    return Report(
        subject=subject,
        files=tuple(file for layer in layers for file in layer.files),
        rule_set=RULE_SET,
        scanners=scan.scanner.scanners,
        scanned_at=datetime.now(UTC),
        findings=(*findings, *(finding for layer in layers for finding in layer.findings)),
        facts={"digest": str(root.digest), "scope": "headers" if scan.quick else "everything"},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageScan:
    source: ImageSource
    blobs: Blobs
    scanner: FileScanner
    progress: Progress
    quick: bool = False
    _models: dict[Digest, ModelIndex] = field(default_factory=dict)  # by the digest of the layer that they are in

    def run(self, inspected: Inspected) -> tuple[list[ScannedLayer], list[Finding]]:
        manifests = [each.manifest for each in inspected.manifests]
        findings = [Finding(rule=UNKNOWN_ENTRY, path=other.digest.short) for other in inspected.others]
        if self.quick:
            findings.append(Finding(rule=HEADERS_ONLY, path=inspected.root.digest.short))
        else:
            findings += self._read_models(manifests)
        unique = _unique_layers(manifests)
        scanned = self._scan_layers(unique)
        by_digest = {layer.descriptor.digest: layer for layer in scanned}
        for manifest in manifests:
            findings += _check_paths(manifest, by_digest)
            findings += self._check_index(manifest, by_digest)
        findings += name_findings(file.path for layer in scanned for file in layer.files)
        findings += self._check_licences(inspected, scanned)
        return scanned, list(dict.fromkeys(findings))

    def _read_models(self, manifests: Sequence[Manifest]) -> Iterator[Finding]:
        layers = {layer.digest: layer for layer in map(index_layer_of, manifests) if layer is not None}
        for layer in layers.values():
            try:
                self._models[layer.digest] = parse_index_layer(self.source.read(layer))
            except InvalidContent as e:
                yield Finding(rule=INDEX_UNREADABLE, path=layer.digest.short, detail=shown(str(e))[1:-1])

    def _scan_layers(self, layers: Sequence[Descriptor]) -> list[ScannedLayer]:
        if self.quick:  # those with small files first: there is only so much that may be read
            return [self._scan_layer(layer) for layer in sorted(layers, key=lambda d: d.size)]
        self.progress.expect(sum(layer.size for layer in layers))
        scanned: dict[Digest, ScannedLayer] = {}

        def scan(layer: Descriptor) -> None:
            scanned[layer.digest] = self._scan_layer(layer)

        run_parallel([partial(scan, layer) for layer in layers], os.cpu_count() or 1)
        return [scanned[layer.digest] for layer in layers]

    def _scan_layer(self, layer: Descriptor) -> ScannedLayer:
        key = f"scan {layer.digest}"
        indexed = [(m.root, x) for m in self._models.values() for x in m.layers if x.digest == layer.digest]
        bounds = _bounds(indexed, layer)
        trusted = layer.digest in self.scanner.settings.trusted_layers
        with self.blobs.open(layer) as content:
            self.progress.start(key, layer.digest.short, layer.size)
            chunks: tuple[Digest, ...] = ()
            if not self.quick:
                chunks = digest_pieces(layer, content, bounds, lambda n: self.progress.advance(key, n))
            scanned = scan_layer(layer, content, self.scanner, trusted=trusted)
            self.progress.finish(key)
            return _with_index(scanned, content, indexed, chunks) if scanned.payloads else scanned

    def _check_index(self, manifest: Manifest, scanned: Mapping[Digest, ScannedLayer]) -> Iterator[Finding]:
        """Every layer with model files is in the index, and the index has no others."""
        layer = index_layer_of(manifest)
        model = self._models.get(layer.digest) if layer is not None else None
        if layer is None or model is None:
            return
        listed = {d.digest for d in manifest.layers}
        indexed = {x.digest for x in model.layers}
        for missing in indexed - listed:
            yield Finding(
                rule=DISAGREES, path=layer.digest.short, detail=f"it lists layer {missing}, which is not there"
            )
        for digest in listed - indexed:
            if scanned[digest].files:
                yield Finding(rule=DISAGREES, path=layer.digest.short, detail=f"it leaves layer {digest} out")

    def _check_licences(self, inspected: Inspected, scanned: Sequence[ScannedLayer]) -> list[Finding]:
        """Both what the card in the image says and what the image says of itself, which is what policies see."""
        from modelcar.scanning.licences import CARD, DISAGREES, licence_findings, licences_in_card

        said = {inspected.annotations.get(_LICENSES)}
        said |= {each.manifest.annotations.get(_LICENSES) for each in inspected.manifests}
        annotated = sorted(filter(None, said))
        card = next((layer.card for layer in scanned if layer.card is not None), b"")
        in_card = licences_in_card(card)
        findings = licence_findings(list(dict.fromkeys((*in_card, *annotated))), self.scanner.settings.licenses)
        if in_card and annotated and annotated != [" AND ".join(in_card)]:
            detail = f"{shown(annotated[0])}, {' AND '.join(in_card)}"
            findings.append(Finding(rule=DISAGREES, path=CARD, detail=detail))
        return findings


def _with_index(
    scanned: ScannedLayer, content: Content, indexed: Sequence[tuple[str, IndexedLayer]], chunks: tuple[Digest, ...]
) -> ScannedLayer:
    findings = [f for root, each in indexed for f in compare_layer(each, content, scanned.payloads, chunks, root)]
    return replace(scanned, findings=(*scanned.findings, *findings))


def _bounds(indexed: Sequence[tuple[str, IndexedLayer]], layer: Descriptor) -> list[tuple[int, int]]:
    """How the index cuts the layer. Of two indexes that cut it differently only one can agree with what is found."""
    for _, each in indexed:
        if each.size == layer.size:
            return [(chunk.offset, chunk.size) for chunk in each.chunks]
    return []


def _unique_layers(manifests: Sequence[Manifest]) -> list[Descriptor]:
    """Each layer once, however many manifests list it; as an image's, where an image does."""
    unique: dict[Digest, Descriptor] = {}
    for manifest in sorted(manifests, key=lambda m: not m.is_image):
        for layer in manifest.layers:
            unique.setdefault(layer.digest, layer)
    return list(unique.values())


def _check_paths(manifest: Manifest, scanned: Mapping[Digest, ScannedLayer]) -> Iterator[Finding]:
    seen: set[str] = set()
    for layer in manifest.layers:
        paths = {path for path in scanned[layer.digest].payloads if path.startswith(f"{MODEL_ROOT}/")}
        for path in sorted(paths & seen):
            yield Finding(rule=PATH_TWICE, path=path.removeprefix(f"{MODEL_ROOT}/"), detail=layer.digest.short)
        seen |= paths
