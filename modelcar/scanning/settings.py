"""How to scan."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelcar.oci import Digest
from modelcar.scanning.limits import Limits
from modelcar.scanning.plugins.loading import LoadedPlugin

if TYPE_CHECKING:
    from modelcar.signing.policy.licenses import LicenseRule

__all__ = ["ScanSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSettings:
    """
    Attributes:
        limits: what the scan of one file may use.
        spool: where downloaded layers and decompressed members lie while they are looked at; the system's folder for
            temporary files if it is `None`.
        trusted_layers: of images, that are taken for granted.
        plugins: other scanners, to be asked about every file.
        licenses: rules that every licence of the model has to satisfy.
        workers: layers of an image that are looked at at a time; by default as many as there are processors.
    """

    limits: Limits = field(default_factory=Limits)
    spool: Path | None = None
    trusted_layers: frozenset[Digest] = frozenset()
    plugins: tuple[LoadedPlugin, ...] = ()
    licenses: tuple[LicenseRule, ...] = ()
    workers: int | None = None

    def described(self) -> dict[str, Any]:
        """Everything that a verdict depends on, for comparison."""
        return {
            "limits": asdict(self.limits),
            "trustedLayers": sorted(map(str, self.trusted_layers)),
            "licenses": [[list(rule.allowed), list(rule.denied)] for rule in self.licenses],
        }
