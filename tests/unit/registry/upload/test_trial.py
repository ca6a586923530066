"""What registries do with a request that breaks off, found out with a few bytes, and what an upload makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import RateLimited
from modelcar.registry.dialects import UNKNOWN, AfterCut, Way, dialect_named
from modelcar.registry.habits import Habit, Habits
from modelcar.registry.session import Session
from modelcar.registry.settings import ClientSettings
from modelcar.registry.upload.tactics import Tactics
from modelcar.registry.upload.trial import Trial, try_session
from modelcar.registry.upload.wire import Wire
from modelcar.testing.registry import PROFILES, Fate, Fault, MisbehavingRegistry, Profile, Wrong, running
from tests.unit.registry.upload.uploads import Blob, client, reference, upload

pytestmark = pytest.mark.slow

MIB = 1 << 20
NOTHING = Trial(streams=False, after_cut=AfterCut.LOST)
DYING = replace(PROFILES["distribution"], name="dying", loses_cut=True)  # as Docker's registry before 3


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        (PROFILES["distribution"], Trial(streams=True, after_cut=AfterCut.KEPT)),
        (PROFILES["ghcr"], Trial(streams=True, after_cut=AfterCut.KEPT)),
        (PROFILES["harbor"], Trial(streams=True, after_cut=AfterCut.DROPPED)),
        (PROFILES["no-resume"], Trial(streams=True, after_cut=AfterCut.DROPPED)),
        (PROFILES["r2"], Trial(streams=True, after_cut=AfterCut.DROPPED)),
        (PROFILES["gar"], Trial(streams=True, after_cut=AfterCut.LOST)),
        (DYING, Trial(streams=True, after_cut=AfterCut.LOST)),
        (PROFILES["put-only"], NOTHING),
        (PROFILES["ecr"], NOTHING),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else "",
)
def test_what_is_found(profile: Profile, found: Trial) -> None:
    with running(profile) as registry:
        assert tried(registry) == found
        assert registry.counts().sessions == 1
        assert registry.counts().received < 64 << 10
        assert not registry.digests()
        if found is not NOTHING and profile is not DYING:
            assert "DELETE" in [seen.method for seen in registry.journal()]


@pytest.mark.parametrize("wrong", [Wrong.CUT, Wrong.STATUS])
def test_an_accident_tells_nothing(wrong: Wrong) -> None:
    with running("distribution") as registry:
        registry.misbehave(Fault(wrong=wrong, method="PATCH", after=1))
        assert tried(registry) == Trial()


def tried(registry: MisbehavingRegistry) -> Trial:
    session = Session(ClientSettings(timeout=10))
    try:
        remote = session.remote(reference(registry), "pull,push")
        return try_session(Wire(session, remote, "trying"), session.pause)
    finally:
        session.close()


def test_pieces_from_the_beginning_where_nothing_is_kept(tmp_path: Path) -> None:
    """The first request that breaks off costs a piece, not a layer."""
    blob = Blob(tmp_path, 40 * MIB, 1)
    with running("harbor") as registry:
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PATCH", after=3 * MIB, skip=1))
        upload(registry, blob, state=tmp_path / "state")
        taken = [seen.received for seen in registry.journal() if seen.status == 202]
        assert max(taken) == 5 * MIB
        assert 3 * MIB <= registry.counts().fate(Fate.UNKEPT) < 4 * MIB
        assert registry.counts().sessions == 2


@pytest.mark.parametrize("profile", [PROFILES["distribution"], DYING], ids=["kept", "lost"])
def test_one_request_where_pieces_save_nothing(tmp_path: Path, profile: Profile) -> None:
    first, second = Blob(tmp_path, 24 * MIB, 2), Blob(tmp_path, 24 * MIB, 3)
    with running(profile) as registry:
        upload(registry, first, state=tmp_path / "state")
        upload(registry, second, state=tmp_path / "state")
        assert registry.counts().sessions == 3, "it is tried once"
        assert [seen.received for seen in registry.journal() if seen.method == "PUT"] == 2 * [24 * MIB]


def test_a_small_layer_is_not_worth_a_trial(tmp_path: Path) -> None:
    with running("distribution") as registry:
        upload(registry, Blob(tmp_path, 8 * MIB, 4))
        assert registry.counts().sessions == 1


def test_what_is_seen_counts_more_than_what_was_tried(tmp_path: Path) -> None:
    blob, state = Blob(tmp_path, 24 * MIB, 5), tmp_path / "state"
    with running("distribution") as registry:
        Habits(state).learn(registry.address, streams=True, after_cut=AfterCut.DROPPED, family="")
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PATCH", after=3 * MIB))
        upload(registry, blob, state=state)
        assert registry.counts().received == 24 * MIB
        assert Habits(state).of(registry.address).after_cut is AfterCut.KEPT


def test_quay_counts_one_byte_more_when_it_is_asked(tmp_path: Path) -> None:
    blob = Blob(tmp_path, 24 * MIB, 6)
    with running(replace(PROFILES["harbor"], name="counting", counts_one_more=True)) as registry:
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PATCH", after=3 * MIB, skip=1))
        upload(registry, blob, dialect="Quay")
        statuses = [seen.status for seen in registry.journal()]
        assert 416 not in statuses
        assert registry.counts().sessions == 1, "what is known is not tried"
    assert dialect_named("Quay").after_cut is AfterCut.DROPPED


def test_pieces_grow_on_a_good_line_and_stay_a_small_share() -> None:
    tactics = careful(8 << 30)
    sizes, left = [], 8 << 30
    while left:
        sizes.append(tactics.length(left))
        left -= sizes[-1]
        tactics.took()
    assert sizes[0] == 5 * MIB
    assert max(sizes) == 64 * MIB
    assert len(sizes) < 32 * 8, "requests a GiB"
    assert careful(256 * MIB).most == 5 * MIB


def test_pieces_shrink_after_a_break_but_not_below_what_s3_stores_by_itself() -> None:
    tactics = careful(1 << 30)
    for _ in range(32):
        tactics.took()
    assert tactics.piece == 10 * MIB
    tactics.broke_off(MIB, alive=True)
    assert tactics.piece == 5 * MIB
    tactics.took()
    tactics.broke_off(MIB, alive=True)
    assert tactics.piece == 5 * MIB
    for _ in range(4):
        tactics.broke_off(MIB, alive=True)
    assert tactics.piece == MIB, "nothing gets through any more"


def test_a_session_that_was_left_goes_on_in_pieces_of_its_own(tmp_path: Path) -> None:
    """Neither in one request, nor only in pieces as large as they had become."""
    blob, state = Blob(tmp_path, 40 * MIB, 8), tmp_path / "state"
    with running("harbor") as registry:
        registry.misbehave(Fault(wrong=Wrong.STATUS, method="PATCH", status=429, retry_after=999, skip=4))
        with pytest.raises(RateLimited):
            upload(registry, blob, state=state)
        registry.reset_counts()
        upload(registry, blob, state=state)
        assert [seen.received for seen in registry.journal() if seen.status == 202] == 6 * [5 * MIB]
        assert Habits(state).of(registry.address).way is None, "it has refused nothing"


@pytest.mark.parametrize("habit", [Habit(), Habit(way=Way.STREAM)])
def test_what_nobody_knows_is_taken_to_be_bad_unless_something_has_worked(habit: Habit) -> None:
    tactics = Tactics.choose(UNKNOWN, habit, 1 << 30)
    tactics.expect(lambda: None)
    assert (tactics.way is Way.PIECES) == (habit.way is None)


def careful(size: int) -> Tactics:
    tactics = Tactics.choose(UNKNOWN, Habit(), size)
    tactics.expect(lambda: AfterCut.DROPPED)
    return tactics


def test_a_registry_that_is_known_is_not_tried(tmp_path: Path) -> None:
    """ACR cannot go on after a cut, and is known for that: it is not tried."""
    blob = Blob(tmp_path, 24 * MIB, 7)
    with running("acr") as registry, client(dialect="Azure Container Registry") as sender:
        sender.upload_blob(reference(registry), blob.descriptor, blob.content)
        assert registry.counts().sessions == 1
