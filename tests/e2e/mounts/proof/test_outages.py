"""The network is gone for a while: patient readers get right bytes, all others an error before it is back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.e2e.mounts.proof.models import SmallModel, small_model
from tests.e2e.mounts.proof.node import Mount, Node, node
from tests.e2e.mounts.proof.pages import ELSEWHERE, WAYS, Found, read_pages
from tests.e2e.mounts.proof.sizes import SEED
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.upstream import Upstream
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]

Outage = Literal["refused", "silent"]
"""Connections fail at once; or they stand, and nothing comes any more."""

BEFORE: Final = 0.3  # seconds of readers before the outage
LATER: Final = 120.0  # seconds after it within which all is read

outages = pytest.mark.parametrize("outage", ["refused", "silent"])


@outages
@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_readers_wait_while_the_network_is_gone(
    front: str, origin: Upstream, place: Path, outage: Outage, seconds: float
) -> None:
    """Shorter than their patience: nobody notices but by the time that it takes."""
    with node(place / "node", front, origin.address, patience=seconds + LATER) as machine:
        model, mount = _mounted(machine, origin, place)
        with ThreadPoolExecutor(len(WAYS)) as pool:
            readers = _start(pool, mount, model, within=BEFORE + seconds + LATER)
            with _gone(origin, outage, readers):
                time.sleep(seconds)
            found = [reader.result() for reader in readers]
        assert all(f.is_whole and not f.errors for f in found), found
        machine.unmount(mount)


@outages
@pytest.mark.parametrize(("seconds", "patience"), [(0.0, 1.0), pytest.param(60.0, 8.0, marks=pytest.mark.soak)])
def test_readers_get_errors_while_the_network_is_gone_for_longer_than_they_wait(
    front: str, origin: Upstream, place: Path, outage: Outage, seconds: float, patience: float
) -> None:
    """They are told while it is gone; and when it is back, they are soon told the truth."""
    with node(place / "node", front, origin.address, patience=patience) as machine:
        model, mount = _mounted(machine, origin, place)
        with ThreadPoolExecutor(len(WAYS)) as pool:
            readers = _start(pool, mount, model, within=LATER, most_errors=1)
            with _gone(origin, outage, readers):
                found = [reader.result() for reader in readers]
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    more = _start(pool, mount, model, within=LATER, most_errors=1)
                    found += [reader.result() for reader in more]
        assert all(f.errors in (["EIO"], ["SIGBUS"]) for f in found), found
        eventually(partial(_reads_all, mount, model), "all is there to be had", within=LATER)
        machine.unmount(mount)


def _reads_all(mount: Mount, model: SmallModel) -> bool:
    """Whether the registry is asked again: it is after some seconds, and impatient readers get errors until then."""
    found = [read_pages(mount.target, model.truth, way, seed=SEED, within=LATER) for way in WAYS]
    assert all(f.is_whole and set(f.errors) <= {"EIO", "SIGBUS"} for f in found), found
    return not any(f.errors for f in found)


def _mounted(machine: Node, origin: Upstream, place: Path) -> tuple[SmallModel, Mount]:
    """A model that takes some seconds to come."""
    model = small_model(origin.library, place, SEED, size=6_000_000)
    _slow_down(origin, model)
    return model, machine.mount(model)


def _slow_down(origin: Upstream, model: SmallModel) -> None:
    origin.misbehave(*(Fault(wrong=Wrong.SLOW, amount=2_000_000, path=f"/blobs/{w.digest}") for w in model.weights))


def _start(
    pool: ThreadPoolExecutor, mount: Mount, model: SmallModel, *, within: float, most_errors: int | None = None
) -> list[Future[Found]]:
    return [
        pool.submit(
            read_pages,
            mount.target,
            model.truth,
            way,
            seed=SEED,
            within=within,
            before=ELSEWHERE if number % 2 else (),
            most_errors=most_errors,
        )
        for number, way in enumerate(WAYS)
    ]


@contextmanager
def _gone(origin: Upstream, outage: Outage, readers: list[Future[Found]]) -> Iterator[None]:
    """It is back, and well, after the block."""
    time.sleep(BEFORE)
    if outage == "refused":
        origin.kill()
    else:
        origin.freeze()
    try:
        assert not any(reader.done() for reader in readers), "the model came too fast"
        yield
    finally:
        origin.behave()
        if outage == "refused":
            origin.start()
        else:
            origin.thaw()
