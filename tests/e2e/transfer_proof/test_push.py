"""A push to every dialect, with random faults and kills, ends right; and what moves twice is what was lost to it."""

from __future__ import annotations

import hashlib
import random
from typing import Final

import pytest

from modelcar.oci import Reference
from modelcar.registry import Registry
from modelcar.testing.registry import PROFILES, Counts, Fate, Profile, Sharing, Wrong, running
from tests.e2e.transfer_proof.scene import SEEDS, Model, blobs_of, faults, finish

_TWICE: Final = 0.05  # of the bytes
_AT_ONCE: Final = 4  # uploads of one push
_SMALL: Final = 256 << 10  # bytes; smaller blobs have no entry in the journal, and cost nothing
_ENDING: Final = (Wrong.CUT, Wrong.STATUS, Wrong.LOST_SESSION, Wrong.WRONG_DIGEST, Wrong.LOST_ANSWER)


def goes_on(profile: Profile) -> bool:
    """Whether a session takes the rest of a blob after a connection that broke, whoever comes."""
    return (
        profile.resumes
        and profile.keeps_cut
        and profile.patches is None
        and profile.patch_status != 201
        and profile.sharing is Sharing.ALL
    )


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_push_ends_right(transfer_model: Model, name: str, seed: int) -> None:
    model, profile = transfer_model, PROFILES[name]
    with running(name, random=faults(seed), rate=200e6) as registry:
        target = f"{registry.address}/org/model:v1"
        killed = finish(model.home, registry, ["push", model.ref, target], random.Random(seed))
        registry.behave()
        counts = registry.counts()
        blobs = blobs_of(target)
        with Registry() as client:
            assert str(client.resolve(Reference.parse(target)).digest) == model.digest
        for digest in blobs:
            assert f"sha256:{hashlib.sha256(registry.blob(digest)).hexdigest()}" == digest
        size = sum(blob.size for blob in blobs.values())
        print(f"{name} {seed}: {size=} {killed=} {counts}")  # for whoever reads a failure
        refused = sum(seen.status >= 400 and not seen.fault for seen in registry.journal() if "/uploads/" in seen.path)
        check_restarts(counts, len(blobs), killed, refused)
        if goes_on(profile):
            check_bytes(counts, size)


def check_bytes(counts: Counts, size: int) -> None:
    """At most a twentieth moves twice. What the registry lost, or stored damaged, is not the client's to save."""
    forced = counts.fate(Fate.LOST, Fate.DAMAGED)
    assert counts.received - forced <= (1 + _TWICE) * size


def check_restarts(counts: Counts, blobs: int, killed: int, refused: int) -> None:
    """No session is opened but the first of a blob, and after one that a fault, a kill or the dialect has ended."""
    ended = sum(counts.faults.get(str(wrong), 0) for wrong in _ENDING) + killed * _AT_ONCE + refused
    assert counts.sessions <= blobs + ended
