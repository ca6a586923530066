"""What this node found out by scanning: one file an image, for this node alone. Nothing of it is ever sent anywhere."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from modelcar.errors import ModelcarError, StorageError
from modelcar.oci import Digest, compact_json
from modelcar.scanning.findings import Outcome
from modelcar.scanning.version import RULE_SET
from modelcar.signing.ruleset import RuleSet
from modelcar.store.disk import atomic_write, explain
from registry_shim.gate.settings import NodeScan

__all__ = ["NodeVerdict", "VerdictStore"]

_log = logging.getLogger("registry_shim.gate")
_MODE: Final = 0o600
_MOST: Final = 1 << 20  # bytes of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVerdict:
    """The outcome of a scan of every byte of an image.

    Attributes:
        outcome: *malicious* only for what was made to do harm; what is forbidden, such as a secret, is *unverified*.
        by: the settings that a scan goes by, as `settings_key` says.
        reasons: findings for people, the worst first.
        layers: blobs that hold what is malicious.
        formats: of its weight files, each with the path of one.
        size: bytes that were scanned.
        seconds: that it took.
    """

    digest: Digest
    outcome: Outcome
    rule_set: RuleSet
    by: str
    scanned_at: datetime
    reasons: tuple[str, ...] = ()
    layers: tuple[Digest, ...] = ()
    formats: tuple[tuple[str, str], ...] = ()
    size: int = 0
    seconds: float = 0.0

    def is_of(self, settings: NodeScan) -> bool:
        """Whether it goes by these settings, of whatever version the rules were."""
        return self.by == self.settings_key(settings)

    def is_current(self, settings: NodeScan) -> bool:
        """Whether a scan by the present rules and settings would say the same."""
        return self.rule_set.reaches(RULE_SET) and self.is_of(settings)

    @staticmethod
    def settings_key(settings: NodeScan) -> str:
        """Everything in the settings that a verdict depends on."""
        return json.dumps([sorted(settings.trusted_layers), sorted(settings.scanners)])

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": str(self.digest),
            "verdict": str(self.outcome),
            "ruleSet": {"name": self.rule_set.name, "version": self.rule_set.version},
            "settings": self.by,
            "scannedAt": self.scanned_at.isoformat(timespec="seconds"),
            "reasons": list(self.reasons),
            "layers": [str(layer) for layer in self.layers],
            "formats": [list(entry) for entry in self.formats],
            "size": self.size,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NodeVerdict:
        """What `to_dict` made; raises ValueError, KeyError, TypeError or ModelcarError for anything else."""
        return cls(
            digest=Digest.parse(data["digest"]),
            outcome=Outcome(data["verdict"]),
            rule_set=RuleSet(name=str(data["ruleSet"]["name"]), version=_version(data["ruleSet"]["version"])),
            by=str(data["settings"]),
            scanned_at=datetime.fromisoformat(data["scannedAt"]),
            reasons=tuple(map(str, data["reasons"])),
            layers=tuple(Digest.parse(layer) for layer in data["layers"]),
            formats=tuple((str(name), str(path)) for name, path in data["formats"]),
            size=int(data["size"]),
            seconds=float(data["seconds"]),
        )


class VerdictStore:
    """`ROOT/verdicts`, which only its owner may write to or read: whoever else wrote there said nothing."""

    def __init__(self, folder: Path) -> None:
        """Raises `StorageError` if it cannot be used."""
        self.folder = folder
        self._unsaved: dict[Digest, NodeVerdict] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        except OSError as e:
            raise explain(e, f"cannot use {folder}") from None

    def get(self, digest: Digest) -> NodeVerdict | None:
        """What a scan found in this image, by whatever rules; `None` if nobody looked, or nobody knows who wrote it."""
        verdict = self._unsaved.get(digest) or _read(self._file(digest))
        return verdict if verdict is not None and verdict.digest == digest else None

    def put(self, verdict: NodeVerdict) -> None:
        """Keep it; where the disk does not take it, until this process ends."""
        try:
            atomic_write(self._file(verdict.digest), compact_json(verdict.to_dict()), mode=_MODE)
        except StorageError as e:
            _log.warning("a verdict is kept in memory only: %s", e)
            self._unsaved[verdict.digest] = verdict
        else:
            self._unsaved.pop(verdict.digest, None)

    def replace(self, verdict: NodeVerdict) -> NodeVerdict | None:
        """As `put`; returns what was there before."""
        before = self.get(verdict.digest)
        self.put(verdict)
        return before

    def forget(self, digest: Digest) -> NodeVerdict | None:
        """So that the image is scanned again; returns what was there before. Raises `StorageError` if it stays."""
        before = self.get(digest)
        try:
            self._file(digest).unlink(missing_ok=True)
        except OSError as e:
            raise explain(e, f"cannot remove {self._file(digest)}") from None
        self._unsaved.pop(digest, None)
        return before

    def doubt(self, digest: Digest) -> NodeVerdict | None:
        """As `forget`, but *malicious* holds until a new scan has said otherwise."""
        before = self.get(digest)
        if before is None or before.outcome is not Outcome.MALICIOUS:
            return self.forget(digest)
        self.put(replace(before, by=""))
        return before

    def all(self) -> Iterator[NodeVerdict]:
        """In no particular order."""
        for path in self.folder.glob("*-*.json"):
            if (verdict := _read(path)) is not None:
                yield verdict

    def _file(self, digest: Digest) -> Path:
        return self.folder / f"{digest.algorithm}-{digest.hex}.json"


def _read(path: Path) -> NodeVerdict | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe is not waited for
    except FileNotFoundError:
        return None
    except OSError as e:
        _log.warning("cannot read %s: %s", path, e.strerror)
        return None
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            _log.warning("%s is not this user's alone, so it is no verdict", path)
            return None
        try:
            return NodeVerdict.from_dict(json.loads(file.read(_MOST)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ModelcarError, OSError):
            _log.warning("%s is damaged, so the image is scanned again", path)
            return None


def _version(text: Any) -> str:
    if not isinstance(text, str) or not all(part.isascii() and part.isdigit() for part in text.split(".")):
        raise ValueError(text)
    return text
