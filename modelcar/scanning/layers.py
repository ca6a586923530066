"""One layer of an image: what files it holds, what is found in them, and the digests of its bytes."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from modelcar.checkpoint.card import MAX_CARD
from modelcar.errors import DigestMismatch, InvalidContent
from modelcar.holder import ARCHITECTURES, HOLDER_PATH, holder_bytes
from modelcar.layers.index import INDEX_PATH
from modelcar.layers.members import Members, read_members
from modelcar.layers.tar import BLOCK, Payload
from modelcar.oci import Descriptor, Digest
from modelcar.packaging.plan import MODEL_ROOT
from modelcar.scanning.content import Content, spooled
from modelcar.scanning.dispatch import LIMIT
from modelcar.scanning.estargz import OWN_FILES, proven_table
from modelcar.scanning.files import FileScanner
from modelcar.scanning.filescan import FileScan, Findings, Malformed
from modelcar.scanning.findings import Finding, Rule, shown
from modelcar.scanning.formats.tars.entries import entries, is_header
from modelcar.scanning.image_rules import OUTSIDE, PRIVILEGED, TRUSTED, UNREADABLE, WHITEOUT
from modelcar.scanning.limits import LimitExceeded
from modelcar.scanning.readings import Form, Reading
from modelcar.scanning.report import FileReport
from modelcar.scanning.unpacking import Unpacking

__all__ = ["Compare", "LayerScanner", "ScannedLayer", "digest_pieces"]

_MODEL: Final = f"{MODEL_ROOT}/"
_WHITEOUT: Final = ".wh."
_GZIP: Final = b"\x1f\x8b"
_NO_MEMBERS: Final = Members(files={}, folders=frozenset(), privileged={})
_LONGEST_NAME: Final = 1024  # characters of what can be a name nowhere
_MOST_FILES: Final = 100_000  # of one image; a checkpoint has as many at most


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedLayer:
    """What came of one layer.

    Attributes:
        members: of a tar that is read in one way only.
        diff_id: the digest of the tar that it is, once decompressed; `None` where nobody knows.
        card: the model card in it.
        table: the digest of the table of contents that lazy snapshotters go by, if it was found to be true.
    """

    files: tuple[FileReport, ...] = ()
    findings: tuple[Finding, ...] = ()
    members: Members = _NO_MEMBERS
    diff_id: Digest | None = None
    card: bytes | None = None
    table: Digest | None = None


Compare = Callable[[Content, Members, bool], Sequence[Finding]]
"""What is wrong with what others say of a tar, given its bytes and its members, and whether it came out of gzip."""


@dataclass(slots=True, kw_only=True)
class LayerScanner:
    """Scans the layers of one image; several threads may share it.

    Attributes:
        indexes: layers whose model index is compared elsewhere.
        quick: whether what costs reading and finds nothing malicious is left out.
        most_files: that an image may have.
    """

    files: FileScanner
    indexes: Collection[Digest] = ()
    quick: bool = False
    most_files: int = _MOST_FILES
    _taken: int = field(default=0, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def scan(
        self, layer: Descriptor, reading: Reading, content: Content, compare: Compare = lambda *_: ()
    ) -> ScannedLayer:
        """Scan the files in a layer, as who goes by `reading` sees them."""
        try:
            scanned = self._scan(layer, reading, content, compare)
        except LimitExceeded as e:
            scanned = ScannedLayer(findings=(_about(layer, LIMIT, str(e)),))
        return replace(scanned, files=tuple(replace(file, layer=layer.digest) for file in scanned.files))

    def _scan(self, layer: Descriptor, reading: Reading, content: Content, compare: Compare) -> ScannedLayer:
        if layer.digest in self.files.settings.trusted_layers:
            trusted = self._trusted(layer, reading, content)
            return replace(trusted, findings=(*trusted.findings, *compare(content, _NO_MEMBERS, False)))
        if reading.form is Form.FILE:
            files = tuple(self.files.scan(name, content) for name in reading.names)
            return ScannedLayer(files=files, findings=tuple(compare(content, _NO_MEMBERS, False)))
        is_gzip = content.read(0, len(_GZIP)) == _GZIP  # engines go by the bytes
        if not is_gzip:
            scanned = self._tar(layer, content, compare)
            scanned = replace(scanned, diff_id=_sha256(layer, content, quick=self.quick))
        else:
            unpacked = Unpacking(content, self.files.budget(content))
            with spooled(unpacked.pieces(), self.files.settings.spool) as tar:
                scanned = replace(self._tar(layer, tar, compare, is_gzip=True), diff_id=unpacked.diff_id)
                if unpacked.problem:
                    scanned = _with(scanned, _about(layer, UNREADABLE, unpacked.problem))
        if is_gzip is not (reading.form is Form.GZIPPED_TAR):
            scanned = _with(scanned, _about(layer, UNREADABLE, f"its type says {reading.form}, which it is not"))
        return scanned

    def _trusted(self, layer: Descriptor, reading: Reading, content: Content) -> ScannedLayer:
        """Somebody vouches for its files, and not for the configuration that says which layer it is."""
        diff_id = _sha256(layer, content, quick=self.quick)
        if reading.form is Form.GZIPPED_TAR:
            unpacked = Unpacking(content, self.files.budget(content))
            for _ in unpacked.pieces():
                pass
            diff_id = unpacked.diff_id
        return ScannedLayer(findings=(_about(layer, TRUSTED),), diff_id=diff_id)

    def _tar(self, layer: Descriptor, content: Content, compare: Compare, *, is_gzip: bool = False) -> ScannedLayer:
        try:
            members = read_members(content.read, content.size)
        except InvalidContent as e:
            return self._refused(layer, content, str(e))
        except LimitExceeded as e:
            return ScannedLayer(findings=(_about(layer, LIMIT, str(e)),))
        table = proven_table(layer, content, members) if is_gzip and not self.quick else None
        if table is not None:  # what packed the layer is accounted for; nobody else speaks of it
            members = replace(members, files={p: f for p, f in members.files.items() if p not in OWN_FILES})
        findings = [*self._oddities(layer, content, members), *compare(content, members, is_gzip)]
        found = {path: payload for path, payload in members.files.items() if _is_models(path)}
        try:
            self._take(len(found))
        except LimitExceeded as e:
            return ScannedLayer(findings=(*findings, _about(layer, LIMIT, str(e))))
        files = [
            self.files.scan(path.removeprefix(_MODEL), content.part(payload.offset, payload.size))
            for path, payload in found.items()
        ]
        return ScannedLayer(
            files=tuple(files),
            findings=tuple(findings),
            members=members,
            card=_card(content, members.files),
            table=table,
        )

    def _take(self, files: int) -> None:
        with self._lock:
            self._taken += files
            if self._taken > self.most_files:
                raise LimitExceeded(f"the image has more than {self.most_files} files")

    def _oddities(self, layer: Descriptor, content: Content, members: Members) -> Iterator[Finding]:
        """What in a tar is no plain file of the model."""
        paths = [*members.files, *sorted(members.folders)]
        if whiteouts := [path for path in paths if any(part.startswith(_WHITEOUT) for part in path.split("/"))]:
            yield _about(layer, WHITEOUT, _listed(whiteouts))
        if members.privileged:
            first = f"{shown(next(iter(members.privileged)))} ({shown(next(iter(members.privileged.values())))[1:-1]})"
            yield _about(layer, PRIVILEGED, first + _and_more(len(members.privileged)))
        try:
            outside = [path for path in members.files if not self._is_ours(layer, path, content, members)]
            padded = [] if self.quick else [p for p in members.files.values() if any(_padding(content, p))]
        except LimitExceeded as e:
            yield _about(layer, LIMIT, str(e))
            return
        if outside:
            yield _about(layer, OUTSIDE, _listed(outside))
        if padded:
            yield _about(layer, UNREADABLE, f"bytes that belong to nothing follow {shown(padded[0].path)}")

    def _is_ours(self, layer: Descriptor, path: str, content: Content, members: Members) -> bool:
        """The model's files, which are scanned, its index, which is compared, and the holder, byte for byte."""
        if path.startswith(_MODEL):
            return True
        if path == INDEX_PATH:
            return layer.digest in self.indexes
        if path != HOLDER_PATH.lstrip("/"):
            return False
        programs = [holder_bytes(architecture) for architecture in ARCHITECTURES]
        payload = members.files[path]
        return any(payload.size == len(p) and content.read(payload.offset, len(p)) == p for p in programs)

    def _refused(self, layer: Descriptor, content: Content, why: str) -> ScannedLayer:
        """A tar that is refused as a whole: what a lenient program sees in it of the model may still be malicious.

        Links and other things that are no plain files are ordinary in layers of programs, which nobody judges.
        """
        if not is_header(content.read(0, BLOCK)):
            report = self.files.scan(layer.digest.short, content)
            return ScannedLayer(files=(report,), findings=(_about(layer, UNREADABLE, why),))
        lenient = FileScan(layer.digest.short, content, self.files.budget(content), Findings(limit=1), lambda _: None)
        reports, elsewhere, touches = [], [], False
        try:
            for entry in entries(lenient):
                path = posixpath.normpath(f"/{entry.name}").strip("/")
                if f"{path}/".startswith(_MODEL) or _WHITEOUT in path:
                    touches = True
                else:
                    elsewhere.append(path)
                if entry.is_file and _is_models(path):
                    self._take(1)
                    name = path.removeprefix(_MODEL)[-_LONGEST_NAME:]
                    reports.append(self.files.scan(name, content.part(entry.data, entry.end - entry.data)))
        except (Malformed, LimitExceeded):
            touches = True  # or so it may be
        is_base = elsewhere and not touches
        finding = _about(layer, OUTSIDE, _listed(elsewhere)) if is_base else _about(layer, UNREADABLE, why)
        return ScannedLayer(files=tuple(reports), findings=(finding,))


