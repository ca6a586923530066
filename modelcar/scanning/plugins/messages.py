"""What the two processes say to each other: one JSON document to ask, then one a line to answer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins.interface import PluginFinding, ScannerFailed

__all__ = ["DONE_LINE", "Request", "failed_line", "finding_line", "parse_line"]

DONE_LINE: Final = json.dumps({"done": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Ask the scanner that `factory` makes about the file at `source`, which is called `path` in the checkpoint.

    `seconds` and `memory` (bytes) are what it may use, `findings` the most that it may answer; `network` whether it
    keeps the network.
    """

    factory: str
    path: str
    source: str
    formats: tuple[str, ...]
    seconds: float
    memory: int
    findings: int
    network: bool

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Request:
        """What `to_json` made."""
        values = json.loads(data)
        return cls(**{**values, "formats": tuple(values["formats"])})


def finding_line(finding: PluginFinding) -> str:
    return json.dumps({"finding": asdict(finding)})


def failed_line(why: str) -> str:
    return json.dumps({"failed": why})


def parse_line(line: bytes) -> PluginFinding | None:
    """The finding that a line holds; `None` for the last one.

    Raises:
        ScannerFailed: it says so, or it is nothing that this protocol knows.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    match said:
        case {"done": True}:
            return None
        case {"failed": str(why)}:
            raise ScannerFailed(why)
        case {
            "finding": {"severity": severity, "title": title, "detail": detail, "offset": offset, "member": member}
        } if severity in list(Severity):
            return PluginFinding(
                severity=Severity(severity), title=str(title), detail=str(detail), offset=offset, member=str(member)
            )
        case _:
            raise ScannerFailed("it gave an answer that is no finding")
