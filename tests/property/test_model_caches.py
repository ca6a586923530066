"""Whatever is wished for: no node gets more than it may, pins are kept, and a plan that was carried out stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelcar.cluster.placing import Placement, Room, Wish, place
from modelcar.cluster.plan import Plan, View, plan
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, Object
from tests.support.cluster_objects import cache, check, copy, node, report

NAMES = st.sampled_from(["r/a:v1", "r/b:v1", "r/c:v1", "r/d:v1", "r/e:v1"])
SIZES = st.none() | st.integers(1, 100)
WISHES = st.lists(
    st.builds(
        Wish,
        image=NAMES,
        priority=st.integers(-2, 2),
        pin=st.booleans(),
        size=SIZES,
        created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    ),
    unique_by=lambda wish: wish.image,
)
ROOMS = st.builds(Room, limit=st.none() | st.integers(0, 250), capacity=st.none() | st.integers(0, 250))
PROMISED = st.sets(NAMES)


def kept(wishes: list[Wish], promised: set[str]) -> set[str]:
    """Promised, and still wished for as pinned."""
    return {wish.image for wish in wishes if wish.pin} & promised


def names(placement: Placement) -> list[str]:
    return [model["image"] for model in placement.models]


@given(WISHES, ROOMS, PROMISED)
def test_no_more_than_there_is_room_for(wishes: list[Wish], room: Room, promised: set[str]) -> None:
    made = place("n", wishes, room, promised)
    sizes = {wish.image: wish.size or 0 for wish in wishes}
    total, bound = sum(sizes[i] for i in names(made)), sum(sizes[i] for i in kept(wishes, promised))
    assert room.size is None or total <= max(room.size, bound)
    for model in made.models:
        if "mostBytes" in model and model["image"] not in kept(wishes, promised):
            assert room.size is not None
            assert 1 <= model["mostBytes"] <= room.size - sum(sizes[i] for i in kept(wishes, promised))


@given(WISHES, ROOMS, PROMISED)
def test_pins_are_kept_and_every_wish_has_an_answer(wishes: list[Wish], room: Room, promised: set[str]) -> None:
    made = place("n", wishes, room, promised)
    assert kept(wishes, promised) <= set(names(made))
    assert sorted([*names(made), *made.refused, *made.waiting]) == sorted(wish.image for wish in wishes)


@given(WISHES, ROOMS, PROMISED)
def test_what_was_placed_stays(wishes: list[Wish], room: Room, promised: set[str]) -> None:
    first = place("n", wishes, room, promised)
    begun = {wish.image for wish in wishes if wish.pin} & set(names(first))
    second = place("n", wishes, room, promised | begun)
    assert set(names(second)) == set(names(first))
    assert first == place("n", list(reversed(wishes)), room, promised)


PHASES = st.sampled_from(["Pending", "Downloading", "Ready", "Failed"])


@st.composite
def views(draw: st.DrawFn) -> View:
    images = draw(st.lists(NAMES, unique=True, min_size=1))
    caches = [
        cache(f"c{number}", image, pin=draw(st.booleans()), priority=draw(st.integers(-1, 1)))
        for number, image in enumerate(images)
    ]
    nodes = [node(f"n{number}", limit=draw(st.none() | st.just("150"))) for number in range(draw(st.integers(0, 3)))]
    reports = []
    for each in nodes:
        models = [
            copy(draw(PHASES), image, size=draw(st.integers(0, 100))) for image in draw(st.lists(NAMES, unique=True))
        ]
        reports.append(report(each["metadata"]["name"], *models))
    return View(caches=caches, nodes=nodes, model_nodes=draw(st.sampled_from([reports, reports[:1], []])))


def carried_out(view: View, made: Plan) -> View:
    statuses: dict[str, Object] = {report["metadata"]["name"]: report["status"] for report in view.model_nodes}
    caches = [c | {"status": made.statuses[c["metadata"]["name"]]} for c in view.caches]
    reports = [
        {"metadata": {"name": name}, "spec": spec, "status": statuses.get(name, {})}
        for name, spec in made.specs.items()
    ]
    return View(caches=caches, nodes=view.nodes, model_nodes=reports)


@given(views())
def test_a_plan_that_was_carried_out_is_the_next_one(view: View) -> None:
    first = plan(view, "2026-01-01T00:00:00Z")
    second = plan(carried_out(view, first), "2026-01-02T00:00:00Z")
    third = plan(carried_out(carried_out(view, first), second), "2026-01-03T00:00:00Z")
    assert (third.specs, third.statuses) == (second.specs, second.statuses)


@given(views())
def test_an_api_server_would_take_it(view: View) -> None:
    made = plan(view, "2026-01-01T00:00:00Z")
    for name, spec in made.specs.items():
        check(MODEL_NODES, {"metadata": {"name": name}, "spec": spec})
    for status in made.statuses.values():
        check(MODEL_CACHES, {"status": status})
        copies = status["copies"]
        assert copies["wanted"] == sum(copies[key] for key in ("ready", "downloading", "pending", "failed"))
