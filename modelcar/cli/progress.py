"""Progress for people: bars on a terminal, one quiet line a finished task elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from modelcar.cli.output import Output, human_size
from modelcar.progress import SILENT, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["progress"]

_WORTH_A_LINE = 1 << 20  # bytes; smaller tasks say nothing


@contextmanager
def progress(output: Output, verb: str) -> Iterator[Progress]:
    """A `Progress` that suits where stderr goes. `verb` leads every line: "hash", "push"."""
    if output.quiet or output.as_json:
        yield SILENT
    elif not sys.stderr.isatty():
        yield _Lines(verb)
    else:
        with _bars() as bars:
            yield _Bars(bars, verb)


class _Lines:
    """A line on stderr whenever a task of some size is done."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._tasks: dict[str, tuple[str, int, float]] = {}

    def start(self, key: str, label: str, total: int) -> None:
        self._tasks[key] = (label, total, time.monotonic())

    def advance(self, key: str, n: int) -> None:
        pass

    def finish(self, key: str, note: str = "") -> None:
        label, total, began = self._tasks.pop(key, ("", 0, 0.0))
        if total < _WORTH_A_LINE:
            return
        seconds = max(time.monotonic() - began, 1e-6)
        how = note or f"{seconds:.1f} s, {human_size(total / seconds)}/s"
        click.echo(f"{self._verb} {label} ({human_size(total)}): {how}", err=True)


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
    """A bar for every task that runs, and one for all of them together."""

    def __init__(self, bars: RichProgress, verb: str) -> None:
        self._bars = bars
        self._lock = threading.Lock()
        self._total = bars.add_task(f"{verb}, in all", total=0, note="")
        self._tasks: dict[str, TaskID] = {}

    def start(self, key: str, label: str, total: int) -> None:
        with self._lock:
            self._tasks[key] = self._bars.add_task(label, total=total, note="")
            self._bars.update(self._total, total=(self._bars.tasks[0].total or 0) + total)

    def advance(self, key: str, n: int) -> None:
        task = self._tasks.get(key)
        if task is not None:
            self._bars.advance(task, n)
            self._bars.advance(self._total, n)

    def finish(self, key: str, note: str = "") -> None:
        with self._lock:
            task = self._tasks.pop(key, None)
            if task is None:
                return
            current = next(t for t in self._bars.tasks if t.id == task)
            left = (current.total or 0) - current.completed
            if left:
                self._bars.advance(self._total, left)
            self._bars.update(task, completed=current.total, note=note)
            if len(self._bars.tasks) > 12:  # keep the picture within a screen
                self._bars.remove_task(task)
