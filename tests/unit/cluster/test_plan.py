"""Which node shall have what, and what ModelCaches say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelcar.cluster.plan import Plan, View, plan
from modelcar.cluster.quantities import quantity
from modelcar.cluster.resources import MODEL_CACHES, MODEL_NODES, Object
from modelcar.errors import UsageError
from tests.support.cluster_objects import GB, IMAGE, NOW, cache, check, copy, deleted, node, pod, report


def planned(now: str = NOW, /, **view: list[Object]) -> Plan:
    """A plan that an API server would take."""
    made = plan(View(**view), now)
    for spec in made.specs.values():
        check(MODEL_NODES, {"spec": spec})
    for status in made.statuses.values():
        check(MODEL_CACHES, {"status": status})
    return made


def images(made: Plan, name: str) -> list[str]:
    return [model["image"] for model in made.specs[name]["models"]]


def reason(status: dict[str, Any], name: str) -> str:
    (found,) = [each.get("reason", "") for each in status["nodes"] if each["node"] == name]
    return str(found)


def test_a_model_goes_to_the_nodes_that_match() -> None:
    made = planned(
        caches=[cache(nodeSelector={"matchLabels": {"gpu": "h200"}}, priority=5, refreshSeconds=600)],
        nodes=[node("a", gpu="h200"), node("b"), node("c", gpu="h200")],
    )
    (model,) = made.specs["a"]["models"]
    assert model == {"image": IMAGE, "priority": 5, "pin": True, "caches": ["llm"], "refreshSeconds": 600}
    assert sorted(made.specs) == ["a", "c"]
    assert made.statuses["llm"]["copies"]["wanted"] == 2


def test_expressions_select_too_and_windows_has_no_models() -> None:
    selector = {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["x"]}]}
    windows = node("w")
    windows["metadata"]["labels"]["kubernetes.io/os"] = "windows"
    made = planned(caches=[cache(nodeSelector=selector)], nodes=[node("a", zone="y"), node("b", zone="x"), windows])
    assert sorted(made.specs) == ["a"]


def test_a_node_that_stops_matching_is_told_to_forget() -> None:
    made = planned(
        caches=[cache(nodeSelector={"matchLabels": {"gpu": "yes"}})],
        nodes=[node("a")],
        model_nodes=[report("a", copy(), placed=({"image": IMAGE, "pin": True},))],
    )
    assert made.specs == {"a": {"models": []}}


def test_what_is_said_of_a_node_that_is_no_more_goes() -> None:
    made = planned(caches=[cache()], nodes=[node("a")], model_nodes=[report("a"), report("gone")])
    assert made.gone == ("gone",)
    assert sorted(made.specs) == ["a"]


def test_two_caches_of_one_image_are_one_model() -> None:
    made = planned(caches=[cache("b", priority=9, pin=False), cache("a", priority=1)], nodes=[node("n")])
    (model,) = made.specs["n"]["models"]
    assert (model["priority"], model["pin"], model["caches"]) == (9, True, ["a", "b"])


def test_copies_are_summed_up() -> None:
    made = planned(
        caches=[cache()],
        nodes=[node("a"), node("b"), node("c"), node("d"), node("e", ready=False)],
        model_nodes=[
            report("a", copy(digest="sha256:" + "a" * 64)),
            report("b", copy("Downloading", done=5 * GB, rate=GB)),
            report("c", copy("Failed", done=0, reason="ghcr.io: unauthorized")),
            report("e", copy()),
        ],
    )
    status = made.statuses["llm"]
    assert status["copies"] == {"wanted": 5, "ready": 1, "downloading": 1, "failed": 1, "pending": 2}
    assert status["summary"] == {"ready": "1/5", "progress": "30%", "size": "10.0 GB"}
    assert (status["phase"], status["size"], status["digest"]) == ("Downloading", 10 * GB, "sha256:" + "a" * 64)
    assert [each["node"] for each in status["nodes"]] == ["c", "b", "d", "e", "a"], "problems come first"
    assert reason(status, "c") == "ghcr.io: unauthorized"
    assert "reported" in reason(status, "d")
    assert "not ready" in reason(status, "e")
    (ready,) = status["conditions"]
    assert (ready["type"], ready["status"], ready["message"]) == ("Ready", "False", "c: ghcr.io: unauthorized")


def test_all_ready_is_ready() -> None:
    made = planned(caches=[cache()], nodes=[node("a")], model_nodes=[report("a", copy())])
    status = made.statuses["llm"]
    assert (status["phase"], status["summary"]["progress"], status["conditions"][0]["status"]) == (
        "Ready",
        "100%",
        "True",
    )


def test_no_node_at_all_is_said() -> None:
    status = planned(caches=[cache()]).statuses["llm"]
    assert (status["phase"], status["conditions"][0]["reason"]) == ("Pending", "NoNodes")


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    first = planned(caches=[cache()], nodes=[node("a")], model_nodes=[report("a", copy("Downloading"))])
    with_status = cache() | {"status": first.statuses["llm"]}
    later = {"caches": [with_status], "nodes": [node("a")]}
    same = planned("2026-02-02T00:00:00Z", **later, model_nodes=[report("a", copy("Downloading", done=GB))])
    assert same.statuses["llm"]["conditions"][0]["lastTransitionTime"] == NOW
    turned = planned("2026-02-02T00:00:00Z", **later, model_nodes=[report("a", copy())])
    assert turned.statuses["llm"]["conditions"][0]["lastTransitionTime"] == "2026-02-02T00:00:00Z"


def test_of_a_thousand_nodes_a_hundred_are_told_of() -> None:
    nodes = [node(f"n{number:04}") for number in range(1000)]
    reports = [report(f"n{number:04}", copy("Failed" if number == 777 else "Ready")) for number in range(1000)]
    status = planned(caches=[cache()], nodes=nodes, model_nodes=reports).statuses["llm"]
    assert (len(status["nodes"]), status["nodesLeftOut"], status["nodes"][0]["node"]) == (100, 900, "n0777")


def test_what_does_not_fit_fails_and_says_what_is_missing() -> None:
    made = planned(
        caches=[cache("small", "r/small:v1", priority=1), cache("big", "r/big:v1")],
        nodes=[node("a", limit="12G")],
        model_nodes=[report("a", copy(image="r/small:v1", size=8 * GB), copy(image="r/big:v1", size=5 * GB))],
    )
    assert images(made, "a") == ["r/small:v1"]
    assert made.specs["a"]["limit"] == 12 * GB
    assert reason(made.statuses["big"], "a") == "needs 5.0 GB, node a has 4.0 GB"
    assert made.statuses["big"]["phase"] == "Failed"


def test_its_size_is_remembered_when_no_node_tells_it_any_more() -> None:
    caches = [cache() | {"status": {"size": 5 * GB}}]
    made = planned(caches=caches, nodes=[node("a", limit="4G")])
    assert images(made, "a") == []
    assert made.statuses["llm"]["size"] == 5 * GB


def test_a_pinned_model_that_is_there_gives_way_to_nobody() -> None:
    placed = ({"image": "r/old:v1", "pin": True},)
    made = planned(
        caches=[cache("old", "r/old:v1"), cache("urgent", "r/urgent:v1", priority=1000)],
        nodes=[node("a", limit="10G")],
        model_nodes=[
            report("a", copy(image="r/old:v1", size=6 * GB), copy(image="r/urgent:v1", size=6 * GB), placed=placed)
        ],
    )
    assert images(made, "a") == ["r/old:v1"]
    assert reason(made.statuses["urgent"], "a") == "needs 6.0 GB, node a has 4.0 GB"


def test_an_unpinned_one_gives_way_to_what_is_more_urgent() -> None:
    placed = ({"image": "r/old:v1", "pin": False},)
    made = planned(
        caches=[cache("old", "r/old:v1", pin=False), cache("urgent", "r/urgent:v1", priority=1000)],
        nodes=[node("a", limit="10G")],
        model_nodes=[
            report("a", copy(image="r/old:v1", size=6 * GB), copy(image="r/urgent:v1", size=6 * GB), placed=placed)
        ],
    )
    assert images(made, "a") == ["r/urgent:v1"]


def test_what_a_shim_reports_as_its_capacity_bounds_too() -> None:
    made = planned(
        caches=[cache() | {"status": {"size": 5 * GB}}], nodes=[node("a")], model_nodes=[report("a", capacity=4 * GB)]
    )
    assert reason(made.statuses["llm"], "a") == "needs 5.0 GB, node a has 4.0 GB"


def test_a_pinned_model_that_turns_out_too_large_was_never_there() -> None:
    placed = ({"image": IMAGE, "pin": True, "mostBytes": 4 * GB},)
    tried = report("a", copy("Failed", size=5 * GB, reason="needs 5.0 GB"), placed=placed)
    made = planned(caches=[cache()], nodes=[node("a", limit="4G")], model_nodes=[tried])
    assert images(made, "a") == []
    assert reason(made.statuses["llm"], "a") == "needs 5.0 GB, node a has 4.0 GB"


def test_under_a_limit_images_of_unknown_size_come_one_by_one_and_bounded() -> None:
    made = planned(
        caches=[cache("a", "r/a:v1", priority=2), cache("b", "r/b:v1", priority=1)], nodes=[node("n", limit="10G")]
    )
    (model,) = made.specs["n"]["models"]
    assert (model["image"], model["mostBytes"]) == ("r/a:v1", 10 * GB)
    assert "r/a:v1" in reason(made.statuses["b"], "n")
    assert made.statuses["b"]["phase"] == "Pending"


def test_a_limit_that_is_none_lets_nothing_new_in() -> None:
    made = planned(caches=[cache()], nodes=[node("n", limit="plenty")])
    assert images(made, "n") == []
    assert "'plenty'" in reason(made.statuses["llm"], "n")


def test_deletion_waits_for_pods_that_use_it_and_names_them() -> None:
    view: dict[str, list[Object]] = {
        "caches": [deleted(cache())],
        "nodes": [node("a")],
        "model_nodes": [report("a", copy())],
        "pods": [pod(f"p{number}", "a") for number in range(7)],
    }
    made = planned(**view)
    assert images(made, "a") == [IMAGE]
    assert made.release == ()
    (held,) = [c for c in made.statuses["llm"]["conditions"] if c["type"] == "DeletionBlocked"]
    assert held["message"].startswith("used by team/p0 on a, ")
    assert held["message"].endswith(" and 2 more")
    assert made.statuses["llm"]["phase"] == "Deleting"
    made = planned(**{**view, "pods": [pod("done", "a", phase="Succeeded"), pod("elsewhere", "other-node")]})
    assert (images(made, "a"), made.release) == ([], ("llm",))


def test_while_nobody_knows_the_pods_nothing_is_let_go() -> None:
    made = plan(View(caches=[deleted(cache())], nodes=[node("a")]), NOW)
    assert made.release == ()
    assert images(made, "a") == [IMAGE]


@pytest.mark.parametrize(
    ("text", "value"), [("500Gi", 500 << 30), ("1.5T", 15 * 10**11), ("2e12", 2 * 10**12), ("0", 0), ("3k", 3000)]
)
def test_quantities(text: str, value: int) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "-1", "5 GB", "1e99", "Gi", "NaN", "1" * 400])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(UsageError):
        quantity(text)


def test_a_new_cache_is_to_get_our_finalizer_and_others_of_it_stay() -> None:
    held = cache("held")
    held["metadata"]["finalizers"] = ["modelcar.dev/in-use", "other"]
    assert planned(caches=[held, cache("new")]).hold == ("new",)


_Spoil = Callable[[Object], object]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("status"),
        lambda r: r["status"].update(models=None),
        lambda r: r["status"]["models"].append({"image": IMAGE}),
        lambda r: r["status"]["models"].append({"image": IMAGE, "phase": "Strange"}),
    ],
)
def test_a_node_that_reports_nonsense_is_pending(spoil: _Spoil) -> None:
    strange = report("a")
    spoil(strange)
    assert planned(caches=[cache()], nodes=[node("a")], model_nodes=[strange]).statuses["llm"]["phase"] == "Pending"
