"""What the accounts of the manifests may do, and no more: asked of the API server, as `kubectl auth can-i` does."""

from __future__ import annotations

import pytest

from tests.cluster.support.webhook import Webhook
from tests.support.kubernetes import Kubernetes

pytestmark = pytest.mark.conformance

WEBHOOK = "modelcar-system:modelcar-webhook"
CONTROLLER = "modelcar-system:modelcar-controller"
SHIM = "registry-shim:registry-shim"


@pytest.fixture
def installed(webhook: Webhook) -> Kubernetes:
    return webhook.cluster


def may(cluster: Kubernetes, account: str, what: str) -> bool:
    said = cluster.kubectl("auth", "can-i", *what.split(), f"--as=system:serviceaccount:{account}", check=False)
    answers = [line for line in said.splitlines() if line in ("yes", "no")]
    assert len(answers) == 1, said
    return answers == ["yes"]


@pytest.mark.parametrize(
    ("account", "what"),
    [
        (WEBHOOK, "get secrets/pull -n team"),
        (WEBHOOK, "get serviceaccounts/default -n team"),
        (WEBHOOK, "patch secrets/modelcar-webhook-certificates -n modelcar-system"),
        (WEBHOOK, "patch mutatingwebhookconfigurations/modelcar"),
        (CONTROLLER, "create modelnodes"),
        (CONTROLLER, "patch modelcaches --subresource=status"),
        (SHIM, "get secrets/pull -n registry-shim-pull-secrets"),
        (SHIM, "patch modelnodes --subresource=status"),
        (SHIM, "create events -n team"),
    ],
)
def test_may(account: str, what: str, installed: Kubernetes) -> None:
    assert may(installed, account, what)


@pytest.mark.parametrize(
    ("account", "what"),
    [
        (WEBHOOK, "list secrets -n team"),
        (WEBHOOK, "watch secrets -n team"),
        (WEBHOOK, "patch secrets/pull -n team"),
        (WEBHOOK, "patch secrets/other -n modelcar-system"),
        (WEBHOOK, "patch mutatingwebhookconfigurations/other"),
        (WEBHOOK, "delete mutatingwebhookconfigurations/modelcar"),
        (WEBHOOK, "create pods -n team"),
        (WEBHOOK, "get pods -n team"),
        (CONTROLLER, "get secrets -n team"),
        (CONTROLLER, "create pods -n team"),
        (CONTROLLER, "delete pods -n team"),
        (CONTROLLER, "patch nodes"),
        (CONTROLLER, "patch modelnodes --subresource=status"),
        (CONTROLLER, "delete modelcaches"),
        (SHIM, "get secrets/pull -n team"),
        (SHIM, "list secrets -n registry-shim-pull-secrets"),
        (SHIM, "patch modelnodes"),
        (SHIM, "create modelnodes"),
        (SHIM, "patch modelcaches"),
        (SHIM, "delete pods -n team"),
        (SHIM, "create pods -n team"),
        (SHIM, "delete nodes"),
        (SHIM, "patch nodes --subresource=status"),
    ],
)
def test_may_not(account: str, what: str, installed: Kubernetes) -> None:
    assert not may(installed, account, what)