def digest_pieces(
    layer: Descriptor, content: Content, bounds: Sequence[tuple[int, int]], advance: Callable[[int], None]
) -> tuple[Digest, ...]:
    """The digests of each `(offset, size)` of a layer; they tile it. One pass over its bytes.

    Raises:
        DigestMismatch: they are not those of the descriptor.
    """
    whole, pieces = layer.digest.hasher(), []
    for offset, size in bounds or [(0, content.size)]:
        piece = hashlib.sha256()
        for data in content.pieces(offset, size):
            whole.update(data)
            piece.update(data)
            advance(len(data))
        pieces.append(Digest("sha256", piece.hexdigest()))
    found = Digest(layer.digest.algorithm, whole.hexdigest())
    if found != layer.digest:
        raise DigestMismatch(f"the bytes of layer {layer.digest} hash to {found}")
    return tuple(pieces)


def _sha256(layer: Descriptor, content: Content, *, quick: bool) -> Digest | None:
    if layer.digest.algorithm == "sha256" or quick:
        return layer.digest if layer.digest.algorithm == "sha256" else None
    whole = hashlib.sha256()
    for piece in content.pieces():
        whole.update(piece)
    return Digest("sha256", whole.hexdigest())


def _about(layer: Descriptor, rule: Rule, detail: str = "") -> Finding:
    return Finding(rule=rule, path=layer.digest.short, detail=shown(detail, 500)[1:-1])


def _with(scanned: ScannedLayer, finding: Finding) -> ScannedLayer:
    return replace(scanned, findings=(*scanned.findings, finding))


def _listed(paths: Sequence[str]) -> str:
    return shown(paths[0]) + _and_more(len(paths))


def _and_more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""


def _is_models(path: str) -> bool:
    """Whether it is a file of the model and not a mark that one is deleted."""
    return path.startswith(_MODEL) and not path.rpartition("/")[2].startswith(_WHITEOUT)


def _padding(content: Content, payload: Payload) -> bytes:
    end = payload.offset + payload.size
    return content.read(end, -end % BLOCK)


def _card(content: Content, files: Mapping[str, Payload]) -> bytes | None:
    """The model card, as far as one is read anywhere; `None` in a quick scan that has read enough."""
    payload = files.get(f"{_MODEL}README.md")
    try:
        return content.read(payload.offset, min(payload.size, MAX_CARD)) if payload is not None else None
    except LimitExceeded:
        return None
