"""A crowd pulls one blob that the shim does not have: the upstream sends it once, and every byte is right."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.shim_proof import checks
from tests.e2e.shim_proof.clients import Download, blob_path, download, get
from tests.e2e.shim_proof.crowd import crowd
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.node import Node
from tests.e2e.shim_proof.sizes import CLIENTS, CROWD_BLOB, IN_FLIGHT, MIB, SEED
from tests.e2e.shim_proof.upstream import Upstream
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MODEL = "org/model"
WITHIN = 120 + CROWD_BLOB / (4 * MIB)  # seconds


def test_a_crowd_costs_one_copy(shim: Node, origin: Upstream) -> None:
    blob = origin.library.noise(CROWD_BLOB, SEED)
    manifest = origin.library.image(MODEL, "v1", blob)
    checks.takes_manifest(shim, MODEL, "v1", manifest)
    checks.fetched_once(shim, origin, MODEL, blob, clients=CLIENTS, seed=SEED, limit=1.01 * CROWD_BLOB, within=WITHIN)


def test_a_crowd_survives_a_restart(shim: Node, origin: Upstream) -> None:
    blob = origin.library.noise(CROWD_BLOB, SEED)
    origin.library.image(MODEL, "v1", blob)
    origin.misbehave(Fault(wrong=Wrong.SLOW, amount=max(8 * MIB, CROWD_BLOB // 64)))

    def restart() -> None:
        eventually(lambda: origin.blob_bytes > 0.6 * CROWD_BLOB, "most of the blob was sent", WITHIN)
        shim.restart()

    limit = max(1.05 * CROWD_BLOB, 1.01 * CROWD_BLOB + IN_FLIGHT)
    checks.fetched_once(
        shim, origin, MODEL, blob, clients=CLIENTS, seed=SEED, limit=limit, meanwhile=restart, within=WITHIN
    )


def test_what_nobody_waits_for_is_still_not_fetched_twice(shim: Node, origin: Upstream) -> None:
    """All readers leave in the middle; the next one starts where the fetching has come to."""
    blob = origin.library.noise(32 * MIB, SEED)
    origin.library.image(MODEL, "v1", blob)
    path = blob_path(MODEL, blob.digest)
    crowd(shim.address, [Download(path=path, blob=blob, leave_after=n * MIB) for n in range(1, 9)])
    download(shim.address, Download(path=path, blob=blob))
    assert origin.blob_bytes <= 1.01 * blob.size


def test_one_range_of_a_large_blob_comes_early(shim: Node, origin: Upstream) -> None:
    """The end of a blob does not wait for its beginning."""
    blob = origin.library.noise(64 * MIB, SEED)
    origin.library.image(MODEL, "v1", blob)
    origin.misbehave(Fault(wrong=Wrong.SLOW, amount=2 * MIB))
    want = Download(path=blob_path(MODEL, blob.digest), blob=blob, offset=40 * MIB, end=40 * MIB + 4096)
    download(shim.address, want)
    assert origin.blob_bytes < 0.9 * blob.size


def test_two_repositories_that_share_a_layer_cost_one(shim: Node, origin: Upstream) -> None:
    blob = origin.library.noise(8 * MIB, SEED)
    for name in ("org/one", "org/two"):
        origin.library.image(name, "v1", blob, note=name)
    wants = [Download(path=blob_path(name, blob.digest), blob=blob) for name in ("org/one", "org/two") * 4]
    crowd(shim.address, wants)
    assert origin.blob_bytes <= 1.01 * blob.size


def test_an_empty_blob(shim: Node, origin: Upstream) -> None:
    empty = origin.library.document(b"")
    origin.library.image(MODEL, "v1", empty)
    reply = get(shim.address, blob_path(MODEL, empty.digest))
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.soak
def test_memory_stays_small(shim: Node, origin: Upstream, tmp_path: Path) -> None:
    """While 32 clients read a blob that is larger than what may be used."""
    blob = origin.library.noise(max(CROWD_BLOB, 256 * MIB), SEED)
    origin.library.image(MODEL, "v1", blob)
    peaks = [0]

    def watch() -> None:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            peaks.append(shim.memory())
            time.sleep(0.05)

    crowd(shim.address, [Download(path=blob_path(MODEL, blob.digest), blob=blob)] * CLIENTS, meanwhile=watch)
    assert max(peaks) < 200 * MIB, f"{max(peaks) / MIB:.0f} MiB"
