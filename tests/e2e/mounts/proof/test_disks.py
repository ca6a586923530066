"""Disks that are full, and disks that lost what had been written: an error or right bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.mounts.erofs import requires_erofs
from tests.e2e.mounts.proof.models import small_model
from tests.e2e.mounts.proof.node import node
from tests.e2e.mounts.proof.pages import WAYS, read_pages
from tests.e2e.mounts.proof.sizes import RUNS, SEED
from tests.e2e.shim_proof.disks import ext4
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.upstream import Upstream
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]
MIB: Final = 1 << 20
_BOOT: Final = 64  # bytes of `have` that name the boot
_BLOCK: Final = 4096


@pytest.fixture(params=["erofs", "fuse"])
def front(request: pytest.FixtureRequest, place: Path) -> str:
    if request.param == "erofs":
        requires_erofs(place)
    return str(request.param)


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    with ext4(place / "disk", place / "small", 320 * MIB) as folder:
        yield folder


def test_a_full_disk_is_an_error_and_no_wrong_byte(front: str, small_disk: Path, origin: Upstream, place: Path) -> None:
    """Something else takes the room that mounts leave to others, and the rest. With room again, the rest comes."""
    with node(small_disk / "node", front, origin.address) as machine:
        model = small_model(origin.library, place, SEED, size=8 * MIB)
        slow = Fault(wrong=Wrong.SLOW, amount=500_000)  # the disk must be full before all is here
        origin.misbehave(*(Fault(wrong=slow.wrong, amount=slow.amount, path=f"/{w.digest}") for w in model.weights))
        mount = machine.mount(model)
        filler = small_disk / "filler"
        _fill(filler)
        origin.behave()
        found = read_pages(mount.target, model.truth, "pread", within=45)
        assert found.errors, "the disk was not full"
        assert set(found.errors) <= {"EIO", "ENOSPC"}
        filler.unlink()
        eventually(
            lambda: not read_pages(mount.target, model.truth, "mmap", within=60).errors, "all of it comes", within=90
        )
        machine.unmount(mount)


def test_bits_without_data(front: str, origin: Upstream, place: Path) -> None:
    """A power loss: the bits say that chunks are here, the disk has zeros in some of them, and the machine starts
    another time. Nobody gets to see these zeros."""
    for seed in range(SEED, SEED + max(2, RUNS // 4)):
        chance = random.Random(seed)
        model = small_model(origin.library, place, seed)
        origin.misbehave(*(Fault(wrong=Wrong.SLOW, amount=200_000, path=f"/{w.digest}") for w in model.weights))
        folder = place / f"node-{seed}"
        with node(folder, front, origin.address) as machine:
            mount = machine.mount(model)
            read_pages(mount.target, model.truth, "pread", within=chance.uniform(0.5, 2))
        lost = [_lose_power(have, chance) for have in (machine.root / "partial").rglob("have")]
        assert any(lost), f"seed {seed}: nothing had arrived"
        origin.behave()
        with node(folder, front, origin.address) as machine:
            mount = machine.mount(model)
            found = read_pages(mount.target, model.truth, chance.choice(WAYS), seed=seed, within=60)
            assert found.is_whole, f"seed {seed}"
            assert not found.errors, f"seed {seed}: {found.errors}"
            machine.unmount(mount)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for size in (MIB, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def _lose_power(have: Path, chance: random.Random) -> int:
    """Another boot, and zeros for some of the blocks that were here; returns how many had something else in them
    (`docs/formats/partial-blobs.md`)."""
    with have.open("r+b") as bits:
        bits.write(b"00000000-0000-4000-8000-000000000000".ljust(_BOOT))
    lost = 0
    data = have.with_name("data")
    with data.open("r+b") as content:
        for offset in range(0, data.stat().st_size, _BLOCK):
            content.seek(offset)
            if any(block := content.read(_BLOCK)) and chance.random() < 0.3:
                content.seek(offset)
                lost += content.write(bytes(len(block))) > 0
    return lost
