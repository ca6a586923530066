"""What a registry is known not to take, said before the first byte has moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

from modelcar.errors import TooLarge
from modelcar.progress import human_size
from modelcar.registry.dialects import Dialect

__all__ = ["Preflight", "preflight"]

_MARGIN = 0.9  # of a limit: what to re-shard to


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What is known of pushing some layers to a registry, before it is tried.

    Attributes:
        problems: layers that the registry will not take, each a line for a person; the largest first.
        shard_size: bytes of the shards that it would take; `None` where there is no problem.
        notes: what may go wrong.
    """

    registry: str
    dialect: Dialect
    problems: tuple[str, ...] = ()
    shard_size: int | None = None
    notes: tuple[str, ...] = ()

    def require(self) -> None:
        """Raise `TooLarge` if there is a problem."""
        if not self.problems:
            return
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        raise TooLarge(f"{self.registry}: {self.problems[0]}{more}", reasons=self.problems, hint=self.hint)

    @property
    def hint(self) -> str:
        """The way out of the problems."""
        size = f"{max(1, floor((self.shard_size or 0) / 10**6))}MB"
        return (
            f"make smaller shards with `modelcar convert SOURCE -o DIR --max-shard-size {size}` and build that, or push"
            " to another registry"
        )


def preflight(registry: str, dialect: Dialect, layers: Mapping[str, int], rate: float | None = None) -> Preflight:
    """Hold layers (label to bytes) against what is known of the registry.

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
    if dialect.fragile_layer is not None and largest_first and largest_first[0][1] > dialect.fragile_layer:
        label, size = largest_first[0]
        notes.append(f"{label} has {human_size(size)}, which often fails there")
    return Preflight(
        registry=registry,
        dialect=dialect,
        problems=tuple(problems.values()),
        shard_size=int(min(limits) * _MARGIN) if limits else None,
        notes=tuple(notes),
    )
