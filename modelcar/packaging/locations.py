"""Where images are, as people type it: `oci:DIR[:NAME]` is an OCI layout, anything else a reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelcar.errors import InvalidReference
from modelcar.oci import Reference

__all__ = ["LayoutLocation", "Location", "parse_location"]


@dataclass(frozen=True, slots=True)
class LayoutLocation:
    """An image in an OCI layout; without a name, the only one there."""

    folder: Path
    name: str | None = None

    def __str__(self) -> str:
        return f"oci:{self.folder}" + (f":{self.name}" if self.name else "")


Location = LayoutLocation | Reference


def parse_location(text: str) -> Location:
    """Parse what a person typed.

    >>> parse_location("oci:/tmp/layout:v1")
    LayoutLocation(folder=PosixPath('/tmp/layout'), name='v1')

    Raises:
        InvalidReference: with the part that is wrong.
    """
    if not text.startswith("oci:"):
        return Reference.parse(text)
    folder, _, name = text.removeprefix("oci:").partition(":")
    if not folder:
        raise InvalidReference(f"{text!r} names no folder", hint="it looks like oci:DIR or oci:DIR:TAG")
    return LayoutLocation(Path(folder), name or None)
