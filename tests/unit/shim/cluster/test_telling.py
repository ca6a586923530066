"""What a look at the shim becomes: statuses, labels and events. All of it pure."""

from __future__ import annotations

from typing import Any

import pytest

from modelcar.admission.names import node_label
from modelcar.cluster.resources import MODEL_NODES, Object
from modelcar.errors import NotFound, WorldError
from registry_shim.cluster.labels import MOST, changes
from registry_shim.cluster.progress import event, events, models_awaited
from registry_shim.cluster.report import differs, report
from registry_shim.cluster.seen import Sight, look
from tests.support.cluster_objects import GB, IMAGE, check
from tests.unit.shim.cluster.told import DIGEST, SIDECAR, Told, entry, image, pod


def blob(rate: int, origin: str = "ghcr.io/acme/llm") -> Object:
    return {"rate": rate, "origins": [origin]}


def seen(*entries: Object, **more: tuple[Object, ...]) -> Sight:
    sight = look(Told(*entries, **more))
    assert sight.problem is None
    return sight


def model_node(*models: str, **status: Any) -> Object:
    spec = {"models": [{"image": each, "pin": True} for each in models or (IMAGE,)]}
    return {"metadata": {"name": "a", "uid": "u", "generation": 3}, "spec": spec, "status": status}


def told(node: Object, sight: Sight, problem: str | None = None) -> dict[str, Any]:
    status = report(node, sight, {IMAGE: problem} if problem else {})
    check(MODEL_NODES, {"status": status})
    return status


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        ("queued", "Pending"),
        ("resolving", "Pending"),
        ("fetching", "Downloading"),
        ("checking", "Downloading"),
        ("importing", "Downloading"),
        ("ready", "Ready"),
        ("evicted", "Failed"),
        ("refused", "Failed"),
        ("failed", "Failed"),
        ("a phase of a later version", "Pending"),
    ],
)
def test_phases(phase: str, says: str) -> None:
    assert told(model_node(), seen(entry(phase)))["models"][0]["phase"] == says


def test_a_download_is_told_in_whole_percent() -> None:
    status = told(model_node(), seen(entry("fetching", done=4 * GB + 49_000_000, rate=1.1e9)))
    (model,) = status["models"]
    assert (model["done"], model["size"], model["rate"]) == (4 * GB, 10 * GB, 1_100_000_000)
    assert status["summary"] == {"ready": "0/1", "used": "40.0 GB of 100 GB"}
    assert status["observedGeneration"] == 3
    later = told(model_node(), seen(entry("fetching", done=4 * GB + 60_000_000, rate=2e9)))
    assert not differs(status, later), "a few bytes and another rate are no news"
    assert differs(status, told(model_node(), seen(entry("fetching", done=5 * GB))))


def test_a_failure_has_its_reason_and_what_to_do() -> None:
    (model,) = told(model_node(), seen(entry("failed", error="ghcr.io: unauthorized", hint="log in")))["models"]
    assert model["reason"] == "ghcr.io: unauthorized (log in)"


def test_what_the_shim_does_not_know_yet_is_pending_and_keeps_its_size() -> None:
    before = model_node(models=[{"image": IMAGE, "phase": "Ready", "size": 7}])
    (model,) = told(before, seen(entry("queued", total=0)))["models"]
    assert model["size"] == 7
    assert told(model_node(), seen())["models"] == [{"image": IMAGE, "phase": "Pending"}]


def test_the_size_of_what_is_ready_is_known_after_a_restart_of_the_shim() -> None:
    (model,) = told(model_node(), seen(entry("ready", total=0), images=(image(),)))["models"]
    assert (model["done"], model["size"]) == (10 * GB, 10 * GB)


def test_a_pull_secret_that_fails_is_said_until_the_image_is_there() -> None:
    (model,) = told(model_node(), seen(entry("failed", error="unauthorized")), problem="no pull secret a/b")["models"]
    assert model["reason"] == "no pull secret a/b; unauthorized"
    (model,) = told(model_node(), seen(entry("ready")), problem="no pull secret a/b")["models"]
    assert "reason" not in model


def test_what_is_no_image_fails_alone() -> None:
    status = told(model_node("UPPER CASE", IMAGE), seen(entry("ready")))
    assert [model["phase"] for model in status["models"]] == ["Failed", "Ready"]


def test_free_space_that_trembles_is_no_news() -> None:
    node = model_node(capacity=100 * GB, used=40 * GB)
    shim = Told(entry())
    shim.status["space"]["disk"]["free"] = 60 * GB - 900_000_000
    assert told(node, look(shim))["capacity"] == 100 * GB
    shim.status["space"]["disk"]["free"] = 50 * GB
    assert told(node, look(shim))["capacity"] == 90 * GB


@pytest.mark.parametrize(
    "error",
    [WorldError("no shim runs over /var/lib/registry-shim"), NotFound("/api/v1/status is not part of this API")],
)
def test_a_shim_that_is_away_leaves_what_was_known(error: Exception) -> None:
    class Away:
        def get(self, path: str, **_: str) -> dict[str, Any]:
            raise error

    before = told(model_node(), seen(entry("ready")))
    after = told(model_node(**before), look(Away()))
    assert str(error) in after["problem"]
    assert (after["models"], after["capacity"]) == (before["models"], before["capacity"])


