"""Ctrl-C and SIGTERM while a registry stands still: one line, the status, and the next run goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from modelcar.testing.registry import Fault, MisbehavingRegistry, Wrong, running
from tests.e2e.support.commands import Modelcar
from tests.e2e.transfer_proof.scene import Model, digests_of
from tests.support.waiting import eventually

_MIB: Final = 1 << 20
_FOREVER: Final = 300.0  # seconds: a client that waited for the registry would not end within the test
_LINE: Final = "modelcar: interrupted; nothing half-written is visible\n"


@contextmanager
def standing_still(method: str, after: int) -> Iterator[MisbehavingRegistry]:
    """A registry whose blobs stop moving after `after` bytes."""
    with running("distribution") as registry:
        stall = Fault(wrong=Wrong.STALL, method=method, path="/blobs/", after=after, seconds=_FOREVER, times=99)
        registry.misbehave(stall)
        yield registry
        registry.kill()


def interrupt(home: Modelcar, registry: MisbehavingRegistry, number: signal.Signals, *arguments: str | Path) -> None:
    """Send the signal when bytes have moved; and the whole registry stands still from then on."""
    with home.start(*arguments, "--quiet") as process:
        eventually(lambda: process.poll() is not None or registry.moved() > 0, "bytes move")
        registry.freeze()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, _LINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [1, _MIB])
def test_a_push(transfer_model: Model, number: signal.Signals, after: int) -> None:
    """`after` a byte even small layers stand still, which leave no entry in the journal; theirs is given up."""
    model = transfer_model
    with standing_still("PUT", after) as registry:
        target = f"{registry.address}/org/model:v1"
        interrupt(model.home, registry, number, "push", model.ref, target)
        assert (model.home.home / "registries" / "uploads").is_dir()
        registry.restart()
        model.home("push", model.ref, target)
        assert registry.digests()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pull(transfer_model: Model, tmp_path: Path, number: signal.Signals) -> None:
    model, home, target = transfer_model, Modelcar(tmp_path / "home"), tmp_path / "out"
    with running("distribution") as registry:
        ref = f"{registry.address}/org/model:v1"
        model.home("push", model.ref, ref)
        registry.reset_counts()
        stall = Fault(wrong=Wrong.STALL, method="GET", path="/blobs/", after=_MIB, seconds=_FOREVER, times=99)
        registry.misbehave(stall)
        interrupt(home, registry, number, "pull", ref, "--remote", "-o", target)
        assert not target.exists()
        registry.restart()
        home("pull", ref, "--remote", "-o", target)
    assert digests_of(target) == model.files
