"""What people see while a mount begins: an image that is fetched first, and processes that take their time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from modelcar.cli.output import Output
from modelcar.errors import InvalidDocument
from modelcar.mounts.link.asking import ask
from modelcar.progress import Progress

__all__ = ["FetchedFirst", "preparing_at", "saying_when_slow"]

_SLOW: Final = 1.5  # seconds
_PATIENCE: Final = 30.0  # seconds that the process which fetches has to say how far it is


@contextmanager
def saying_when_slow(output: Output, text: str) -> Iterator[None]:
    """`text` is said aside if the block takes longer than a person expects."""
    timer = threading.Timer(_SLOW, output.aside, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def preparing_at(socket: Path, within: float = 10.0) -> list[dict[str, Any]]:
    """What the host at `socket` makes ready to be mounted. Raises `StorageError` if it does not answer within so many
    seconds."""
    try:
        mounts: list[dict[str, Any]] = ask(socket, "preparing", {}, within=within)["mounts"]
    except InvalidDocument:  # one of an older version, which cannot tell
        return []
    return mounts


class FetchedFirst:
    """Tells a `Progress` of what is fetched before the mount `mount` begins; called every now and then."""

    def __init__(self, socket: Path, mount: str, report: Progress, output: Output) -> None:
        self._socket, self._mount, self._report, self._output = socket, mount, report, output
        self._sizes: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def __call__(self) -> None:
        """Raises `StorageError` if the host does not answer any more."""
        with saying_when_slow(self._output, "waiting for the process that fetches for mounts: it does not answer"):
            found = preparing_at(self._socket, _PATIENCE)
        layers: list[dict[str, Any]] = next((m["layers"] for m in found if m["id"] == self._mount), [])
        if not self._sizes:
            self._sizes = {layer["digest"]: layer["size"] for layer in layers if layer["present"] < layer["size"]}
            self._report.expect(sum(self._sizes.values()))
        for layer in layers:
            if layer["digest"] in self._sizes:
                self._advance(layer["digest"], layer["present"])
            if layer["present"] < layer["size"]:
                return  # one comes after the other

    def end(self) -> None:
        """All of it is here."""
        for digest, size in self._sizes.items():
            self._advance(digest, size)

    def _advance(self, digest: str, present: int) -> None:
        before = self._told.get(digest)
        size = self._sizes[digest]
        if before == size:
            return
        if before is None:
            self._report.start(digest, digest.partition(":")[2][:12], size)
        if present > (before or 0):
            self._report.advance(digest, present - (before or 0))
        self._told[digest] = present
        if present == size:
            self._report.finish(digest)
