"""SOURCE, as `build` and `plan` take it."""

from __future__ import annotations

import sys

from modelcar.checkpoint import Checkpoint, open_checkpoint
from modelcar.checkpoint.hub import HubOptions, is_hub_name
from modelcar.cli.output import Output, is_terminal

__all__ = ["open_source"]


def open_source(source: str, output: Output) -> Checkpoint:
    """The checkpoint at `source`, its headers checked; what could not be made sense of is said aside.

    Raises:
        SourceError: it cannot be packaged.
        WorldError: it cannot be read or downloaded now.
    """
    hub = None
    if source.startswith("hf://"):
        silent = output.quiet or output.as_json
        hub = HubOptions(bars=is_terminal(sys.stderr) and not silent)
        if is_hub_name(source.removeprefix("hf://")):
            output.aside(f"downloading {source}, unless it is in the Hub's cache")
    checkpoint = open_checkpoint(source, hub=hub)
    for note in checkpoint.facts().notes:
        output.aside(f"note: {note}")
    return checkpoint
