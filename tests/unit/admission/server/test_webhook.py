"""The webhook over TLS: what an API server asks, and what nobody should."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelcar.admission.admit import Caller, Offline, Pod
from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts
from modelcar.admission.server.decisions import Decisions
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import ClusterUnreachable, UsageError
from tests.support.reviews import UID, a_pod, a_review, patched_by, raw, response_of
from tests.support.webhooks import Answered, connect, running, webhook_settings

pytestmark = pytest.mark.slow

MODEL = "oci://registry.example/acme/llm:v1"


def asking(**changes: Any) -> dict[str, Any]:
    """A pod that asks for a model and says who runs it."""
    pod = a_pod(modelcar_dev__model=MODEL)
    pod["spec"]["securityContext"] = {"runAsUser": 1000, "runAsGroup": 1000}
    return pod | changes


@dataclass
class Watched(Offline):
    """A resolver that remembers who asked, waits where it is told to, and fails as it is told to."""

    callers: list[Caller] = field(default_factory=list)
    settings: list[AdmissionSettings] = field(default_factory=list)
    go: threading.Event | None = None
    error: Exception | None = None

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:
        self.callers.append(caller)
        self.settings.append(settings)
        if self.go is not None:
            self.go.wait(20)
        if self.error is not None:
            raise self.error
        return super().facts(pod, asked, caller, settings)


def one(folder: Path, body: bytes, resolver: Offline | None = None, **options: Any) -> Answered:
    async def main() -> Answered:
        async with running(folder, resolver) as webhook:
            return await webhook.ask(body, **options)

    return asyncio.run(main())


def head(length: int) -> bytes:
    """The headers of a request whose body is to follow."""
    fields = f"Host: webhook\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    return f"POST /mutate HTTP/1.1\r\n{fields}".encode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  # nobody has an event for it
            await asyncio.sleep(0.01)


def test_a_pod_that_asks_for_a_model_gets_it(tmp_path: Path) -> None:
    answer = one(tmp_path, raw(a_review(asking())))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    after = patched_by(response_of(answer.body), asking())
    assert after["spec"]["shareProcessNamespace"] is True


def test_who_asks_is_who_the_request_says(tmp_path: Path) -> None:
    owners = [{"kind": "Job", "uid": "other"}, {"kind": "ReplicaSet", "uid": "the-owner", "controller": True}]
    pod = asking()
    pod["metadata"] |= {"namespace": "forged", "ownerReferences": owners}
    resolver = Watched()
    one(tmp_path, raw(a_review(pod, dryRun=True)), resolver)
    assert resolver.callers == [Caller(namespace="models", owner="the-owner", dry_run=True)]


@pytest.mark.parametrize(
    "owners", [None, {}, "x", [None, "x", {"controller": "true", "uid": "u"}, {"controller": True}]]
)
def test_owners_that_are_none_are_nobody(tmp_path: Path, owners: object) -> None:
    pod = asking()
    pod["metadata"]["ownerReferences"] = owners
    resolver = Watched()
    one(tmp_path, raw(a_review(pod)), resolver)
    assert [caller.owner for caller in resolver.callers] == [None]


def test_a_denial_says_which_field_to_change(tmp_path: Path) -> None:
    response = response_of(one(tmp_path, raw(a_review(a_pod(modelcar_dev__model=MODEL)))).body)
    assert response["allowed"] is False
    assert "runAsUser" in response["status"]["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "UPDATE", "subResource": "ephemeralcontainers"},
        {"operation": "DELETE", "object": None},
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
    ],
)
def test_what_creates_no_pod_is_let_through(tmp_path: Path, changes: dict[str, Any]) -> None:
    answer = one(tmp_path, raw(a_review(asking(), **changes)))
    assert response_of(answer.body) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize(
    ("body", "options", "status", "message"),
    [
        (b"", {}, 400, "not JSON"),
        (b"\x00\xff" * 1000, {}, 400, "not JSON"),
        (b'{"a":' * 50_000, {}, 400, "not JSON"),
        (b"[" * 2_000_000, {}, 400, "not JSON"),
        (b"{}", {}, 400, "no AdmissionReview"),
        (raw(a_review() | {"apiVersion": "admission.k8s.io/v1beta1"}), {}, 400, "admissionReviewVersions"),
        (raw(a_review()), {"kind": "text/plain"}, 415, "not application/json"),
        (raw(a_review()), {"kind": None}, 415, "not application/json"),
        (raw(a_review()), {"kind": "application/yaml"}, 415, "not application/json"),
        (raw(a_review()), {"method": "PUT"}, 405, "takes POST"),
        (raw(a_review()), {"method": "GET"}, 405, "takes POST"),
        (raw(a_review()), {"target": "/"}, 404, "nothing but /mutate"),
        (raw(a_review()), {"target": "/metrics"}, 404, "nothing but /mutate"),
    ],
)
def test_what_is_no_question_gets_a_short_answer(
    tmp_path: Path, body: bytes, options: dict[str, Any], status: int, message: str
) -> None:
    answer = one(tmp_path, body, **options)
    assert answer.status == status
    assert answer.json["kind"] == "Status"
    assert message in answer.json["message"]
    assert len(answer.body) < 400


def test_a_content_type_may_have_parameters(tmp_path: Path) -> None:
    assert one(tmp_path, raw(a_review()), kind="Application/JSON; charset=utf-8").status == 200


def test_a_hundred_megabytes_are_refused_before_they_come(tmp_path: Path) -> None:
    async def main() -> Answered:
        async with running(tmp_path) as webhook, connect(webhook.service.address, webhook.trust) as client:
            client.writer.write(head(100_000_000))
            return await client.answer()

    assert asyncio.run(main()).status == 413


def test_bodies_of_all_together_are_bounded(tmp_path: Path) -> None:
    """One client says that it will send much and does not; the next has to come back, until the first is gone."""

    async def main() -> None:
        settings = webhook_settings(body_bytes=1 << 20, bodies_bytes=1 << 20)
        async with running(tmp_path, settings=settings) as webhook:
            async with connect(webhook.service.address, webhook.trust) as slow:
                slow.writer.write(head(1_048_000) + b"{")
                await slow.writer.drain()

                async def began() -> bool:
                    return webhook.service.listening.running > 0

                await until(began)
                answer = await webhook.ask(raw(a_review()))
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")

            async def has_room() -> bool:
                return (await webhook.ask(raw(a_review()))).status == 200

            await until(has_room)

    asyncio.run(main())


def test_a_client_that_never_ends_its_body_is_told_and_dropped(tmp_path: Path) -> None:
    async def main() -> Answered:
        async with (
            running(tmp_path, settings=webhook_settings(request_seconds=0.2)) as webhook,
            connect(webhook.service.address, webhook.trust) as client,
        ):
            client.writer.write(head(9) + b"{")
            return await client.answer()

    assert asyncio.run(main()).status == 504


def test_an_error_does_not_keep_the_review_in_memory() -> None:
    """It waits to be looked at, and others fail meanwhile: what it holds adds up."""

    async def main() -> None:
        decisions = Decisions(AdmissionSettings(), Offline(), threads=1, waiting=1)
        await decisions.decide(b"[{}]", 10)

    with pytest.raises(UsageError) as caught:
        asyncio.run(main())
    assert caught.value.__context__ is None
    assert "read_review" not in {entry.name for entry in caught.traceback}


def test_hundreds_at_once_are_all_answered(tmp_path: Path) -> None:
    """Many wait, some are told to come back; nobody is left without an answer."""

    async def main() -> list[Answered]:
        settings = webhook_settings(decisions=2, waiting=50)
        async with running(tmp_path, settings=settings) as webhook:
            return await asyncio.gather(*(webhook.ask(raw(a_review(asking()))) for _ in range(300)))

    answers = asyncio.run(main())
    statuses = {answer.status for answer in answers}
    assert 200 in statuses
    assert statuses <= {200, 503}
    for answer in answers:
        if answer.status == 200:
            assert "patch" in response_of(answer.body)


def test_too_many_are_told_to_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        resolver = Watched(go=threading.Event())
        settings = webhook_settings(decisions=1, waiting=1)
        async with running(tmp_path, resolver, settings) as webhook:
            first, second = (asyncio.ensure_future(webhook.ask(raw(a_review(asking())))) for _ in range(2))

            async def are_full() -> bool:
                return b"modelcar_admission_requests 2.0" in (await webhook.look("/metrics")).body

            await until(are_full)
            third = await webhook.ask(raw(a_review(asking())))
            assert third.status == 503
            assert third.headers["retry-after"] == "1"
            assert resolver.go is not None
            resolver.go.set()
            assert [(await first).status, (await second).status] == [200, 200]

    asyncio.run(main())


def test_of_large_requests_there_is_one_at_a_time(tmp_path: Path) -> None:
    """And ordinary ones go past it."""

    async def main() -> None:
        resolver = Watched(go=threading.Event())
        large = asking()
        large["metadata"]["annotations"]["example.com/large"] = "x" * (600 << 10)
        async with running(tmp_path, resolver) as webhook:
            first = asyncio.ensure_future(webhook.ask(raw(a_review(large))))

            async def began() -> bool:
                return len(resolver.callers) == 1

            await until(began)
            assert (await webhook.ask(raw(a_review(large)))).status == 503
            assert (await webhook.ask(raw(a_review()))).status == 200
            assert resolver.go is not None
            resolver.go.set()
            assert (await first).status == 200
            assert (await webhook.ask(raw(a_review(large)))).status == 200

    asyncio.run(main())


def test_the_time_that_the_api_server_has_counts(tmp_path: Path) -> None:
    """It says `?timeout=2s`; policies then have less than that, and a decision that takes longer is none."""

    async def main() -> None:
        resolver = Watched()
        async with running(tmp_path, resolver) as webhook:
            await webhook.ask(raw(a_review(asking())), target="/mutate?timeout=2s")
            assert 0 < resolver.settings[0].trust.seconds <= 1
            await webhook.ask(raw(a_review(asking())), target="/mutate?timeout=30s")
            assert resolver.settings[1].trust.seconds == AdmissionSettings().trust.seconds
            await webhook.ask(raw(a_review(asking())), target="/mutate?timeout=soon")
            assert resolver.settings[2].trust.seconds == AdmissionSettings().trust.seconds
            resolver.go = threading.Event()
            answer = await webhook.ask(raw(a_review(asking())), target="/mutate?timeout=1s")
            assert answer.status == 504
            assert "0.5 seconds" in answer.json["message"]
            resolver.go.set()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ClusterUnreachable("the API server does not answer"), 503, "does not answer"),
        (KeyError("s3cret"), 500, "internal error: KeyError"),
        (RecursionError("s3cret"), 500, "internal error: RecursionError"),
        (MemoryError(), 500, "internal error: MemoryError"),
    ],
)
def test_what_breaks_is_left_to_the_failure_policy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, status: int, message: str
) -> None:
    answer = one(tmp_path, raw(a_review(asking())), Watched(error=error))
    assert answer.status == status
    assert message in answer.json["message"]
    assert b"s3cret" not in answer.body
    assert "Traceback" not in answer.body.decode()
    assert caplog.records


def test_every_decision_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "modelcar.admission")
    pod = asking()
    pod["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": "s3cret"}]
    one(tmp_path, raw(a_review(pod, dryRun=True)))
    (record,) = [record for record in caplog.records if hasattr(record, "decision")]
    assert record.getMessage() == "patched (dry run)"
    fields = {name: getattr(record, name) for name in ("operation", "kind", "namespace", "object", "uid", "decision")}
    assert fields == {
        "operation": "CREATE",
        "kind": "v1/Pod",
        "namespace": "models",
        "object": "web-7d4b9c-",
        "uid": UID,
        "decision": "patched",
    }
    assert "s3cret" not in caplog.text


def test_the_kubelet_and_prometheus_ask_elsewhere(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as webhook:
            assert (await webhook.look("/healthz")).body == b"ok\n"
            assert (await webhook.look("/readyz")).status == 200
            assert (await webhook.look("/mutate")).status == 404
            await webhook.ask(raw(a_review(asking())))
            await webhook.ask(raw(a_review(asking(), dryRun=True)))
            await webhook.ask(b"{}")
            shown = (await webhook.look("/metrics")).body.decode()
            for line in (
                'modelcar_admission_decisions_total{decision="patched",dry_run="false"} 1.0',
                'modelcar_admission_decisions_total{decision="patched",dry_run="true"} 1.0',
                'modelcar_admission_problems_total{problem="request"} 1.0',
                'modelcar_admission_problems_total{problem="defect"} 0.0',
                "modelcar_admission_request_seconds_count 3.0",
                "modelcar_admission_enabled 1.0",
                "modelcar_admission_certificate_end_seconds 0.0",
            ):
                assert line in shown
            webhook.service.drain()
            assert ((await webhook.look("/readyz")).status, (await webhook.look("/healthz")).status) == (503, 200)
            answer = await webhook.ask(raw(a_review()))
            assert (answer.status, answer.headers["connection"]) == (200, "close")

    asyncio.run(main())


def test_threads_that_never_come_back_make_it_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        resolver = Watched(go=threading.Event())
        decisions = Decisions(AdmissionSettings(), resolver, threads=2, waiting=2)
        jobs = [asyncio.ensure_future(decisions.decide(raw(a_review(asking())), 10)) for _ in range(2)]

        async def both_began() -> bool:
            return len(resolver.callers) == 2

        await until(both_began)
        assert not decisions.stuck()
        now = time.monotonic()
        monkeypatch.setattr("modelcar.admission.server.decisions.time.monotonic", lambda: now + 61)
        assert decisions.stuck()
        monkeypatch.undo()
        assert resolver.go is not None
        resolver.go.set()
        await asyncio.gather(*jobs)
        assert not decisions.stuck()
        decisions.close()

    asyncio.run(main())
