"""Sources of models by the names that people type, and which of their files are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.checkpoint import Checkpoint, open_checkpoint
from modelcar.checkpoint.hub import HubOptions
from modelcar.checkpoint.source import REMOTE_SCHEMES
from modelcar.errors import UsageError

__all__ = ["ALL", "Wishes", "open_wanted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Which files of a source are wanted. Patterns match as the Hub's own tools do."""

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


ALL: Final = Wishes()


def open_wanted(source: str, wishes: Wishes = ALL, *, complete: bool = True, spool: Path | None = None) -> Checkpoint:
    """The checkpoint at `source`; weights that are elsewhere stay there until their bytes are wanted.

    Args:
        complete: refuse what could not be packaged.
        spool: where to bring them then, instead of a cache.

    Raises:
        UsageError: patterns or a spool make no sense for this source.
        SourceError: it cannot be packaged.
        WorldError: it cannot be read or downloaded now.
    """
    hub = None
    if source.startswith(REMOTE_SCHEMES):
        hub = HubOptions(allow_patterns=wishes.allow, ignore_patterns=wishes.ignore)
    elif wishes != ALL:
        raise UsageError(f"--allow and --ignore are for sources elsewhere, and {source} is none")
    elif spool is not None:
        raise UsageError(f"--no-cache is for sources elsewhere, and {source} is none", hint="leave it out")
    return open_checkpoint(source, hub=hub, complete=complete, lazy=True, spool=spool)
