"""The files that wire an engine, before anybody writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["HEADER", "PlannedFile", "quoted"]

HEADER = (
    "# Written by `registry-shim hosts-toml`, taken back by `registry-shim hosts-toml --uninstall`.\n"
    "# Edit nothing here: run the command again with other options.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file as it shall be. `path` is absolute, as the node sees it; `owner` is the module that wants it."""

    path: PurePosixPath
    content: bytes
    owner: str


def quoted(text: str) -> str:
    """As a basic string of TOML."""
    return json.dumps(text)
