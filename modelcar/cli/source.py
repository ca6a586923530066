"""SOURCE, as `build`, `plan` and `scan` take it."""

from __future__ import annotations

import sys

from modelcar.checkpoint import Checkpoint, open_checkpoint
from modelcar.checkpoint.hub import HubOptions, is_hub_name
from modelcar.cli.output import Output, is_terminal

__all__ = ["open_for_scan", "open_source"]


def open_source(source: str, output: Output) -> Checkpoint:
    """The checkpoint at `source`, its headers checked; what could not be made sense of is said aside.

    Raises:
        SourceError: it cannot be packaged.
        WorldError: it cannot be read or downloaded now.
    """
    checkpoint = _open(source, output, complete=True)
    for note in checkpoint.facts().notes:
        output.aside(f"note: {note}")
    return checkpoint


def open_for_scan(source: str, output: Output) -> Checkpoint:
    """What lies at `source`, whether or not it could be packaged; what was left out is said aside.

    Raises:
        SourceError: it holds what is no file, or has no name that anybody could use.
        WorldError: it cannot be read or downloaded now.
    """
    checkpoint = _open(source, output, complete=False)
    if checkpoint.excluded:
        more = f" and {len(checkpoint.excluded) - 1} more" if len(checkpoint.excluded) > 1 else ""
        output.aside(f"note: not scanned, as no image would hold it: {checkpoint.excluded[0]}{more}")
    return checkpoint


def _open(source: str, output: Output, *, complete: bool) -> Checkpoint:
    hub = None
    if source.startswith("hf://"):
        silent = output.quiet or output.as_json
        hub = HubOptions(bars=is_terminal(sys.stderr) and not silent)
        if is_hub_name(source.removeprefix("hf://")):
            output.aside(f"downloading {source}, unless it is in the Hub's cache")
    return open_checkpoint(source, hub=hub, complete=complete)
