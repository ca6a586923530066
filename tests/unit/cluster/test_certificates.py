"""The webhook's certificates as a Secret, and its authorities in the configuration that calls it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from modelcar.admission.server.certificates import Lifetimes, Papers
from modelcar.admission.server.keeping import Keeper, Kept
from modelcar.cluster.certificates import ClusterVault
from modelcar.cluster.resources import MUTATING_WEBHOOKS, SECRETS, Resource
from modelcar.cluster.testing import MemoryCluster
from modelcar.errors import ClusterForbidden, Conflict

SECRET = {"metadata": {"name": "certificates", "namespace": "models"}, "type": "Opaque"}


def configuration() -> dict[str, Any]:
    def webhook(name: str, namespace: str) -> dict[str, Any]:
        service = {"namespace": namespace, "name": "webhook", "path": "/mutate"}
        return {"name": name, "clientConfig": {"service": service}, "sideEffects": "None"}

    webhooks = [webhook("one.modelcar.dev", "models"), webhook("other.example", "elsewhere")]
    webhooks.append({"name": "by-url.example", "clientConfig": {"url": "https://example/"}, "sideEffects": "None"})
    return {"metadata": {"name": "modelcar"}, "webhooks": webhooks}


def vault(cluster: MemoryCluster) -> ClusterVault:
    return ClusterVault(cluster, namespace="models", secret="certificates", configuration="modelcar")


def published(cluster: MemoryCluster) -> list[bytes | None]:
    webhooks = cluster.get(MUTATING_WEBHOOKS, "modelcar")["webhooks"]
    found = [webhook["clientConfig"].get("caBundle") for webhook in webhooks]
    return [base64.b64decode(text) if text else None for text in found]


def test_a_secret_is_made_and_changed_by_who_saw_the_last_version() -> None:
    cluster = MemoryCluster()
    assert vault(cluster).read() == Kept({}, None)
    vault(cluster).write({"tls.crt": b"\x00\xff"}, None)
    kept = vault(cluster).read()
    assert kept.data == {"tls.crt": b"\x00\xff"}
    with pytest.raises(Conflict):
        vault(cluster).write({"tls.crt": b"late"}, None)
    vault(cluster).write({"tls.crt": b"new"}, kept.version)
    with pytest.raises(Conflict):
        vault(cluster).write({"tls.crt": b"late"}, kept.version)
    assert vault(cluster).read().data == {"tls.crt": b"new"}


def test_an_empty_secret_of_the_manifests_is_filled_and_never_created() -> None:
    cluster = MemoryCluster((SECRETS, SECRET), (MUTATING_WEBHOOKS, configuration()))
    asyncio.run(Keeper(vault(cluster), ["webhook.models.svc"], Lifetimes()).start())
    assert Papers.from_data(vault(cluster).read().data) is not None
    assert "create" not in {method for method, _, _ in cluster.requests}


def test_only_webhooks_that_call_us_get_our_authorities() -> None:
    cluster = MemoryCluster((MUTATING_WEBHOOKS, configuration()))
    vault(cluster).publish(b"authorities")
    assert published(cluster) == [b"authorities", None, None]
    cluster.requests.clear()
    vault(cluster).publish(b"authorities")
    assert [method for method, _, _ in cluster.requests] == ["get"]


def test_a_configuration_that_changes_meanwhile_loses_nothing() -> None:
    cluster = MemoryCluster((MUTATING_WEBHOOKS, configuration()))

    def meddle(method: str, resource: Resource, name: str) -> None:
        if method == "patch":
            cluster.before = lambda *_: None
            cluster.patch(resource, name, {"metadata": {"labels": {"of": "somebody"}}})

    cluster.before = meddle
    vault(cluster).publish(b"authorities")
    assert published(cluster)[0] == b"authorities"
    assert cluster.get(MUTATING_WEBHOOKS, "modelcar")["metadata"]["labels"] == {"of": "somebody"}


def test_a_configuration_that_comes_later_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    vault(MemoryCluster()).publish(b"authorities")
    assert "there is no MutatingWebhookConfiguration modelcar yet" in caplog.text


def test_one_that_never_stands_still_is() -> None:
    cluster = MemoryCluster((MUTATING_WEBHOOKS, configuration()))

    def meddle(method: str, _: Resource, __: str) -> None:
        if method == "patch":
            raise Conflict("the object has been modified")

    cluster.before = meddle
    with pytest.raises(Conflict, match="does not stand still"):
        vault(cluster).publish(b"authorities")


def test_what_we_may_not_do_is_said() -> None:
    cluster = MemoryCluster()

    def refuse(*_: object) -> None:
        raise ClusterForbidden("get secrets: not allowed", status=403)

    cluster.before = refuse
    with pytest.raises(ClusterForbidden):
        vault(cluster).read()


def test_damaged_data_is_no_data() -> None:
    body = SECRET | {"data": {"tls.crt": "%%%", "tls.key": base64.b64encode(b"x").decode()}}
    cluster = MemoryCluster((SECRETS, body))
    assert vault(cluster).read().data == {"tls.key": b"x"}
