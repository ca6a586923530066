"""Formats that some scanners need not be asked about, by the names that our parsers give them."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.plugins.interface import FileUnderScan

__all__ = ["NO_PICKLES", "NUMBERS", "may_hold_pickles"]

# A header and then numbers to the last byte: nothing is packed, and nothing is anywhere but where it stands.
NUMBERS: Final = frozenset({"gguf", "safetensors"})
# No program looks for a pickle in these. What is also something else has the name of that, too.
NO_PICKLES: Final = NUMBERS | {
    "git-lfs-pointer", "jinja", "json", "onnx", "picture", "sentencepiece", "svg", "text", "tiktoken", "yaml",
}  # fmt: skip


def may_hold_pickles(file: FileUnderScan) -> bool:
    """Whether a scanner of pickles has to see it: always, unless all that it can be read as is known to hold none."""
    return not file.formats or not NO_PICKLES.issuperset(file.formats)
