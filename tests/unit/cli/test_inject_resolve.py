"""`modelcar inject --resolve`: registries and policies are asked, as by the webhook."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcar.admission.resolve import Images
from modelcar.admission.server.settings import WebhookSettings
from modelcar.serving.config.reading import load_file
from tests.support.checkpoints import make_checkpoint
from tests.support.reviews import a_review, patched_by, raw, response_of
from tests.support.webhooks import running, webhook_settings
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow


@pytest.fixture
def image(modelcar: ModelcarCli, ref: str, tmp_path: Path) -> str:
    modelcar.run("build", make_checkpoint(tmp_path / "checkpoint"), "-t", ref, "--push")
    return ref


@pytest.fixture
def config(modelcar: ModelcarCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only what a key has signed may run."""
    monkeypatch.setenv("COSIGN_PASSWORD", "of a test")
    modelcar.run("keygen", "-o", tmp_path / "signer")
    authority = {"key": {"data": (tmp_path / "signer.pub").read_text()}}
    policy = {
        "apiVersion": "policy.sigstore.dev/v1beta1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "signed"},
        "spec": {"images": [{"glob": "**"}], "authorities": [authority]},
    }
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    path = tmp_path / "webhook.yaml"
    path.write_text(json.dumps({"trust": {"mode": "enforce", "policies": [str(tmp_path / "policy.yaml")]}}))
    return path


def pod(image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "llm", "annotations": {"modelcar.dev/model": f"oci://{image}"}},
        "spec": {
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
            "containers": [{"name": "server", "image": image}],
        },
    }


def test_a_tag_becomes_the_digest_that_it_has(modelcar: ModelcarCli, image: str, tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod(image)))
    digest = modelcar.json("inspect", image)["digest"]
    after = yaml.safe_load(modelcar.run("inject", "-f", tmp_path / "pod.yaml", "--resolve")[1])
    assert after["spec"]["initContainers"][0]["image"].endswith(f"@{digest}")
    assert digest in after["metadata"]["annotations"]["modelcar.dev/digests"]


def test_policies_decide_and_the_webhook_says_the_same(
    modelcar: ModelcarCli, image: str, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod(image)))
    status, out, err = modelcar.run("inject", "-f", file, "--resolve", "--config", config)
    assert (status, out) == (1, "")
    assert f"{file}:1: Pod llm" in err
    modelcar.run("sign", image, "--key", tmp_path / "signer.key")
    modelcar.run("push", image)
    status, out, err = modelcar.run("inject", "-f", file, "--resolve", "--config", config)
    assert status == 0, err

    async def ask() -> dict[str, Any]:
        settings = load_file(config, WebhookSettings)
        with Images(settings.trust) as images:
            images.open()
            async with running(tmp_path / "webhook", images, webhook_settings(settings)) as webhook:
                return response_of((await webhook.ask(raw(a_review(pod(image), namespace="default")))).body)

    assert patched_by(asyncio.run(ask()), pod(image)) == yaml.safe_load(out)
