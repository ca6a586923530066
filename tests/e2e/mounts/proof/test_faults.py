"""Registries that lie, break off and take their time: readers get right bytes or an error, and right bytes later."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.mounts.proof.models import small_model
from tests.e2e.mounts.proof.node import Node, node
from tests.e2e.mounts.proof.pages import ELSEWHERE, WAYS, Found, Way, read_pages
from tests.e2e.mounts.proof.sizes import RUNS, SEED
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.upstream import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.root]

FAULTS: Final = {
    "corrupt": Fault(wrong=Wrong.FLIP, after=20_000),
    "truncated": Fault(wrong=Wrong.SHORT, amount=5000),
    "swapped with another blob": Fault(wrong=Wrong.OTHER),
    "swapped with its neighbour": Fault(wrong=Wrong.SHIFTED, amount=64 << 10, only_ranges=True),
    "delayed": Fault(wrong=Wrong.STALL, after=1000, seconds=1),
    "slow": Fault(wrong=Wrong.SLOW, amount=100_000),
    "broken off": Fault(wrong=Wrong.CUT, after=30_000),
    "unwell": Fault(wrong=Wrong.STATUS, amount=503),
    "refusing": Fault(wrong=Wrong.STATUS, amount=403),
    "silent": Fault(wrong=Wrong.DROP),
    "without ranges": Fault(wrong=Wrong.WHOLE, only_ranges=True),
}
PATIENCE: Final = 60.0  # seconds
LIES: Final = frozenset({Wrong.FLIP, Wrong.OTHER, Wrong.SHIFTED})
"""A registry that sent something else twice is not asked again for minutes, however well it is."""


@pytest.fixture
def machine(front: str, place: Path, origin: Upstream) -> Iterator[Node]:
    """Its readers wait for longer than a registry that was unwell is left alone."""
    with node(place / "node", front, origin.address, patience=PATIENCE) as one:
        yield one


def test_registries_that_fail_at_random(machine: Node, origin: Upstream, place: Path) -> None:
    for seed in range(SEED, SEED + RUNS):
        chance = random.Random(seed)
        name = chance.choice(list(FAULTS))
        try:
            _one_run(machine, origin, place, chance, FAULTS[name], seed)
        except (AssertionError, pytest.fail.Exception) as e:
            raise AssertionError(f"LAZY_PROOF_SEED={seed} LAZY_PROOF_RUNS=1, {machine.front}, {name}: {e}") from None


def test_a_model_of_which_a_layer_came_wrong_is_mounted_again(machine: Node, origin: Upstream, place: Path) -> None:
    """Without that layer, of which there is not even a file."""
    model = small_model(origin.library, place, SEED)
    wrong, *_ = model.weights
    origin.misbehave(Fault(wrong=Wrong.FLIP, after=20_000, path=f"/blobs/{wrong.digest}"))
    for _ in range(2):
        mount = machine.mount(model)
        found = read_pages(mount.target, model.truth, "pread", within=PATIENCE)
        assert found.is_whole
        assert found.right
        assert set(found.errors) == {"EIO"}
        machine.unmount(mount)


def _one_run(machine: Node, origin: Upstream, place: Path, chance: random.Random, fault: Fault, seed: int) -> None:
    model = small_model(origin.library, place, seed)
    usual = replace(fault, chance=chance.choice([0.2, 0.5, 1.0]), times=chance.choice([0, 3, 10]))
    origin.misbehave(*(replace(usual, path=f"/blobs/{layer.digest}") for layer in model.weights))
    mount = machine.mount(model)
    ways = chance.sample(WAYS, 2)

    def reader(way: Way) -> Found:
        before = ELSEWHERE if chance.random() < 0.5 else ()
        return read_pages(mount.target, model.truth, way, seed=seed, within=chance.uniform(0.5, 4), before=before)

    with ThreadPoolExecutor(len(ways)) as pool:
        found = list(pool.map(reader, ways))
    assert all(set(f.errors) <= {"EIO", "SIGBUS"} for f in found), found
    origin.behave()
    last = read_pages(mount.target, model.truth, chance.choice(WAYS), seed=seed, within=2 * PATIENCE)
    assert last.is_whole, "a reader is stuck, and the registry is well"
    assert set(last.errors) <= ({"EIO", "SIGBUS"} if fault.wrong in LIES else set()), (
        f"{len(last.errors)} errors, and the registry is well"
    )
    machine.unmount(mount)
