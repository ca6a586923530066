"""A pull from every dialect, with random faults and kills, ends right; and a twentieth at most moves twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.testing.registry import PROFILES, MisbehavingRegistry, running
from tests.e2e.support.commands import Modelcar
from tests.e2e.transfer_proof.scene import FULL, MIB, Model, blobs_of, cases, digests_of, faults, finish, seed_of

_TWICE: Final = 0.05  # of the bytes
_AT_ONCE: Final = 8  # chunks that one process fetches


@pytest.mark.parametrize(("name", "number"), cases("acr", "distribution", "ghcr", "no-head", "no-ranges", "r2"))
def test_a_pull_ends_right(transfer_model: Model, tmp_path: Path, name: str, number: int) -> None:
    model, target = transfer_model, tmp_path / "out"
    seed = seed_of(name, number)
    with running(name, rate=200e6) as registry:
        ref = f"{registry.address}/org/model:v1"
        fill(registry, model, ref)
        registry.misbehave_at_random(faults(seed))
        killed = finish(Modelcar(tmp_path / "home"), registry, ["pull", ref, "-o", target], random.Random(seed))
        counts = registry.counts()
    assert digests_of(target) == model.files
    assert list(tmp_path.glob(".out*")) == []
    print(f"{name} {seed}: {killed=} {counts}")  # for whoever reads a failure
    if PROFILES[name].ranges:
        # Parts of chunks that came are lost with a process, and a damaged chunk is fetched again: in the short form
        # these alone are more than a twentieth.
        chunks = 0 if FULL else killed * _AT_ONCE + sum(counts.faults.values())
        assert counts.sent - chunks * CHUNK_SIZE <= (1 + _TWICE) * (MIB << 20)


def fill(registry: MisbehavingRegistry, model: Model, ref: str) -> None:
    """The image in the registry, and nothing counted of that."""
    model.home("push", model.ref, ref)
    assert blobs_of(ref)
    registry.reset_counts()
