"""Progress for people: bars on a terminal that can redraw them, one quiet line a finished task elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from modelcar.cli.output import Output, human_size, is_terminal, printable
from modelcar.errors import InvalidDigest
from modelcar.oci import Digest
from modelcar.progress import SILENT, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Written", "progress"]

_log = logging.getLogger(__name__)
_WORTH_A_LINE: Final = 1 << 20  # bytes; smaller tasks say nothing
_WORTH_A_BAR: Final = 64 << 10  # of signatures and manifests there are dozens, each here before it could be read
_NO_LABELS: Final[Mapping[Digest, str]] = MappingProxyType({})
_FINISHED_SHOWN: Final = 8  # bars of finished tasks that stay, so that the picture fits a screen
_LABEL: Final = 44  # characters
_LABEL_END: Final = len("-00001-of-00099.safetensors")


@contextmanager
def progress(output: Output, verb: str, labels: Mapping[Digest, str] = _NO_LABELS) -> Iterator[Progress]:
    """A `Progress` that suits where stderr goes.

    Args:
        verb: leads every line: "hash", "push".
        labels: how to call blobs; it may be filled while the work goes on.
    """
    if output.quiet or output.as_json:
        yield _Told(verb, labels, SILENT) if output.verbose else SILENT
    elif not is_terminal(sys.stderr) or not (bars := _bars()).console.is_interactive:
        yield _Told(verb, labels, SILENT) if output.verbose else _Lines(verb, labels)
    else:
        drawn = _Bars(bars, verb, labels)
        try:
            yield _Told(verb, labels, drawn) if output.verbose else drawn
        finally:
            bars.stop()


class _Lines:
    """A line on stderr whenever a task of some size is done."""

    worth = _WORTH_A_LINE

    def __init__(self, verb: str, labels: Mapping[Digest, str]) -> None:
        self._verb = verb
        self._labels = labels
        self._tasks: dict[str, tuple[str, int, float]] = {}

    def expect(self, total: int) -> None:
        pass

    def start(self, key: str, label: str, total: int) -> None:
        self._tasks[key] = (_named(key, label, self._labels), total, time.monotonic())

    def advance(self, key: str, n: int) -> None:
        pass

    def finish(self, key: str, note: str = "") -> None:
        label, total, began = self._tasks.pop(key, ("", -1, 0.0))
        if total < self.worth:
            return
        seconds = max(time.monotonic() - began, 1e-6)
        how = note or f"{seconds:.1f} s, {human_size(total / seconds)}/s"
        self._say(f"{self._verb} {label} ({human_size(total)}): {how}")

    def _say(self, line: str) -> None:
        with suppress(OSError):  # that nobody listens any more is no reason to stop working
            click.echo(printable(line), err=True)


class _Told(_Lines):
    """A line in the log whenever a task is done, of any size, beside what is `drawn`."""

    worth = 0

    def __init__(self, verb: str, labels: Mapping[Digest, str], drawn: Progress) -> None:
        super().__init__(verb, labels)
        self._drawn = drawn

    def expect(self, total: int) -> None:
        self._drawn.expect(total)

    def start(self, key: str, label: str, total: int) -> None:
        self._drawn.start(key, label, total)
        super().start(key, label, total)

    def advance(self, key: str, n: int) -> None:
        self._drawn.advance(key, n)

    def finish(self, key: str, note: str = "") -> None:
        self._drawn.finish(key, note)
        super().finish(key, note)

    def _say(self, line: str) -> None:
        _log.debug("%s", line)


class Written:
    """Counts what work whose tasks are blobs puts to its target, in bytes, beside what is `drawn`.

    Attributes:
        written: of blobs that were copied, shared blocks included.
        reused: of those that were there.
    """

    def __init__(self, drawn: Progress) -> None:
        self._drawn = drawn
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self.written = self.reused = 0

    def expect(self, total: int) -> None:
        self._drawn.expect(total)

    def start(self, key: str, label: str, total: int) -> None:
        with self._lock:
            self._sizes[key] = total
        self._drawn.start(key, label, total)

    def advance(self, key: str, n: int) -> None:
        self._drawn.advance(key, n)

    def finish(self, key: str, note: str = "") -> None:
        with self._lock:
            size = self._sizes.pop(key, 0)
            if note:
                self.reused += size
            else:
                self.written += size
        self._drawn.finish(key, note)


def _bars() -> RichProgress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )


class _Bars:
    """A bar for every task of some size, and above them one for all that is to be done. Nothing shows before that."""

    def __init__(self, bars: RichProgress, verb: str, labels: Mapping[Digest, str]) -> None:
        self._bars = bars
        self._labels = labels
        self._lock = threading.Lock()
        self._all = bars.add_task(f"{verb}, in all", total=None, note="")
        self._expected = 0  # bytes, as announced
        self._started = 0  # bytes of the tasks that have begun
        self._skipped = 0  # bytes that need not move after all
        self._tasks: dict[str, TaskID] = {}
        self._finished: deque[TaskID] = deque()

    def expect(self, total: int) -> None:
        with self._lock:
            self._expected += total
            self._update()

    def start(self, key: str, label: str, total: int) -> None:
        with self._lock:
            name = _shortened(printable(_named(key, label, self._labels)))
            self._tasks[key] = self._bars.add_task(name, total=total, note="", visible=total >= _WORTH_A_BAR)
            self._started += total
            self._update()

    def advance(self, key: str, n: int) -> None:
        task = self._tasks.get(key)
        if task is not None:
            self._bars.advance(task, n)
            self._bars.advance(self._all, n)

    def finish(self, key: str, note: str = "") -> None:
        with self._lock:
            task = self._tasks.pop(key, None)
            if task is None:
                return
            total, completed = next((t.total or 0, t.completed) for t in self._bars.tasks if t.id == task)
            self._skipped += int(total - completed)  # or rate and time left would be too good to be true
            self._bars.update(task, completed=total, note=printable(note))
            self._update()
            if total < _WORTH_A_BAR:
                self._bars.remove_task(task)
                return
            self._finished.append(task)
            if len(self._finished) > _FINISHED_SHOWN:
                self._bars.remove_task(self._finished.popleft())

    def _update(self) -> None:
        self._bars.update(self._all, total=max(self._expected, self._started) - self._skipped)
        self._bars.start()


def _named(key: str, label: str, labels: Mapping[Digest, str]) -> str:
    """What `labels` call the blob whose digest `key` is."""
    try:
        return labels.get(Digest.parse(key), label)
    except InvalidDigest:
        return label


def _shortened(label: str) -> str:
    """Both ends of a long name: shards differ in the last part."""
    return label if len(label) <= _LABEL else f"{label[: _LABEL - _LABEL_END - 1]}…{label[-_LABEL_END:]}"
