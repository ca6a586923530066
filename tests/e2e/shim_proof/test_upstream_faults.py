"""An upstream that fails and lies: clients get the right bytes or an error, and the shim is well when it is over."""

from __future__ import annotations

import http.client
import random

import pytest

from tests.e2e.shim_proof import checks
from tests.e2e.shim_proof.clients import Defect, Download, blob_path, download, get, manifest_path
from tests.e2e.shim_proof.faults import PASSING, Fault, Wrong
from tests.e2e.shim_proof.node import Node
from tests.e2e.shim_proof.sizes import IN_FLIGHT, MIB, SEED, mostly_soak
from tests.e2e.shim_proof.upstream import Upstream
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MODEL = "org/model"
SIZE = 24 * MIB
LYING = {
    "one bit": Fault(wrong=Wrong.FLIP, after=100_000),
    "another range": Fault(wrong=Wrong.MISLABELLED, amount=4096, only_ranges=True),
    "another blob": Fault(wrong=Wrong.OTHER),
    "a bomb": Fault(wrong=Wrong.BOMB),
    "no end": Fault(wrong=Wrong.ENDLESS),
    "headers without end": Fault(wrong=Wrong.HEADERS),
    "a loop": Fault(wrong=Wrong.LOOP),
    "a local file": Fault(wrong=Wrong.INWARDS, target="file:///etc/passwd"),
    "no answer that works": Fault(wrong=Wrong.STATUS, amount=500),
}
LYING_MANIFESTS = {
    name: Fault(wrong=fault.wrong, after=20, amount=fault.amount, target=fault.target, path="/manifests/")
    for name, fault in LYING.items()
    if fault.wrong is not Wrong.MISLABELLED
}


@pytest.mark.parametrize("name", mostly_soak(PASSING, "cut in the middle", "a storm of 503", "redirects"))
def test_what_passes_is_borne(name: str, shim: Node, origin: Upstream) -> None:
    random.seed(SEED)
    blob = origin.library.noise(SIZE, SEED)
    origin.library.image(MODEL, "v1", blob)
    origin.misbehave(PASSING[name])
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob), within=60)
    assert origin.blob_bytes <= SIZE + IN_FLIGHT


@pytest.mark.parametrize("name", mostly_soak(LYING, "one bit", "a bomb"))
def test_lies_are_not_passed_on(name: str, forgetful: Node, origin: Upstream) -> None:
    """A client that checks may be streamed to, but nothing that is wrong is ever complete; then the truth is served."""
    blob, other = origin.library.noise(SIZE, SEED), origin.library.noise(SIZE, SEED + 1)
    origin.library.image(MODEL, "v1", blob, other)
    origin.misbehave(LYING[name])
    path = blob_path(MODEL, blob.digest)
    _never_complete(forgetful, path, blob.content(), {})
    _never_complete(forgetful, path, blob.content()[-MIB:], {"Range": f"bytes={SIZE - MIB}-"})
    assert forgetful.memory() < 200 * MIB
    origin.behave()
    download(forgetful.address, Download(path=path, blob=blob), within=60)


@pytest.mark.parametrize("name", mostly_soak(LYING_MANIFESTS, "one bit", "another blob", "a bomb"))
def test_manifests_that_lie_are_refused(name: str, forgetful: Node, origin: Upstream) -> None:
    manifest = origin.library.image(MODEL, "v1", origin.library.noise(1000, SEED))
    origin.library.document(bytes(5 << 20))  # what OTHER serves: more than a manifest may have
    origin.misbehave(LYING_MANIFESTS[name])
    for reference in (manifest.digest, "v1"):
        checks.refused(forgetful, manifest_path(MODEL, reference))
    assert forgetful.memory() < 200 * MIB
    origin.behave()
    eventually(
        lambda: get(forgetful.address, manifest_path(MODEL, manifest.digest)).body == manifest.content(),
        "the manifest is served again",
        60,
    )


def test_large_manifests_and_larger_ones(shim: Node, origin: Upstream) -> None:
    """4 MiB is what every registry takes; what is many times as large is no manifest, whatever its digest."""
    for size, status in ((4 * MIB - 4096, 200), (64 * MIB, 0)):
        base = origin.library.image(MODEL, "v1", note="x" * 10).content()
        padded = base[:-1] + b',"annotations":{"x":"' + b"x" * (size - len(base)) + b'"}}'
        manifest = origin.library.document(padded)
        origin.library.add(MODEL, manifest, tag=f"large-{size}")
        for reference in (manifest.digest, f"large-{size}"):
            if status:
                checks.takes_manifest(shim, MODEL, reference, manifest)
            else:
                checks.refused(shim, manifest_path(MODEL, reference))
    assert shim.memory() < 200 * MIB


def test_what_is_cached_outlives_the_upstream(shim: Node, origin: Upstream) -> None:
    blob = origin.library.noise(MIB, SEED)
    manifest = origin.library.image(MODEL, "v1", blob)
    checks.takes_manifest(shim, MODEL, "v1", manifest)
    want = Download(path=blob_path(MODEL, blob.digest), blob=blob)
    download(shim.address, want)
    for gone in (False, True):
        if gone:
            origin.kill()
        else:
            origin.misbehave(Fault(wrong=Wrong.STATUS, path="", method=""))
        for reference in ("v1", manifest.digest):
            checks.takes_manifest(shim, MODEL, reference, manifest)
        download(shim.address, want)
    shim.restart()
    checks.takes_manifest(shim, MODEL, "v1", manifest)
    download(shim.address, want)


def test_what_is_not_there_is_asked_for_a_few_times_only(shim: Node, origin: Upstream) -> None:
    origin.library.image(MODEL, "v1", origin.library.noise(1000, SEED))
    for _ in range(50):
        assert get(shim.address, manifest_path(MODEL, "none")).status == 404
        assert get(shim.address, manifest_path("org/none", "v1")).status == 404
    assert len(origin.journal()) < 30


def test_a_tag_that_moves_is_followed(forgetful: Node, origin: Upstream) -> None:
    """When its time is over; and a digest is never confused."""
    first = origin.library.image(MODEL, "v1", origin.library.noise(1000, 1))
    checks.takes_manifest(forgetful, MODEL, "v1", first)
    second = origin.library.image(MODEL, "v1", origin.library.noise(1000, 2))
    checks.takes_manifest(forgetful, MODEL, second.digest, second)
    checks.takes_manifest(forgetful, MODEL, first.digest, first)
    eventually(
        lambda: get(forgetful.address, manifest_path(MODEL, "v1")).body == second.content(), "the tag is followed", 5
    )


def _never_complete(shim: Node, path: str, truth: bytes, headers: dict[str, str]) -> None:
    try:
        reply = get(shim.address, path, headers, within=30)
    except (OSError, http.client.HTTPException):
        return
    if reply.status < http.HTTPStatus.BAD_REQUEST and reply.body != truth:
        raise Defect(f"{path} {headers}: {len(reply.body)} wrong bytes with status {reply.status}")
