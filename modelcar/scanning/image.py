"""Scanning an image: every layer of every manifest in every way in which it is read, and whether all of it agrees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from modelcar.errors import InvalidContent, InvalidDocument, SizeMismatch
from modelcar.layers.index import IndexedLayer, ModelIndex
from modelcar.layers.members import Members
from modelcar.oci import Descriptor, Digest, Manifest
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.packaging.fetch import ImageSource
from modelcar.packaging.inspect import Inspected, InspectedManifest, index_layer_of, inspect_image, parse_index_layer
from modelcar.packaging.soci import is_soci_index
from modelcar.progress import SILENT, Progress
from modelcar.registry.cancel import run_parallel
from modelcar.scanning.blobs import Blobs
from modelcar.scanning.content import Content, literal
from modelcar.scanning.files import FileScanner
from modelcar.scanning.findings import Finding, Outcome, outcome_of, shown
from modelcar.scanning.image_rules import HEADERS_ONLY, INDEX_UNREADABLE, NO_MODEL, UNKNOWN_ENTRY, UNREADABLE
from modelcar.scanning.indexed import compare_layer, compare_packed
from modelcar.scanning.layers import LayerScanner, ScannedLayer, digest_pieces
from modelcar.scanning.manifests import Scanned, check_manifest
from modelcar.scanning.names import name_findings
from modelcar.scanning.readings import Reading, reading_of
from modelcar.scanning.report import FileReport, Report
from modelcar.scanning.settings import ScanSettings
from modelcar.scanning.soci import SociCheck
from modelcar.scanning.version import RULE_SET

__all__ = ["quick_scan_image", "scan_image"]

Found = Callable[[Descriptor, ScannedLayer], None]
_DEFAULTS: Final = ScanSettings()
_MOST_LAYERS: Final = 10_000  # of all manifests
_MOST_INDEX: Final = 256 << 20  # bytes of all model indexes, of which an image has one
_LICENSES: Final = "org.opencontainers.image.licenses"


def scan_image(
    source: ImageSource,
    blobs: Blobs,
    settings: ScanSettings = _DEFAULTS,
    *,
    subject: str,
    progress: Progress = SILENT,
    found: Found | None = None,
) -> Report:
    """Scan every byte of an image; what comes out is about its digest. `subject` names it for people.

    `found` is told what each layer came to as soon as that is known, from any thread.

    Raises:
        InvalidContent: a document or layer is not what its digest says: that is another image, and no verdict.
        WorldError, NotFound: something cannot be had.
    """
    scanner = FileScanner(settings)
    return _scan(_ImageScan(source=source, blobs=blobs, scanner=scanner, progress=progress, found=found), subject)


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
    inspected = inspect_image(root, scan.source.read, models=None)
    files, findings = scan.run(inspected)
    return Report(
        subject=subject,
        files=tuple(files),
        rule_set=RULE_SET,
        scanners=scan.scanner.scanners,
        scanned_at=datetime.now(UTC),
        findings=tuple(findings),
        facts={"digest": str(root.digest), "scope": "headers" if scan.quick else "everything"},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageScan:
    source: ImageSource
    blobs: Blobs
    scanner: FileScanner
    progress: Progress
    quick: bool = False
    found: Found | None = None
    _models: dict[Digest, ModelIndex] = field(default_factory=dict)  # by the digest of the layer that they are in
    _indexed: dict[Digest, list[tuple[str, IndexedLayer]]] = field(default_factory=dict)  # with the index's root

    def run(self, inspected: Inspected) -> tuple[list[FileReport], list[Finding]]:
        soci = SociCheck([each for each in inspected.manifests if is_soci_index(each.manifest) and not self.quick])
        images = [each for each in inspected.manifests if each not in soci.indexes]
        manifests = [each.manifest for each in images]
        findings = [Finding(rule=UNKNOWN_ENTRY, path=other.digest.short) for other in inspected.others]
        if self.quick:
            findings.append(Finding(rule=HEADERS_ONLY, path=inspected.root.digest.short))
        else:
            findings += self._read_models(manifests)
        scanned = self._scan_layers(_unique_layers(manifests), manifests, soci)
        findings += soci.findings(images)
        if unproven := soci.unproven():  # artifacts like any other, then
            images += unproven
            scanned |= self._scan_layers(_unique_layers([each.manifest for each in unproven]), [], soci)
        findings += [finding for layer in scanned.values() for finding in layer.findings]
        for each in images:
            findings += check_manifest(each, scanned, self._models, self.scanner.settings.trusted_layers)
        files = [file for layer in scanned.values() for file in layer.files]
        findings += name_findings(file.path for file in files)
        findings += self._check_licenses(inspected, scanned)
        if not files and outcome_of(findings) is Outcome.CLEAN:
            findings.append(Finding(rule=NO_MODEL, path=inspected.root.digest.short))
        files += self._scan_configs(inspected.manifests)
        return files, list(dict.fromkeys(findings))

    def _read_models(self, manifests: Sequence[Manifest]) -> Iterator[Finding]:
        layers = {layer.digest: layer for layer in map(index_layer_of, manifests) if layer is not None}
        left = _MOST_INDEX
        for layer in layers.values():
            try:
                left -= layer.size
                if left < 0:
                    raise InvalidDocument(f"the indexes of the image have more than {_MOST_INDEX} bytes")
                model = self._models[layer.digest] = parse_index_layer(self.source.read(layer))
            except InvalidContent as e:
                yield Finding(rule=INDEX_UNREADABLE, path=layer.digest.short, detail=shown(str(e))[1:-1])
            else:
                for each in model.layers:
                    self._indexed.setdefault(each.listed_as, []).append((model.root, each))

    def _scan_configs(self, manifests: Sequence[InspectedManifest]) -> Iterator[FileReport]:
        """Configurations with something in them that does not belong there, such as a token."""
        for each in {each.manifest.config.digest: each for each in manifests}.values():
            config = each.manifest.config
            name = f"{config.digest.short}.json"
            if each.config is not None:
                report = self.scanner.scan(name, literal(each.config.content))
            elif self.quick:
                continue
            elif config.size > MAX_DOCUMENT:
                finding = Finding(rule=UNREADABLE, path=name, detail=f"a configuration of {config.size} bytes")
                report = FileReport(path=name, size=config.size, formats=(), findings=(finding,))
            else:
                report = self.scanner.scan(name, literal(self.source.read(config)))
            if report.findings:
                yield replace(report, layer=config.digest)

    def _scan_layers(
        self, layers: Sequence[tuple[Descriptor, tuple[Reading, ...]]], manifests: Sequence[Manifest], soci: SociCheck
    ) -> dict[tuple[Digest, Reading], ScannedLayer]:
        indexes = {layer.digest for layer in map(index_layer_of, manifests) if layer is not None}
        scanner = LayerScanner(files=self.scanner, indexes=indexes, quick=self.quick)
        scanned: dict[tuple[Digest, Reading], ScannedLayer] = {}

        def scan(layer: Descriptor, readings: Sequence[Reading]) -> None:
            with self.blobs.open(layer) as content:
                self._scan_layer(layer, readings, content, scanner, scanned)
                soci.look(layer, content, scanned[layer.digest, readings[0]].members)

        if self.quick:  # those with small files first: there is only so much that may be read
            for layer, readings in sorted(layers, key=lambda pair: pair[0].size):
                scan(layer, readings)
        else:
            self.progress.expect(sum(layer.size for layer, _ in layers))
            workers = self.scanner.settings.workers or os.cpu_count() or 1
            run_parallel([partial(scan, layer, readings) for layer, readings in layers], workers)
        return {(layer.digest, each): scanned[layer.digest, each] for layer, readings in layers for each in readings}

    def _scan_layer(
        self,
        layer: Descriptor,
        readings: Sequence[Reading],
        content: Content,
        scanner: LayerScanner,
        scanned: dict[tuple[Digest, Reading], ScannedLayer],
    ) -> None:
        key = f"scan {layer.digest}"
        indexed = self._indexed.get(layer.digest, [])
        self.progress.start(key, layer.digest.short, layer.size)
        chunks: tuple[Digest, ...] = ()
        if not self.quick:
            bounds = _bounds(indexed, layer)
            chunks = digest_pieces(layer, content, bounds, lambda n: self.progress.advance(key, n))

        def compare(tar: Content, members: Members, is_packed: bool) -> list[Finding]:
            if is_packed:
                return [f for root, each in indexed for f in compare_packed(each, layer, tar, members.files, root)]
            return [f for root, each in indexed for f in compare_layer(each, tar, members.files, chunks, root)]

        for reading in readings:
            found = scanner.scan(layer, reading, content, compare)
            scanned[layer.digest, reading] = found
            if self.found is not None:
                self.found(layer, found)
        self.progress.finish(key)

    def _check_licenses(self, inspected: Inspected, scanned: Scanned) -> list[Finding]:
        """Both what the card in the image says and what the image says of itself, which is what policies see."""
        from modelcar.scanning.licenses import CARD, DISAGREES, license_findings, licenses_in_card

        said = {inspected.annotations.get(_LICENSES)}
        said |= {each.manifest.annotations.get(_LICENSES) for each in inspected.manifests}
        annotated = sorted(filter(None, said))
        card = next((layer.card for layer in scanned.values() if layer.card is not None), b"")
        in_card = licenses_in_card(card)
        findings = license_findings(list(dict.fromkeys((*in_card, *annotated))), self.scanner.settings.licenses)
        if in_card and annotated and annotated != [" AND ".join(in_card)]:
            detail = f"{shown(annotated[0])}, {' AND '.join(in_card)}"
            findings.append(Finding(rule=DISAGREES, path=CARD, detail=detail))
        return findings


def _bounds(indexed: Sequence[tuple[str, IndexedLayer]], layer: Descriptor) -> list[tuple[int, int]]:
    """How the index cuts the layer. Of two indexes that cut it differently only one can agree with what is found."""
    for _, each in indexed:
        if each.size == layer.size and each.blob is None:
            return [(chunk.offset, chunk.size) for chunk in each.chunks]
    return []


def _unique_layers(manifests: Sequence[Manifest]) -> list[tuple[Descriptor, tuple[Reading, ...]]]:
    """Each layer once, however many manifests list it, with all the ways in which it is read."""
    layers: dict[Digest, Descriptor] = {}
    readings: dict[Digest, dict[Reading, None]] = {}
    for layer in [layer for manifest in manifests for layer in manifest.layers]:
        if layers.setdefault(layer.digest, layer).size != layer.size:
            raise SizeMismatch(f"{layer.digest} has {layers[layer.digest].size} bytes, and {layer.size} elsewhere")
        readings.setdefault(layer.digest, {})[reading_of(layer)] = None
        if len(layers) > _MOST_LAYERS:
            raise InvalidDocument(f"the image has more than {_MOST_LAYERS} layers")
    return [(layer, tuple(readings[digest])) for digest, layer in layers.items()]
