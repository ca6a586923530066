"""Many readers of one model: what is fetched once, and what is in memory once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.mounts.proof.models import small_model
from tests.e2e.mounts.proof.node import Node
from tests.e2e.mounts.proof.pages import ELSEWHERE, WAYS, Found, Way, read_pages
from tests.e2e.mounts.proof.sizes import SEED
from tests.e2e.shim_proof.upstream import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.root]
MIB = 1 << 20

# FILE: which pages of it are in memory, for this process: a mapping that touches nothing, and mincore.
RESIDENT = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
file = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(file).st_size
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
pages = (ctypes.c_ubyte * (-(-size // 4096)))()
if libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), pages):
    raise OSError(ctypes.get_errno(), "mincore")
print(sum(page & 1 for page in pages), len(pages))
"""


def test_two_pods_fetch_once_and_share_memory(machine: Node, origin: Upstream, place: Path) -> None:
    model = small_model(origin.library, place, SEED, size=24 * MIB)
    before = origin.blob_bytes
    mount = machine.mount(model)

    def pod(way: Way) -> Found:
        return read_pages(mount.target, model.truth, way, within=60, before=ELSEWHERE)

    with ThreadPoolExecutor(2) as pool:
        assert all(f.is_whole and not f.errors for f in pool.map(pod, WAYS[:2]))
    index = model.manifest.layers[-1]
    assert origin.blob_bytes - before <= model.size + index.size
    for path in ("model-0.safetensors", "model-1.safetensors"):
        resident, pages = _resident(mount.target / path, *ELSEWHERE)
        assert resident == pages, f"{path}: {resident} of {pages} pages are in memory for a third pod"
    machine.unmount(mount)


def test_two_mounts_of_one_model_fetch_it_once(machine: Node, origin: Upstream, place: Path) -> None:
    model = small_model(origin.library, place, SEED, size=6 * MIB)
    before = origin.blob_bytes
    mounts = [machine.mount(model), machine.mount(model)]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda m: read_pages(m.target, model.truth, "mmap", within=60), mounts)
        assert all(f.is_whole and not f.errors for f in found)
    assert origin.blob_bytes - before <= model.size + model.manifest.layers[-1].size
    for mount in mounts:
        machine.unmount(mount)


def _resident(file: Path, *before: str) -> tuple[int, int]:
    command = [*before, sys.executable, "-I", "-S", "-c", RESIDENT, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    resident, pages = map(int, done.stdout.split())
    return resident, pages
