"""What the proof of transfers has shown: little moves in vain while a client learns how a registry does things."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelcar.oci import Reference
from modelcar.registry.cancel import Cancelled, CancelScope
from modelcar.registry.dialects import UNKNOWN, AfterCut, Way
from modelcar.registry.habits import Habit, Habits
from modelcar.registry.upload import Blob as Unhashed
from modelcar.registry.upload import Tail, Upload, UploadContext, map_source
from modelcar.registry.upload.patience import Patience
from modelcar.registry.upload.tactics import Tactics
from modelcar.registry.uploader import Uploader
from modelcar.testing.registry import Fate, Fault, Wrong, running
from tests.unit.registry.upload.uploads import Blob, client, reference, upload

pytestmark = pytest.mark.slow

MIB = 1 << 20


def test_a_piece_that_is_refused_is_smaller_the_next_time(tmp_path: Path) -> None:
    """GHCR takes 4 MiB: one refusal tells, where the session counts as we do."""
    blob = Blob(tmp_path, 16 * MIB, 1)
    with running("ghcr") as registry:
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PUT", after=2 * MIB))
        upload(registry, blob)
        assert [seen.status for seen in registry.journal() if seen.method == "PATCH"].count(416) == 1


def test_a_registry_without_head_is_asked_otherwise(tmp_path: Path) -> None:
    blob = Blob(tmp_path, 2 * MIB, 2)
    with running("no-head") as registry:
        registry.misbehave(Fault(wrong=Wrong.LOST_ANSWER))
        upload(registry, blob)
        upload(registry, blob)
        assert registry.counts().received == len(blob.bytes)
        assert registry.counts().sent <= 2


def test_the_rest_of_a_layer_may_be_the_last_patch(tmp_path: Path) -> None:
    """ECR answers a PATCH with 201 and takes no other; if that one had all the rest, it may be closed."""
    blob = Blob(tmp_path, 4 * MIB, 3)
    with running("ecr") as registry:
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PUT", after=3 * MIB))
        upload(registry, blob)
        assert (registry.counts().sessions, registry.counts().received) == (1, len(blob.bytes))


def test_pieces_where_nothing_is_kept_of_what_broke_off(tmp_path: Path) -> None:
    """What was remembered is wrong: the first request that breaks off sets it right."""
    first, second = Blob(tmp_path, 24 * MIB, 4), Blob(tmp_path, 24 * MIB, 5)
    with running("harbor") as registry:
        Habits(tmp_path / "state").learn(registry.address, streams=True, after_cut=AfterCut.LOST, family="")
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PUT", after=20 * MIB))
        upload(registry, first, state=tmp_path / "state")
        upload(registry, second, state=tmp_path / "state")
        requests = [seen.received for seen in registry.journal() if seen.received and seen.status in (201, 202)]
        assert max(requests) == 5 * MIB
        assert registry.counts().fate(Fate.UNKEPT) == 20 * MIB


def test_rests_do_not_grow_while_bytes_move() -> None:
    """Where a layer goes in one request, nothing is ever acknowledged: after six breaks it rested for half a minute."""
    patience = Patience(5, 256 * MIB)
    assert [(patience.failed(moved=100 * MIB, wait=0), patience.still) for _ in range(6)] == 6 * [(True, 0)]
    assert patience.failures == 6
    assert [(patience.failed(moved=0, wait=0), patience.still) for _ in range(3)] == [(True, 1), (True, 2), (True, 3)]
    patience.reached(1)
    assert (patience.failures, patience.still) == (0, 0)


def test_replicas_that_share_only_the_first_piece(tmp_path: Path) -> None:
    """They answer questions by that, so the trial tells nothing: sessions that end after a few pieces do."""
    first, second = Blob(tmp_path, 128 * MIB, 7), Blob(tmp_path, 40 * MIB, 8)
    with running("artifactory") as registry:
        Habits(tmp_path / "state").learn(registry.address, streams=True, after_cut=AfterCut.DROPPED, family="")
        upload(registry, first, state=tmp_path / "state")
        assert registry.counts().received <= len(first.bytes) + 3 * 9 * 5 * MIB
        registry.reset_counts()
        upload(registry, second, state=tmp_path / "state")
        assert registry.counts().received == len(second.bytes), "they are not tried again"


def test_pieces_where_the_registry_says_how_small_they_may_be(tmp_path: Path) -> None:
    blob = Blob(tmp_path, 24 * MIB, 6)
    with running("r2") as registry:
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PATCH", after=MIB, skip=1))
        upload(registry, blob)
        assert registry.counts().fate(Fate.UNKEPT) == MIB
        assert registry.counts().sessions == 2, "one to try what it takes"


def test_a_session_that_was_killed_goes_on_in_the_pieces_that_it_took(tmp_path: Path) -> None:
    blob, state = Blob(tmp_path, 16 * MIB, 7), tmp_path / "state"
    with running("ghcr") as registry:
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PUT", after=2 * MIB))
        with client(state=state) as sender, pytest.MonkeyPatch.context() as patched:
            taken: list[int] = []

            def stop(_: Tactics) -> None:
                taken.append(1)
                if len(taken) == 2:
                    raise KeyboardInterrupt

            patched.setattr(Tactics, "took", stop)
            with pytest.raises(KeyboardInterrupt):
                sender.upload_blob(reference(registry), blob.descriptor, blob.content)
        registry.reset_counts()
        upload(registry, blob, state=state)
        assert 416 not in [seen.status for seen in registry.journal()]
        assert registry.counts().received == 6 * MIB


def test_sessions_that_are_lost_twice_are_not_given_up_where_they_are_known(tmp_path: Path) -> None:
    """They might be lost to replicas that do not share them; then the way without a session could not go on."""
    blob = Blob(tmp_path, 8 * MIB, 9)
    with running("distribution") as registry:
        registry.misbehave(
            Fault(wrong=Wrong.LOST_SESSION, method="PUT", after=2 * MIB, times=2),
            Fault(wrong=Wrong.CUT, method="PUT", after=4 * MIB),
        )
        upload(registry, blob)
        posts = [seen.query for seen in registry.journal() if seen.method == "POST"]
        assert posts == ["", "", ""]
        assert registry.counts().received - registry.counts().fate(Fate.LOST, Fate.UNREAD) == len(blob.bytes)


def test_a_bad_stretch_makes_small_pieces_and_a_good_one_large_ones_again() -> None:
    tactics = Tactics.choose(UNKNOWN, Habit(way=Way.PIECES, piece=8 * MIB), 1 << 30)
    for _ in range(5):
        tactics.broke_off(MIB, alive=True)
    assert tactics.piece == MIB
    for _ in range(96):
        tactics.took()
    assert tactics.piece == 8 * MIB
    for _ in range(96):
        tactics.took()
    assert tactics.piece == 8 * MIB


@pytest.mark.parametrize("for_good", [True, False])
def test_a_session_stays_open_only_if_its_bytes_may_be_wanted(tmp_path: Path, for_good: bool) -> None:
    """The hasher has found them denied, or not to be what was promised: nobody goes on over them."""
    blob, state = Blob(tmp_path, 8 * MIB, 8), tmp_path / "state"
    with running("distribution") as registry, client(state=state) as sender:
        tail = Tail()
        tail.hashed(4 * MIB)
        tail.abandon(for_good=for_good)
        with pytest.raises(Cancelled):
            send(sender._uploader, registry.address, blob, tail)
        assert bool(list((state / "uploads").glob("*.json"))) is not for_good
        assert [seen.method for seen in registry.journal()].count("DELETE") == for_good


def send(uploader: Uploader, address: str, blob: Blob, tail: Tail) -> None:
    """As `Uploader.stream` does."""
    context = UploadContext(
        session=uploader._session,
        dialect=UNKNOWN,
        habits=uploader._habits,
        journal=uploader._journal,
        tally=uploader.tally,
        after_cut=lambda: None,
    )
    content = blob.content
    unhashed = Unhashed(label="weights", size=content.size, source=map_source(content), content="files:x", tail=tail)
    remote = uploader._session.remote(Reference.parse(f"{address}/org/model:v1"), "pull,push")
    Upload(context, remote, unhashed, lambda _: None).run()


def test_a_scope_leaves_behind_what_cannot_be_woken() -> None:
    scope, release, undone = CancelScope(), threading.Event(), threading.Event()
    threading.Timer(0.1, scope.cancel).start()
    with pytest.raises(Cancelled):
        scope.meanwhile(lambda: _wait(release), undone.set)
    release.set()
    assert undone.wait(30)


def _wait(event: threading.Event) -> None:
    event.wait(60)
