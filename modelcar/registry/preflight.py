"""What a registry is known not to take, said before the first byte has moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from types import MappingProxyType
from typing import Final

from modelcar.errors import TooLarge
from modelcar.progress import human_size
from modelcar.registry.dialects import UNKNOWN, Dialect

__all__ = ["Preflight", "preflight"]

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
_MARGIN = 0.9  # of a limit: what to re-shard to


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What is known of pushing an image to a registry, before it is tried.

    Attributes:
        problems: layers and manifests that the registry will not take, each a line for a person; the largest first.
        shard_size: bytes of the shards that it would take; `None` where there is no problem with layers.
        notes: what may go wrong.
    """

    registry: str
    dialect: Dialect
    problems: tuple[str, ...] = ()
    shard_size: int | None = None
    notes: tuple[str, ...] = ()
    large_manifests: bool = False

    def require(self) -> None:
        """Raise `TooLarge` if there is a problem."""
        if not self.problems:
            return
        first, *others = self.problems
        more = f" (and {len(others)} more)" if others else ""
        raise TooLarge(f"{self.registry}: {first}{more}", reasons=self.problems if others else (), hint=self.hint)

    @property
    def hint(self) -> str:
        """The way out of the problems."""
        ways = []
        if self.shard_size is not None:
            size = f"{max(1, floor(self.shard_size / 10**6))}MB"
            ways.append(
                f"make smaller shards with `modelcar convert SOURCE -o DIR --max-shard-size {size}` and build that, or"
                " push to another registry"
            )
        if self.large_manifests:
            ways.append("build with fewer layers (`modelcar build --max-layers N`), or with shorter annotations")
        return "; ".join(ways)


def preflight(
    registry: str,
    dialect: Dialect,
    layers: Mapping[str, int],
    rate: float | None = None,
    manifests: Mapping[str, int] = _NOTHING,
) -> Preflight:
    """Hold layers and manifests (label to bytes) against what is known of the registry.

    Args:
        rate: bytes a second of one upload there, as far as it was measured.
    """
    problems: dict[str, str] = {}
    limits: list[float] = []
    notes = [f"{dialect.family}: {dialect.note}"] if dialect.note and dialect.hosts else []
    largest_first = sorted(layers.items(), key=lambda layer: -layer[1])
    if dialect.largest_layer is not None and largest_first and largest_first[0][1] > dialect.largest_layer:
        limits.append(dialect.largest_layer)
        for label, size in largest_first:
            if size > dialect.largest_layer:
                limit = human_size(dialect.largest_layer)
                problems[label] = f"{label} has {human_size(size)}, and {dialect.family} takes {limit} a layer at most"
    if dialect.longest_upload is not None and rate:
        most = rate * dialect.longest_upload
        for label, size in largest_first:
            if size > most and label not in problems:
                problems[label] = (
                    f"{label} would take {size / rate / 60:.0f} minutes at {human_size(rate)}/s, as measured, and"
                    f" {dialect.family} ends an upload after {dialect.longest_upload / 60:.0f}"
                )
        if largest_first and largest_first[0][1] > most:
            limits.append(most)
    too_long = _manifest_problems(dialect, manifests)
    if dialect.fragile_layer is not None and largest_first and largest_first[0][1] > dialect.fragile_layer:
        label, size = largest_first[0]
        notes.append(f"{label} has {human_size(size)}, which often fails there")
    return Preflight(
        registry=registry,
        dialect=dialect,
        problems=(*problems.values(), *too_long),
        shard_size=int(min(limits) * _MARGIN) if limits else None,
        notes=tuple(notes),
        large_manifests=bool(too_long),
    )


def _manifest_problems(dialect: Dialect, manifests: Mapping[str, int]) -> list[str]:
    who = dialect.family if dialect is not UNKNOWN else "a registry"
    limit = human_size(dialect.largest_manifest)
    return [
        f"the manifest of {label} has {human_size(size)}, and {who} takes {limit} a manifest at most"
        for label, size in sorted(manifests.items(), key=lambda manifest: -manifest[1])
        if size > dialect.largest_manifest
    ]
