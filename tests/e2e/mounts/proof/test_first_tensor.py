"""What has to come before the first tensor can be read: the same for a model of 8 GiB as for one of 200 MiB."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.mounts.erofs import requires_erofs
from tests.e2e.mounts.mounting import Reader
from tests.e2e.mounts.proof.node import kill
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.mounts import unmount_below
from tests.support.made_up import made_up_model
from tests.support.made_up_registry import MadeUpRegistry, made_up_registry, reference

pytestmark = [pytest.mark.slow, pytest.mark.root]
SMALL, LARGE = 200, 8192
MIB = 1 << 20

# FILE OFFSET LENGTH: the digest of a range, by reading it at once.
DIGEST = """
import hashlib, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print(hashlib.sha256(os.pread(file, int(sys.argv[3]), int(sys.argv[2]))).hexdigest())
"""


@pytest.fixture(scope="module")
def registry() -> Iterator[MadeUpRegistry]:
    with made_up_registry([SMALL, LARGE], whole=[SMALL]) as one:
        yield one


@pytest.mark.parametrize("front", ["erofs", "fuse"])
@pytest.mark.parametrize("mib", [SMALL, LARGE])
def test_the_first_tensor_needs_little(front: str, mib: int, registry: MadeUpRegistry, place: Path) -> None:
    """Asked for and answered while the rest is still to come, and right."""
    if front == "erofs":
        requires_erofs(place)
    model = made_up_model(mib * MIB)
    path, tensor = model.first_tensor
    modelcar = Modelcar(place / "home")
    target = place / "mount"
    before = registry.sent.blob_bytes
    try:
        mounted = modelcar("mount", reference(registry.address, mib), target, "--kernel-mount", front)
        assert mounted["size"] >= mib * MIB * 0.9
        found = Reader(DIGEST, target / path, tensor.offset, tensor.size).result().strip()
        os.kill(keeper := _keeper(place), signal.SIGSTOP)  # nothing more is asked for
        came = registry.sent.blob_bytes - before
        assert found == hashlib.sha256(model.read(path, tensor.offset, tensor.size)).hexdigest()
        if mib == LARGE:
            assert came < mounted["size"] / 10, f"{came / MIB:.0f} MiB came before the first tensor"
        kill(keeper)
    finally:
        unmount_below(place)
        with suppress(OSError, ValueError):
            kill(_keeper(place))


def _keeper(place: Path) -> int:
    return int((place / "home" / "lazy" / "keeper.lock").read_text())