@pytest.mark.parametrize("strange", [{}, {"space": None}, {"space": {}, "blobs": 3}])
def test_a_shim_of_another_version_is_a_problem_and_no_crash(strange: dict[str, Any]) -> None:
    class Strange:
        def get(self, path: str, **_: str) -> dict[str, Any]:
            return strange

    assert "version" in str(look(Strange()).problem)


# Labels


def test_labels_say_what_is_whole_and_may_be_served() -> None:
    refused = {"state": "refused", "served": False, "reasons": ["pickle"]}
    sight = seen(
        images=(
            image(),
            image("sha256:" + "cd" * 32, "r/partial:v1", whole=False),
            image("sha256:" + "ef" * 32, "r/refused:v1", verdict=refused),
        )
    )
    key = "models.modelcar.dev/" + ("ab" * 32)[:40]
    old = "models.modelcar.dev/" + "00" * 20
    labels = {"kubernetes.io/os": "linux", old: "ready"}
    assert changes(labels, sight.images, set()) == {key: "ready", old: None}
    assert changes({key: "ready"}, sight.images, set()) == {}
    assert len(key.split("/")[1]) <= 63


def test_labels_are_bounded_and_the_oldest_goes_first_but_never_what_is_wanted() -> None:
    digests = [f"sha256:{number:02}{'0' * 62}" for number in range(MOST + 5)]
    many = tuple(image(digest, f"r/m{n}:v1", used=float(n)) for n, digest in enumerate(digests))
    made = changes({}, seen(images=many).images, {digests[0]})
    assert set(made) == {node_label(digest) for digest in (digests[0], *digests[6:])}


# Events


def said(one: Object, sight: Sight) -> list[tuple[str, str]]:
    return [(each.reason, each.message) for each in events([one], sight)]


def test_a_pod_that_waits_is_told_how_far_its_model_is() -> None:
    part = image(size=3_500_000_000, whole=False)
    sight = seen(images=(part,), blobs=(blob(700_000_000), blob(400_000_000), blob(9, "ghcr.io/other")))
    assert said(pod(SIDECAR), sight) == [("ModelPulling", f"{IMAGE}: 35 % (3.5 of 10.0 GB, 1.1 GB/s)")]


def test_it_is_told_when_it_is_there_and_why_it_never_will_be() -> None:
    assert said(pod(SIDECAR), seen(images=(image(),))) == [("ModelReady", f"{IMAGE} is on this node (10.0 GB)")]
    refused = {"state": "refused", "served": False, "reasons": ["it holds a pickle that calls os.system"]}
    ((reason, message),) = said(pod(SIDECAR), seen(images=(image(verdict=refused),)))
    assert (reason, "os.system" in message) == ("ModelFailed", True)
    ((reason, message),) = said(pod(SIDECAR), seen(entry("failed", error="ghcr.io: unauthorized")))
    assert (reason, message) == ("ModelFailed", f"{IMAGE}: ghcr.io: unauthorized")


def test_a_pinned_digest_finds_its_image() -> None:
    pinned = {"name": "modelcar-model", "image": f"ghcr.io/acme/llm@{DIGEST}"}
    assert said(pod(pinned), seen(images=(image(),)))[0][0] == "ModelReady"
    other = {"name": "modelcar-model", "image": "ghcr.io/acme/llm@sha256:" + "0" * 64}
    assert said(pod(other), seen(images=(image(),))) == []


def test_only_models_are_told_of_and_each_once() -> None:
    check_too = {"name": "modelcar-check-model", "image": IMAGE}
    volume = {"name": "modelcar-adapter", "image": {"reference": "r/adapter:v1"}}
    other = {"name": "proxy", "image": "envoy:v1"}
    assert list(models_awaited(pod(SIDECAR, check_too, other, volumes=(volume,)))) == [IMAGE, "r/adapter:v1"]


@pytest.mark.parametrize(
    "one",
    [
        pod(SIDECAR, phase="Running"),
        pod(SIDECAR, initContainerStatuses=[{"name": "modelcar-model", "state": {"running": {}}}]),
        {"metadata": {}, "spec": {"containers": None, "volumes": "x"}, "status": {}},
        {"metadata": None, "spec": None},
    ],
)
def test_pods_that_have_it_or_ask_for_none_are_left_alone(one: Object) -> None:
    assert list(models_awaited(one)) == []


def test_an_event_is_one_that_kubernetes_takes() -> None:
    (told_now,) = events([pod(SIDECAR)], seen(images=(image(),)))
    made = event(told_now, "a", 1, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")
    import kubernetes_validate

    kubernetes_validate.validate(made, "1.36", strict=True)
    assert made["metadata"]["namespace"] == "team"
    assert len(made["metadata"]["name"]) <= 253


def test_the_same_reason_is_the_same_event_and_another_pod_another() -> None:
    sight = seen(images=(image(),))
    (one,), (again,) = events([pod(SIDECAR)], sight), events([pod(SIDECAR)], sight)
    stranger = pod(SIDECAR)
    stranger["metadata"]["uid"] = "uid-2"
    (other,) = events([stranger], sight)
    assert one.name == again.name
    assert one.name != other.name
