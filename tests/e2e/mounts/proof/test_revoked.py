"""An index whose chunks are right and whose layers are not: what was readable ends with an error, kept pages too."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.mounts.erofs import requires_erofs
from tests.e2e.mounts.mounting import Reader
from tests.e2e.mounts.proof.node import kill
from tests.e2e.mounts.readers import PREAD
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.mounts import unmount_below
from tests.support.made_up import made_up_model
from tests.support.made_up_registry import MadeUpRegistry, made_up_registry, reference
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]
MIB = 24

# FILE: maps it, reads a page of it, and another time whenever it is told to.
HOLDER = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
memory = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
while True:
    print(memory[:4096].hex(), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def registry() -> Iterator[MadeUpRegistry]:
    with made_up_registry([MIB]) as one:
        yield one


@pytest.mark.parametrize("front", ["erofs", "fuse"])
def test_a_layer_that_is_not_its_digest_is_taken_back(front: str, registry: MadeUpRegistry, place: Path) -> None:
    if front == "erofs":
        requires_erofs(place)
    model = made_up_model(MIB << 20)
    path, _ = model.first_tensor
    modelcar, target = Modelcar(place / "home"), place / "mount"
    try:
        modelcar("mount", reference(registry.address, MIB), target, "--kernel-mount", front)

        def refused() -> bool:
            found = Reader(PREAD, target / path, 0, 4096).result().strip()
            assert found in ("EIO", model.read(path, 0, 4096).hex())
            return found == "EIO"

        eventually(refused, "the layer is taken back")
        with Reader(HOLDER, target / path) as holder:
            holder.wait(within=20)
            assert holder.status == -signal.SIGBUS, "a mapping of what was taken back can be read"
        whole = Reader(PREAD, target / "config.json", 0, 1000).result().strip()
        assert bytes.fromhex(whole) == model.read("config.json", 0, len(whole) // 2)
    finally:
        unmount_below(place)
        with suppress(OSError, ValueError):
            kill(int((place / "home" / "lazy" / "keeper.lock").read_text()))
