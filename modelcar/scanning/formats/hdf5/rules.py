"""What can be wrong with an HDF5 file."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.findings import Rule, Severity

__all__ = ["ELSEWHERE", "FILTER", "NOT_READ", "OUTSIDE", "RULES", "NotRead"]

ELSEWHERE: Final = Rule(
    id="hdf5.other-file",
    severity=Severity.UNVERIFIED,
    title="data of it lies in another file",
    why="Loading it reads that file, too, whatever it is by then; it is not covered by this scan.",
    fix="Save it anew with all data inside.",
)
OUTSIDE: Final = Rule(
    id="hdf5.file-outside",
    severity=Severity.MALICIOUS,
    title="data of it lies in a file outside of the model",
    why="Loading it reads a file of the machine into the model, from where it may be passed on.",
    fix="Do not load it. There is no honest reason for such a path.",
)
FILTER: Final = Rule(
    id="hdf5.filter",
    severity=Severity.UNVERIFIED,
    title="data went through a filter that is not known here",
    why="The library loads a plug-in for it, and what comes out of that was not looked at.",
    fix="Save it anew without compression, or with gzip.",
)
NOT_READ: Final = Rule(
    id="hdf5.not-read",
    severity=Severity.UNVERIFIED,
    title="a part of it is of a kind that is not read here",
    why="What was not read and understood to its last byte cannot be called clean.",
    fix="Save it anew with h5py's defaults, numbers and texts alone.",
)
RULES: Final = (ELSEWHERE, OUTSIDE, FILTER, NOT_READ)


class NotRead(Malformed):
    """The format allows it, and this reader does not know it."""
