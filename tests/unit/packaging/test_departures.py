"""How layers leave a build: those that pass through stay on the disk until whoever sends them is through."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from modelcar.errors import WorldError
from modelcar.packaging.departures import Departures
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.passing import Passing
from modelcar.packaging.plan import LayerKind


@dataclass
class File:
    source: Path
    path: str = "weights"
    awaited: bool = False


@dataclass
class Planned:
    files: list[File]
    kind: LayerKind = LayerKind.WEIGHTS
    is_awaited: bool = False


@dataclass
class Packed:
    planned: Planned
    content: None = None

    def nameable(self) -> None:
        return None


@dataclass
class Target:
    """`Target`, and the sender of a layer that leaves while it arrives."""

    name: str = "registry.example/org/model"
    through: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None
    asked: threading.Event = field(default_factory=threading.Event)
    sent: list[object] = field(default_factory=list)
    cause: BaseException | None = None

    def send(self, blob: object, _content: object) -> None:
        self.sent.append(blob)

    def cancel(self, cause: BaseException) -> None:
        self.cause = cause

    def has_left(self, timeout: float) -> bool:
        self.asked.set()
        if self.failure is not None:
            raise self.failure
        return self.through.wait(timeout)


def scene(tmp_path: Path, *, streams: bool) -> tuple[Departures, Target, PackedLayer, Path]:
    """A layer in the spool, and how it leaves."""
    target, file = Target(), tmp_path / "spool" / "weights"
    file.parent.mkdir()
    file.touch()
    passing = Passing(target=cast("Any", target), spool=file.parent)
    begin = (lambda *_: target) if streams else (lambda *_: None)
    leaving = Departures(upload=None, passing=passing, streaming=cast("Any", begin))
    packed = cast("PackedLayer", Packed(Planned([File(file)])))
    leaving.begin(packed.planned)
    return leaving, target, packed, file


def test_a_layer_that_leaves_while_it_arrives_stays_until_it_has_left(tmp_path: Path) -> None:
    leaving, target, packed, file = scene(tmp_path, streams=True)
    worker = threading.Thread(target=leaving.digested, args=[packed])
    worker.start()
    assert target.asked.wait(10)
    assert file.exists()
    target.through.set()
    worker.join(10)
    assert not worker.is_alive()
    assert not file.exists()
    assert not target.sent, "it goes once"


def test_one_that_does_not_leave_before_is_sent_when_it_is_here(tmp_path: Path) -> None:
    leaving, target, packed, file = scene(tmp_path, streams=False)
    leaving.digested(packed)
    assert len(target.sent) == 1
    assert not file.exists()


def test_nobody_waits_for_a_sender_of_what_is_given_up(tmp_path: Path) -> None:
    leaving, target, packed, file = scene(tmp_path, streams=True)
    worker = threading.Thread(target=leaving.digested, args=[packed])
    worker.start()
    assert target.asked.wait(10)
    cause = WorldError("the line is down")
    leaving.abandoned(cause)
    worker.join(10)
    assert not worker.is_alive()
    assert target.cause is cause
    assert file.exists(), "the next try may go on with it"


def test_what_the_sender_has_failed_with_ends_the_build(tmp_path: Path) -> None:
    leaving, target, packed, _ = scene(tmp_path, streams=True)
    target.failure = WorldError("denied")
    with pytest.raises(WorldError, match="denied"):
        leaving.digested(packed)
