"""Rounds of the agent, over a cluster in memory and a shim that says what it is told to."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelcar.cluster.resources import EVENTS, MODEL_NODES, NODES, PODS, SECRETS, Object, Resource
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterUnreachable, WorldError
from modelcar.oci import Reference
from modelcar.registry.credentials import Credentials
from modelcar.serving.config.reading import load
from registry_shim.cluster.agent import LIST_NAME, LOGINS_NAME, Agent, AgentSettings
from registry_shim.cluster.progress import events
from registry_shim.cluster.seen import look
from registry_shim.cluster.telling import Events, Labels
from registry_shim.precache.settings import PrecacheList
from tests.support.cluster_objects import GB, IMAGE, check, node
from tests.unit.shim.cluster.told import DIGEST, SIDECAR, Told, entry, image, pod

SECRET = {"namespace": "pull-secrets", "name": "ghcr"}


def model_node(*models: Object) -> Object:
    return {"metadata": {"name": "a"}, "spec": {"models": list(models)}}


def secret(password: str) -> Object:
    auth = base64.b64encode(f"robot:{password}".encode()).decode()
    content = json.dumps({"auths": {"ghcr.io/acme": {"auth": auth}, "other.example": {"auth": auth}}}).encode()
    return {
        "metadata": {"name": "ghcr", "namespace": "pull-secrets"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(content).decode()},
    }


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Machine:
    """A node with an agent on it."""

    def __init__(self, root: Path, *models: Object) -> None:
        self.root = root
        self.clock = Clock()
        self.shim = Told()
        self.cluster = MemoryCluster((NODES, node("a")), (MODEL_NODES, model_node(*models)))
        self.cluster.check = check
        self.agent: Agent

    def start(self) -> None:
        self.agent = Agent(self.cluster, self, AgentSettings(node="a", root=self.root), self.clock)
        self.agent.start()

    def get(self, path: str, **query: str) -> dict[str, Any]:
        return self.shim.get(path, **query)

    def until(self, holds: Callable[[], bool]) -> None:
        """Rounds until it is so: what is followed arrives when it does."""
        end = time.monotonic() + 30
        while True:
            self.agent.round()
            if holds():
                return
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.01)

    def schedule(self, one: Object) -> None:
        """As an API server would, which begins with a status of its own."""
        self.cluster.create(PODS, one)
        name, namespace = one["metadata"]["name"], one["metadata"]["namespace"]
        self.cluster.patch(PODS, name, {"status": one["status"]}, namespace, subresource="status")

    @property
    def listed(self) -> list[tuple[str, int, bool]]:
        path = self.root / "precache.d" / LIST_NAME
        if not path.exists():
            return []
        return [(i.reference, i.priority, i.pin) for i in load(path.read_text(), PrecacheList, name=LIST_NAME).images]

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get(MODEL_NODES, "a").get("status", {})
        return found

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.cluster.get(NODES, "a")["metadata"]["labels"]
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, {"image": IMAGE, "priority": 5, "pin": True, "refreshSeconds": 600, "mostBytes": 9 * GB})
    made.start()
    yield made
    made.agent.close()


def test_what_is_wanted_becomes_a_list_that_the_shim_reads(machine: Machine) -> None:
    machine.until(lambda: machine.listed == [(IMAGE, 5, True)])
    path = machine.root / "precache.d" / LIST_NAME
    (read,) = load(path.read_text(), PrecacheList, name=LIST_NAME).images
    assert (read.refresh, read.most) == (600.0, 9 * GB)
    written = path.stat().st_mtime_ns
    machine.agent.round()
    assert path.stat().st_mtime_ns == written, "what has not changed is not written"
    machine.cluster.patch(MODEL_NODES, "a", {"spec": {"models": []}})
    machine.until(lambda: machine.listed == [])


def test_names_that_are_none_spoil_nothing(machine: Machine) -> None:
    models = [{"image": "Not An Image"}, {"image": IMAGE}, {"image": f"{IMAGE}"}]
    machine.cluster.patch(MODEL_NODES, "a", {"spec": {"models": models}})
    machine.until(lambda: machine.listed == [(IMAGE, 0, False)])
    machine.until(lambda: machine.status.get("models", [{}])[0].get("phase") == "Failed")


def test_how_far_it_is_is_told_and_nothing_twice(machine: Machine) -> None:
    machine.shim = Told(entry("fetching", done=3 * GB))
    machine.until(lambda: machine.status.get("models", [{}])[0].get("done") == 3 * GB)
    machine.cluster.requests.clear()
    for _ in range(5):
        machine.agent.round()
    assert [r for r in machine.cluster.requests if r[0] == "patch"] == []
    machine.shim = Told(entry("ready"), images=(image(),))
    machine.until(lambda: machine.status["summary"]["ready"] == "1/1")


def test_while_the_api_server_is_away_the_node_keeps_its_work(machine: Machine) -> None:
    machine.until(lambda: machine.listed != [])

    def away(*_: object) -> None:
        raise ClusterUnreachable("the API server does not answer", status=503)

    machine.cluster.before = away
    machine.shim = Told(entry("ready"), images=(image(),))
    for _ in range(3):
        machine.agent.round()
    assert machine.listed == [(IMAGE, 5, True)]
    machine.cluster.before = lambda *_: None
    machine.until(lambda: machine.status.get("summary", {}).get("ready") == "1/1")


def test_an_agent_that_never_reached_the_cluster_leaves_the_list_of_the_one_before(tmp_path: Path) -> None:
    lists = tmp_path / "precache.d"
    lists.mkdir()
    (lists / LIST_NAME).write_text(json.dumps({"images": [{"reference": IMAGE}]}))
    machine = Machine(tmp_path)

    def away(*_: object) -> None:
        raise ClusterUnreachable("the API server does not answer", status=503)

    machine.cluster.before = away
    machine.start()
    for _ in range(3):
        machine.agent.round()
    machine.agent.close()
    assert [name for name, _, _ in machine.listed] == [IMAGE]


def test_a_shim_that_is_away_is_a_problem_until_it_is_back(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.shim = Told(entry("ready"), images=(image(),))
    machine.until(lambda: machine.status.get("summary", {}).get("ready") == "1/1")
    there, error = machine.shim, WorldError("no shim runs over /var/lib/registry-shim")

    class Away(Told):
        def get(self, path: str, **_: str) -> dict[str, Any]:
            raise error

    machine.shim = Away()
    machine.until(lambda: "no shim runs" in machine.status.get("problem", ""))
    assert machine.status["models"][0]["phase"] == "Ready", "what was there is not gone"
    machine.shim = there
    machine.until(lambda: "problem" not in machine.status)


def test_logins_are_for_their_repository_alone_and_follow_the_secret(machine: Machine) -> None:
    machine.cluster.create(SECRETS, secret("first"))
    machine.cluster.patch(MODEL_NODES, "a", {"spec": {"models": [{"image": IMAGE, "pullSecret": SECRET}]}})
    path = machine.root / LOGINS_NAME

    def password(reference: str) -> str | None:
        wanted = Reference.parse(reference)
        login = Credentials([path]).find(wanted.registry, wanted.repository)
        return login.password if login else None

    machine.until(lambda: path.exists() and password(IMAGE) == "first")
    assert path.stat().st_mode & 0o777 == 0o600
    assert password("ghcr.io/acme/another:v1") is None
    assert password("other.example/x:v1") is None
    machine.cluster.replace(SECRETS, secret("second"))
    machine.agent.round()
    assert password(IMAGE) == "first", "it is not asked for at every round"
    machine.clock.now += 301
    machine.agent.round()
    assert password(IMAGE) == "second"
    machine.cluster.patch(MODEL_NODES, "a", {"spec": {"models": []}})
    machine.until(lambda: password(IMAGE) is None)


def test_a_secret_that_is_missing_is_said_and_nothing_of_one_that_is_there(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.shim = Told(entry("failed", error="unauthorized"))
    machine.cluster.patch(MODEL_NODES, "a", {"spec": {"models": [{"image": IMAGE, "pullSecret": SECRET}]}})
    machine.until(lambda: "no pull secret pull-secrets/ghcr" in str(machine.status.get("models")))
    broken = secret("hidden-password") | {"data": {".dockerconfigjson": base64.b64encode(b"hidden-password").decode()}}
    machine.cluster.create(SECRETS, broken)
    machine.until(lambda: "no JSON object" in str(machine.status.get("models")))
    assert "hidden-password" not in f"{machine.status}{caplog.text}"


def test_the_node_is_labelled_and_a_label_that_somebody_took_comes_back(machine: Machine) -> None:
    key = "models.modelcar.dev/" + DIGEST.partition(":")[2][:40]
    machine.shim = Told(entry("ready"), images=(image(),))
    machine.until(lambda: machine.labels.get(key) == "ready")
    machine.cluster.patch(NODES, "a", {"metadata": {"labels": {key: None, "theirs": "stays"}}})
    machine.clock.now += 61
    machine.until(lambda: machine.labels.get(key) == "ready")
    machine.shim = Told()
    machine.clock.now += 61
    machine.until(lambda: key not in machine.labels)
    assert machine.labels["theirs"] == "stays"


def test_pods_that_wait_get_one_event_that_changes(machine: Machine) -> None:
    machine.schedule(pod(SIDECAR))
    machine.shim = Told(images=(image(size=2 * GB, whole=False),))

    def told() -> list[tuple[str, str, int]]:
        items = machine.cluster.list(EVENTS, "team").items
        return [(each["reason"], each["message"].split(": ")[-1], each["count"]) for each in items]

    machine.until(lambda: told() == [("ModelPulling", "20 % (2.0 of 10.0 GB)", 1)])
    machine.shim = Told(images=(image(size=5 * GB, whole=False),))
    machine.agent.round()
    assert told()[0][2] == 1, "not every step is told at once"
    machine.clock.now += 16
    machine.agent.round()
    assert told() == [("ModelPulling", "50 % (5.0 of 10.0 GB)", 2)]
    machine.shim = Told(images=(image(),))
    machine.agent.round()
    assert sorted(reason for reason, _, _ in told()) == ["ModelPulling", "ModelReady"]
    machine.cluster.patch(PODS, "server-0", {"status": {"phase": "Running"}}, "team", subresource="status")
    machine.until(lambda: machine.agent._pods.objects() == [])


def test_an_agent_that_starts_anew_goes_on_with_the_events_that_are_there() -> None:
    cluster, clock = MemoryCluster(), Clock()
    for size in (2 * GB, 3 * GB):
        Events(cluster, "a", clock).tell(events([pod(SIDECAR)], look(Told(images=(image(size=size, whole=False),)))))
    (one,) = cluster.list(EVENTS, "team").items
    assert "30 %" in one["message"]


def test_a_thousand_pods_do_not_drown_the_api_server() -> None:
    cluster, clock = MemoryCluster(), Clock()
    pods = [pod(SIDECAR) for _ in range(100)]
    for number, each in enumerate(pods):
        each["metadata"] |= {"name": f"p{number}", "uid": f"u{number}"}
    teller = Events(cluster, "a", clock)
    told = events(pods, look(Told(images=(image(),))))
    teller.tell(told)
    assert len(cluster.requests) == 20
    for _ in range(10):
        teller.tell(told)
    assert len(cluster.list(EVENTS).items) == 100


def test_labels_are_written_with_a_pause_between() -> None:
    cluster, clock = MemoryCluster((NODES, node("a"))), Clock()
    labels = Labels(cluster, "a", clock)
    for number in range(5):
        shown = image(f"sha256:{number:02}{'0' * 62}")
        labels.tell(look(Told(images=(shown,))).images, set())
    assert [method for method, _, _ in cluster.requests] == ["get", "patch"]


def test_faults_of_one_part_leave_the_others(machine: Machine) -> None:
    def fail(method: str, resource: Resource, _name: str) -> None:
        if resource == NODES:
            raise ClusterUnreachable("nodes cannot be read", status=503)

    machine.cluster.before = fail
    machine.schedule(pod(SIDECAR))
    machine.shim = Told(entry("ready"), images=(image(),))
    machine.until(lambda: bool(machine.cluster.list(EVENTS, "team").items))
    assert machine.status["summary"]["ready"] == "1/1"
