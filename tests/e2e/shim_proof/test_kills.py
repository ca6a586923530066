"""Kill -9 at random moments: no wrong byte, nothing lost that was kept, every client comes to its end."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.shim_proof.clients import Defect, Download, blob_path, download
from tests.e2e.shim_proof.crowd import crowd, wishes
from tests.e2e.shim_proof.faults import PASSING, Fault, Wrong
from tests.e2e.shim_proof.node import Node, node
from tests.e2e.shim_proof.sizes import IN_FLIGHT, KILLS, MIB, SEED
from tests.e2e.shim_proof.upstream import Upstream

pytestmark = pytest.mark.slow

MODEL = "org/model"
SIZE = 12 * MIB
CLIENTS = 6


def test_kills_at_random_moments(origin: Upstream, tmp_path: Path) -> None:
    """One blob a run; the shim keeps its folder over all of them. The seed of the run is in the failure."""
    with node(tmp_path / "node", origin.address) as shim:
        for seed in range(SEED, SEED + KILLS):
            try:
                _one_run(shim, origin, seed, [], 1.0)
            except AssertionError as e:
                raise Defect(f"SHIM_PROOF_SEED={seed} SHIM_PROOF_KILLS=1: {e}") from None


@pytest.mark.soak
def test_kills_amid_faults(origin: Upstream, tmp_path: Path) -> None:
    """The same, before an upstream that is unwell at the same time."""
    with node(tmp_path / "node", origin.address) as shim:
        for seed in range(SEED, SEED + KILLS):
            fault = random.Random(seed).choice(list(PASSING.values()))
            try:
                _one_run(shim, origin, seed, [replace(fault, chance=0.2, times=0, seconds=5)], 1.5)
            except AssertionError as e:
                raise Defect(f"SHIM_PROOF_SEED={seed} SHIM_PROOF_KILLS=1, {fault.wrong}: {e}") from None


@pytest.mark.soak
def test_what_was_kept_is_not_fetched_again(shim: Node, origin: Upstream) -> None:
    """Killed five times on the way: what each kill costs is bounded by what was on its way."""
    size = 160 * MIB
    blob = origin.library.noise(size, SEED)
    origin.library.image(MODEL, "v1", blob)
    origin.misbehave(Fault(wrong=Wrong.SLOW, amount=16 * MIB))

    def kills() -> None:
        for tenth in (2, 4, 6, 8, 9):
            mark = tenth * size // 10
            while origin.blob_bytes < mark:
                time.sleep(0.02)
            shim.restart()

    crowd(shim.address, [Download(path=blob_path(MODEL, blob.digest), blob=blob)] * 2, meanwhile=kills)
    assert origin.blob_bytes <= size + 5 * IN_FLIGHT


def _one_run(shim: Node, origin: Upstream, seed: int, faults: list[Fault], copies: float) -> None:
    source = random.Random(seed)
    blob = origin.library.noise(SIZE, seed)
    name = f"org/model-{seed}"
    origin.library.image(name, "v1", blob)
    origin.misbehave(*faults, Fault(wrong=Wrong.SLOW, amount=source.choice([2, 8, 32]) * MIB))
    before = origin.blob_bytes
    killed = 0

    def kills() -> None:
        nonlocal killed
        for _ in range(source.randrange(1, 4)):
            time.sleep(source.uniform(0, 0.6))
            victim: Node | Upstream = shim if source.random() < 0.7 else origin
            victim.kill()
            time.sleep(source.uniform(0, 0.3))
            victim.start()
            killed += 1

    crowd(shim.address, wishes(name, blob, CLIENTS, seed), meanwhile=kills, within=60)
    origin.behave()
    download(shim.address, Download(path=blob_path(name, blob.digest), blob=blob))
    sent = origin.blob_bytes - before
    if sent > copies * SIZE + killed * IN_FLIGHT:
        raise Defect(f"{sent / SIZE:.2f} x the blob after {killed} kills")
    blob.path.unlink()
