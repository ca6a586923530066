"""A push to every dialect, with random faults and kills, ends right; and what moves twice is what was lost to it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from modelcar.oci import Reference
from modelcar.registry import Registry
from modelcar.testing.registry import PROFILES, Counts, Fate, Profile, Seen, Sharing, Wrong, running
from tests.e2e.transfer_proof.scene import FULL, Model, blobs_of, cases, digests_of, faults, finish, seed_of

_TWICE: Final = 0.05  # of the bytes
_AT_ONCE: Final = 4  # uploads of one push
_PIECE: Final = 5 << 20  # bytes, where nothing is kept of a request that breaks off, of layers of less than 49 of them
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


@pytest.mark.parametrize(("name", "number"), cases())
def test_a_push_ends_right(transfer_model: Model, tmp_path: Path, name: str, number: int) -> None:
    model, profile = transfer_model, PROFILES[name]
    seed = seed_of(name, number)
    with running(name, folder=tmp_path, random=faults(seed), rate=200e6) as registry:
        target = f"{registry.address}/org/model:v1"
        killed = finish(model.home, registry, ["push", model.ref, target], random.Random(seed))
        registry.behave()
        counts = registry.counts()
        blobs = blobs_of(target)
        with Registry() as client:
            assert str(client.resolve(Reference.parse(target)).digest) == model.digest
        kept = digests_of(tmp_path / "blobs")
        for digest in blobs:
            assert f"sha256:{kept[quote(digest, safe='')]}" == digest
        size = sum(blob.size for blob in blobs.values())
        uploads = [seen for seen in registry.journal() if "/uploads/" in seen.path]
        print(f"{name} {seed}: {size=} {killed=} {counts} {in_vain(uploads)=}")  # for whoever reads a failure
        check_restarts(counts, uploads, len(blobs), killed)
        if goes_on(profile):
            check_bytes(counts, size)
        if goes_on_in_pieces(profile):
            check_pieces(counts, uploads, size, killed)


def goes_on_in_pieces(profile: Profile) -> bool:
    """Whether what a session has acknowledged stays, though nothing does of a request that breaks off."""
    return not profile.keeps_cut and profile.patches is None


def in_vain(uploads: list[Seen]) -> dict[str, int]:
    """What came in requests that were not answered as wanted: bytes, by the fault, or else the answer (0: there was
    none, as when a client is killed)."""
    found: Counter[str] = Counter()
    for seen in uploads:
        if not 200 <= seen.status < 300:
            found[seen.fault or str(seen.status)] += seen.received
    return dict(found)


def check_bytes(counts: Counts, size: int) -> None:
    """At most a twentieth moves twice. What the registry lost, or stored damaged, is not the client's to save; and in
    the short form, what is under way when a few requests are refused would be more than a twentieth by itself."""
    forced = counts.fate(Fate.LOST, Fate.DAMAGED)
    refused = 0 if FULL else counts.fate(Fate.UNREAD)
    assert counts.received - forced - refused <= (1 + _TWICE) * size


def check_restarts(counts: Counts, uploads: list[Seen], blobs: int, killed: int) -> None:
    """No session is opened but the first of a blob, one to try what the registry does, and after one that a fault, a
    kill or the dialect has ended."""
    assert counts.sessions <= blobs + 1 + _ended(counts) + sum(map(_by_dialect, uploads)) + killed * _AT_ONCE


def check_pieces(counts: Counts, uploads: list[Seen], size: int, killed: int) -> None:
    """Nothing larger than a piece is ever lost, from the first request on; and of all that had to move, what the
    registry lost included, a twentieth at most moves twice. In the short form the pieces that break, and those under
    way at the kills, are more than that by themselves."""
    assert max(seen.received for seen in uploads) <= _PIECE
    forced = counts.fate(Fate.LOST, Fate.DAMAGED)
    pieces = 0 if FULL else killed * _AT_ONCE + _ended(counts)
    assert counts.received - forced - pieces * _PIECE <= size + _TWICE * (size + forced)


def _ended(counts: Counts) -> int:
    """How many faults may have ended a request or a session."""
    return sum(counts.faults.get(str(wrong), 0) for wrong in _ENDING)


def _by_dialect(seen: Seen) -> bool:
    """Whether the dialect has refused this, or one of its replicas has."""
    return not seen.fault and (seen.status >= 400 or (seen.method == "PATCH" and seen.status == 201))
