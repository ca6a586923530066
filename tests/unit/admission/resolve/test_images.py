"""Facts about images at a registry: right, in time, and for those alone who may know."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.admission.admit import Caller
from modelcar.admission.facts import ImageFact, Publisher, User
from modelcar.admission.resolve import PullSecret
from modelcar.admission.resolve import images as module
from modelcar.admission.server.settings import WebhookSettings
from modelcar.errors import Unreachable
from modelcar.oci import Digest
from modelcar.packaging.annotations import LAYER
from modelcar.registry import ClientSettings
from tests.support.scripted_registry import DROP, Default, Reply, Request, changed, cut_after, error
from tests.support.tars import make_tar

from .conftest import PASSWD, Asker, Stocked

pytestmark = pytest.mark.slow

ALICE = Caller(namespace="ml", owner="11111111-alice")
BOB = Caller(namespace="other")
Asking = Callable[..., Asker]


# Who runs an image


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("vllm", User(uid=2000, gid=2001)),
        ("2000:7", User(uid=2000, gid=2001)),
        ("1000:1000", User(uid=1000, gid=0)),
        ("", User(uid=0, gid=0)),
    ],
)
def test_who_runs_a_server(registry: Stocked, ask: Asker, user: str, expected: User) -> None:
    image, digest = registry.put(layers=({"etc/passwd": PASSWD}, {"app": b"x"}), User=user)
    fact = ask.server(image)
    assert (fact.digest, fact.user, fact.problem) == (digest, expected, None)


def test_groups_are_those_of_passwd(registry: Stocked, ask: Asker) -> None:
    fact = ask.server(registry.put(User="vllm")[0])
    assert fact.groups == {0: 0, 2000: 2001}
    assert fact.run_as(2000, None) == User(uid=2000, gid=2001)
    assert fact.run_as(3000, None) == User(uid=3000, gid=0)
    assert fact.run_as(None, 5) == User(uid=2000, gid=5)


def test_a_user_that_passwd_does_not_know_is_a_problem(registry: Stocked, ask: Asker) -> None:
    fact = ask.server(registry.put(User="nobody")[0])
    assert fact.user is None
    assert fact.problem == ("who runs it is not known: its USER is 'nobody', whom its /etc/passwd does not know")
    assert fact.run_as(2000, None) == User(uid=2000, gid=2001)


def test_platforms_that_agree_are_one(registry: Stocked, ask: Asker) -> None:
    users = {"linux/arm64": "vllm", "linux/amd64": "vllm", "linux/s390x": "root", "unknown/unknown": "root"}
    assert ask.server(registry.put_index("org/server:v1", users)[0]).user == User(uid=2000, gid=2001)


def test_platforms_that_disagree_are_a_problem(registry: Stocked, ask: Asker) -> None:
    fact = ask.server(registry.put_index("org/server:v1", {"linux/arm64": "root", "linux/amd64": "vllm"})[0])
    assert fact.user is None
    assert fact.problem == "who runs it is not known: its platforms have different USERs, 'vllm' and 'root'"


def test_another_linux_will_do_where_there_is_no_better(registry: Stocked, ask: Asker) -> None:
    image, _ = registry.put_index("org/server:v1", {"windows/amd64": "root", "linux/s390x": "vllm"})
    assert ask.server(image).user == User(uid=2000, gid=2001)
    assert "no image for Linux" in str(ask.server(registry.put_index("org/w:v1", {"windows/amd64": "x"})[0]).problem)


def test_what_the_pod_says_itself_is_not_looked_for(registry: Stocked, ask: Asker) -> None:
    image, digest = registry.put(User="vllm")
    fact = ask.server(image, security={"runAsUser": 1, "runAsGroup": 1})
    assert fact == ImageFact(digest=digest)
    assert registry.requests("GET", "/blobs/") == []


def test_a_pinned_image_of_which_nothing_is_needed_is_not_asked_for(registry: Stocked, ask: Asker) -> None:
    digest = Digest.of(b"anything")
    image = f"{registry.name}/org/server:v1@{digest}"
    assert ask.server(image, security={"runAsUser": 1, "runAsGroup": 1}) == ImageFact(digest=digest)
    assert registry.seen == []


def test_of_a_large_image_only_what_matters_is_read(registry: Stocked, ask: Asker) -> None:
    large = make_tar({"app/main": b"x", "usr/lib/weights": bytes(20 << 20)})
    image, _ = registry.put(layers=({"etc/passwd": PASSWD}, large), User="vllm")
    registry.on("GET", str(Digest.of(large)), cut_after(1 << 20))  # what is behind that cannot have been asked for
    assert ask.server(image).user == User(uid=2000, gid=2001)


# What a model can do


def test_our_models_have_a_holder(registry: Stocked, ask: Asker) -> None:
    by_entrypoint, _ = registry.put("org/a:v1", Entrypoint=["/.modelcar/holder"], User="65532:65532")
    by_layer, _ = registry.put("org/b:v1", layers=({"models/a": b"x"}, {"x": b""}), annotations=[{}, {LAYER: "holder"}])
    for image in (by_entrypoint, by_layer):
        fact = ask.model(image)
        assert (fact.publisher, fact.problem, fact.user) == (Publisher.HOLDER, None, None)


@pytest.mark.parametrize(
    ("files", "runtime", "publisher"),
    [
        ({"models/a": b"x", "bin/busybox": b"x"}, {}, Publisher.SHELL),
        ({"models/a": b"x", "usr/bin/sh": b"x"}, {}, Publisher.SHELL),
        ({"models/a": b"x"}, {"Cmd": ["sh"]}, Publisher.SHELL),
        ({"models/a": b"x"}, {"Entrypoint": ["/bin/busybox"], "Cmd": ["sleep", "infinity"]}, Publisher.SHELL),
        ({"models/a": b"x"}, {}, Publisher.NOTHING),
        ({"models/a": b"x"}, {"Entrypoint": ["/server"]}, Publisher.NOTHING),
        ({"models/bin/sh": b"x"}, {"Cmd": None}, Publisher.NOTHING),
    ],
)
def test_models_of_others_have_a_shell_or_nothing(
    registry: Stocked, ask: Asker, files: dict[str, bytes], runtime: dict[str, Any], publisher: Publisher
) -> None:
    assert ask.model(registry.put("org/model:v1", layers=(files,), **runtime)[0]).publisher == publisher


def test_weights_are_not_looked_through_for_a_shell(registry: Stocked, ask: Asker) -> None:
    weights = make_tar({"models/a": b"weights"})
    image, _ = registry.put("org/m:v1", layers=(weights, {"x": b""}), annotations=[{LAYER: "weights"}])
    assert ask.model(image).publisher is Publisher.NOTHING
    assert registry.requests("GET", str(Digest.of(weights))) == []


def test_what_is_no_container_image_is_said(registry: Stocked, ask: Asker) -> None:
    image, digest = registry.put("org/m:v1")
    kind, content = registry.manifests["org/m", "v1"]
    document = json.loads(content)
    document["config"]["mediaType"] = "application/vnd.cncf.model.config.v1+json"
    raw = json.dumps(document).encode()
    registry.manifests["org/m", "v1"] = registry.manifests["org/m", str(Digest.of(raw))] = (kind, raw)
    fact = ask.model(image)
    assert fact.digest not in (None, digest)
    assert "it is no container image: its config is application/vnd.cncf.model" in str(fact.problem)


# What is remembered


def test_a_second_pod_asks_nobody(registry: Stocked, ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = registry.put(User="vllm")
    first, seen = ask.server(image), len(registry.seen)
    monkeypatch.setattr(threading, "Thread", None)  # nor does it start one
    assert ask.server(image) == first
    assert len(registry.seen) == seen


def test_what_is_known_of_a_digest_is_known_under_every_name(registry: Stocked, ask: Asker) -> None:
    image, digest = registry.put("org/server:v1", User="vllm")
    registry.manifests["copy/server", "v2"] = registry.manifests["copy/server", str(digest)] = registry.manifests[
        "org/server", "v1"
    ]
    ask.server(image)
    blobs = len(registry.requests("GET"))
    assert ask.server(f"{registry.name}/copy/server:v2").user == User(uid=2000, gid=2001)
    assert len(registry.requests("GET")) == blobs


def test_a_tag_that_moves_is_seen_once_its_time_is_up(registry: Stocked, asking: Asking) -> None:
    ask = asking(remember_seconds=0.05)
    image, old = registry.put(User="vllm")
    assert ask.server(image).digest == old
    _, new = registry.put(User="root")
    time.sleep(0.06)
    assert ask.server(image).digest == new


def test_replicas_agree_on_a_tag_that_moves(registry: Stocked, asking: Asking) -> None:
    ask = asking(remember_seconds=0.01)
    image, old = registry.put(User="vllm")
    assert ask.server(image, caller=ALICE).digest == old
    _, new = registry.put(User="root")
    time.sleep(0.02)
    assert ask.server(image, caller=ALICE) == replace(ask.server(f"{image}@{old}"), digest=old)
    assert ask.server(image, caller=replace(ALICE, owner="22222222-alice")).digest == new
    assert ask.server(image, caller=BOB).digest == new
    assert ask.server(image, caller=replace(ALICE, namespace="other")).digest == new  # owners can be made up


def test_a_crowd_asks_once(registry: Stocked, ask: Asker) -> None:
    image, _ = registry.put(User="vllm")
    registry.on("HEAD", "/manifests/", changed(stall=0.3))
    facts: list[ImageFact] = []
    crowd = [threading.Thread(target=lambda: facts.append(ask.server(image, caller=ALICE))) for _ in range(20)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(20)
    assert len(facts) == 20
    assert len(set(map(str, facts))) == 1
    assert len(registry.requests("HEAD", "/manifests/")) == 1


# Registries that misbehave


def test_an_image_that_is_not_there_is_a_problem_for_a_moment(registry: Stocked, ask: Asker) -> None:
    image = f"{registry.name}/org/server:v1"
    fact = ask.server(image)
    assert fact.digest is None
    assert "404" in str(fact.problem)
    asked = len(registry.seen)
    ask.server(image)
    assert len(registry.seen) == asked


def test_a_registry_that_does_not_answer_is_waited_for_no_longer_than_allowed(
    registry: Stocked, asking: Asking
) -> None:
    ask = asking(seconds=0.3)
    image, _ = registry.put(User="vllm")
    registry.on("HEAD", "/manifests/", Reply(200, stall=30), times=100)
    registry.on("GET", "/manifests/", Reply(200, stall=30), times=100)
    fact = ask.server(image)
    assert fact == ImageFact(problem="there was no answer in time")


def test_one_dead_registry_does_not_hide_what_others_say(registry: Stocked, asking: Asking) -> None:
    from modelcar.admission.asked import Asked
    from modelcar.admission.settings import AdmissionSettings, TrustSettings

    from .conftest import model, pod

    ask, dead = asking(), Stocked()
    image, digest = registry.put("org/model:v1", Entrypoint=["/.modelcar/holder"])
    away, _ = dead.put(User="vllm")
    dead.on("HEAD", "/", Reply(200, stall=30), times=100)
    asked = Asked(models=(model(image),), images=(away, image))
    settings = AdmissionSettings(trust=TrustSettings(seconds=3))
    facts = ask.images.facts(pod(away), asked, BOB, settings)
    dead.close()
    assert facts[image] == ImageFact(digest=digest, publisher=Publisher.HOLDER)
    assert facts[away] == ImageFact(problem="there was no answer in time")


def test_what_came_too_late_is_there_for_the_next_one(registry: Stocked, asking: Asking) -> None:
    patient, hasty, late = asking(), asking(seconds=2), threading.Event()
    image, digest = registry.put(User="vllm")
    layer = str(Digest.of(make_tar({"etc/passwd": PASSWD})))

    def wait(_: Request, default: Default) -> Reply:
        late.wait(60)
        return default()

    registry.on("GET", layer, wait)
    first = hasty.server(image)
    late.set()
    assert (first.digest, first.user) == (digest, None)
    assert first.problem == "who runs it is not known: there was no answer in time"
    deadline = time.monotonic() + 60
    while hasty.server(image).user is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert hasty.server(image).user == patient.server(image).user == User(uid=2000, gid=2001)
    assert len(registry.requests("GET", layer)) == 2  # one for each of the two resolvers


@pytest.mark.parametrize(
    ("method", "path", "fault"),
    [
        ("HEAD", "/manifests/", changed(headers={"Docker-Content-Digest": "sha256:nonsense"})),
        ("GET", "/manifests/", changed(body=b"{}")),
        ("GET", "/manifests/", changed(body=b"x" * (5 << 20))),
        ("GET", "/blobs/", changed(body=b"{}")),
        ("GET", "/blobs/", Reply(500)),
        ("GET", "/blobs/", Reply(DROP)),
        ("GET", "/blobs/", error(403, "DENIED", "no")),
    ],
)
def test_a_registry_that_lies_or_breaks_is_a_problem_and_never_a_fact(
    registry: Stocked, ask: Asker, method: str, path: str, fault: Reply
) -> None:
    image, _ = registry.put(User="vllm")
    registry.on(method, path, fault, times=100)
    fact = ask.server(image)
    assert (fact.user, fact.groups) == (None, None)
    assert fact.problem
    assert "\n" not in fact.problem


def test_what_a_person_mistyped_is_told(ask: Asker) -> None:
    fact = ask.server("Not An Image")
    assert "not an image reference" in str(fact.problem)
    assert fact.trust is None


# Private images


class Vault:
    """Pull secrets of two namespaces."""

    def __init__(self, **secrets: PullSecret) -> None:
        self.secrets = secrets
        self.asked: list[tuple[str, tuple[str, ...], str]] = []
        self.failure: Exception | None = None

    def for_pod(self, namespace: str, names: tuple[str, ...], service_account: str) -> tuple[PullSecret, ...]:
        self.asked.append((namespace, names, service_account))
        if self.failure is not None:
            raise self.failure
        return (self.secrets[namespace],) if namespace in self.secrets else ()


def login(registry: Stocked, user: str, password: str) -> PullSecret:
    content = {"auths": {registry.name: {"username": user, "password": password}}}
    return PullSecret(
        name="pull", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": json.dumps(content).encode()}
    )


def lock(registry: Stocked) -> None:
    """From now on the registry is for one account alone."""
    wanted = "Basic " + base64.b64encode(b"alice:sesame").decode()

    def guard(request: Request) -> Reply | None:
        if request.headers.get("Authorization") == wanted:
            return None
        return replace(error(401, "UNAUTHORIZED"), headers={"WWW-Authenticate": 'Basic realm="x"'})

    registry.guard = guard


def test_a_pods_secret_opens_its_images(registry: Stocked, asking: Asking) -> None:
    image, digest = registry.put(User="vllm")
    lock(registry)
    vault = Vault(ml=login(registry, "alice", "sesame"))
    ask = asking(secrets=vault)
    fact = ask.server(image, imagePullSecrets=[{"name": "pull"}, {}, None], serviceAccountName="runner")
    assert (fact.digest, fact.user) == (digest, User(uid=2000, gid=2001))
    assert vault.asked == [("ml", ("pull",), "runner")]
    ask.server(image, imagePullSecrets=[{"name": "pull"}, {}, None], serviceAccountName="runner")
    assert len(vault.asked) == 1


def test_what_one_namespace_was_told_another_is_not(registry: Stocked, asking: Asking) -> None:
    image, digest = registry.put(User="vllm")
    lock(registry)
    ask = asking(secrets=Vault(ml=login(registry, "alice", "sesame"), wrong=login(registry, "mallory", "guess")))
    assert ask.server(image).digest == digest
    for namespace in ("other", "wrong"):
        for name in (image, f"{image}@{digest}"):
            fact = ask.server(name, caller=Caller(namespace=namespace))
            assert (fact.digest, fact.user, fact.groups) == (None, None, None)
            assert "401" in str(fact.problem)
            assert name != image or str(digest) not in str(fact.problem)
            assert "guess" not in str(fact)


def test_whoever_has_the_same_login_is_told_the_same_and_nobody_asked(registry: Stocked, asking: Asking) -> None:
    image, digest = registry.put(User="vllm")
    lock(registry)
    ask = asking(secrets=Vault(ml=login(registry, "alice", "sesame"), team=login(registry, "alice", "sesame")))
    ask.server(image)
    seen = len(registry.seen)
    assert ask.server(image, caller=Caller(namespace="team")).digest == digest
    assert len(registry.seen) == seen


def test_a_refused_login_is_not_followed_by_none(registry: Stocked, asking: Asking) -> None:
    image, _ = registry.put(User="vllm")
    ask = asking(secrets=Vault(ml=login(registry, "alice", "sesame")))

    def guard(request: Request) -> Reply | None:
        if request.headers.get("Authorization"):
            return error(403, "DENIED")
        return replace(error(401, "UNAUTHORIZED"), headers={"WWW-Authenticate": 'Basic realm="x"'})

    registry.guard = guard
    assert "403" in str(ask.server(image).problem)


def test_every_login_that_fits_is_tried(registry: Stocked, asking: Asking) -> None:
    image, digest = registry.put(User="vllm")
    lock(registry)
    content = {
        "auths": {
            f"{registry.name}/org": {"username": "old", "password": "expired"},
            registry.name: {"username": "alice", "password": "sesame"},
        }
    }
    both = replace(login(registry, "", ""), data={".dockerconfigjson": json.dumps(content).encode()})
    assert asking(secrets=Vault(ml=both)).server(image).digest == digest


def test_secrets_that_cannot_be_had_are_said_where_it_matters(registry: Stocked, asking: Asking) -> None:
    public, digest = registry.put(User="vllm")
    vault = Vault()
    vault.failure = Unreachable("the API server is away")
    ask = asking(secrets=vault)
    assert ask.server(public).digest == digest
    assert ask.server(public).problem is None
    lock(registry)
    problem = ask.server(f"{registry.name}/org/private:v1").problem
    assert "401" in str(problem)
    assert "the pull secrets are not known: the API server is away" in str(problem)


def test_a_damaged_secret_is_said_where_it_matters(registry: Stocked, asking: Asking) -> None:
    lock(registry)
    damaged = replace(login(registry, "", ""), data={".dockerconfigjson": b"sesame"})
    problem = asking(secrets=Vault(ml=damaged)).server(f"{registry.name}/org/private:v1").problem
    assert "the pull secret pull cannot be used" in str(problem)
    assert "sesame" not in str(problem)


def test_a_slow_api_server_is_not_waited_for_longer_than_allowed(registry: Stocked, asking: Asking) -> None:
    class Stuck(Vault):
        def for_pod(self, namespace: str, names: tuple[str, ...], service_account: str) -> tuple[PullSecret, ...]:
            registry.closing.wait(30)
            return ()

    lock(registry)
    ask = asking(secrets=Stuck(), seconds=0.2)
    assert "did not give them in time" in str(ask.server(f"{registry.name}/org/private:v1").problem)


def test_images_without_a_secret_of_theirs_are_asked_for_with_our_own_login(
    registry: Stocked, asking: Asking, tmp_path: Path
) -> None:
    image, digest = registry.put(User="vllm")
    lock(registry)
    config = tmp_path / "config.json"
    auth = base64.b64encode(b"alice:sesame").decode()
    config.write_text(json.dumps({"auths": {registry.name: {"auth": auth}}}))
    ask = asking(secrets=Vault(), client=ClientSettings(timeout=5, attempts=1, docker_config=config))
    assert ask.server(image).digest == digest


def test_secrets_are_asked_for_again_after_a_minute(
    registry: Stocked, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECRETS_SECONDS", 0.02)
    vault = Vault()
    ask, (image, digest) = asking(secrets=vault), registry.put(User="vllm")
    lock(registry)
    assert ask.server(image).digest is None
    vault.secrets = {"ml": login(registry, "alice", "sesame")}
    time.sleep(0.03)
    assert ask.server(image).digest == digest


def test_a_registry_that_may_not_be_asked_is_not(registry: Stocked, asking: Asking) -> None:
    """Pods name hosts; the webhook is not their way into the network."""
    image, _ = registry.put()
    ask = asking(may_ask=WebhookSettings().server.may_ask)
    fact = ask.model(image)
    assert fact.digest is None
    assert fact.problem is not None
    assert "no registry that may be asked about images (server.registries)" in fact.problem
    assert registry.seen == []
