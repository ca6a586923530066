"""What lies in examples/kubernetes: Kubernetes takes it, and rewriting does to it what its comments say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from modelcar.cli import cli
from modelcar.cluster.resources import MODEL_CACHES, Object
from registry_shim.operations.catalogue import METRICS, PREFIX
from scripts.update_manifests import BASE, files
from tests.support.cluster_objects import check
from tests.support.pod_rules import validate_object

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples/kubernetes"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.yaml"))
FOREIGN = ("serving.kserve.io", "leaderworkerset.x-k8s.io", "modelcar.dev")
VERSIONS = ["1.30", "1.34", "1.37"]
MODELS = {"deployment.yaml": 2, "job.yaml": 1, "leader-worker-set.yaml": 2}
"""By example, how many models its pods have in all."""


def documents(text: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text) if document]


def inject(text: str) -> str:
    """What `modelcar inject` makes of it, without a network."""
    done = CliRunner().invoke(cli, ["inject", "-f", "-"], input=text)
    assert done.exit_code == 0, done.output
    return done.stdout


def pods(item: Any) -> list[Object]:
    """Every pod specification in an object, however deep."""
    if isinstance(item, list):
        return [pod for each in item for pod in pods(each)]
    if not isinstance(item, dict):
        return []
    own = [item] if "containers" in item else []
    return own + [pod for each in item.values() for pod in pods(each)]


def test_the_base_is_what_the_command_prints() -> None:
    assert {path.name: path.read_text() for path in BASE.iterdir()} == files(), "python -m scripts.update_manifests"
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert all((BASE / name).exists() for name in kustomization["resources"])
    printed = CliRunner().invoke(cli, ["manifests"])
    assert printed.stdout == "".join((BASE / name).read_text() for name in kustomization["resources"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_kubernetes_takes_it_before_and_after(name: str, version: str) -> None:
    text = (FOLDER / name).read_text()
    for document in [*documents(text), *documents(inject(text))]:
        if document["apiVersion"].partition("/")[0] not in FOREIGN:
            validate_object(document, version)


@pytest.mark.parametrize("name", EXAMPLES)
def test_injecting_twice_is_injecting_once(name: str) -> None:
    once = inject((FOLDER / name).read_text())
    assert inject(once) == once


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_get_the_models_that_they_ask_for_and_others_none(name: str) -> None:
    after = pods(documents(inject((FOLDER / name).read_text())))
    sidecars = [
        container
        for pod in after
        for container in pod.get("initContainers", [])
        if container["name"].startswith("modelcar-") and container.get("restartPolicy") == "Always"
    ]
    assert len(sidecars) == MODELS.get(name, 0)
    for sidecar in sidecars:
        context = sidecar["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (1000, 1000), "as the server"


def test_the_example_of_a_cache_is_one() -> None:
    for document in documents((FOLDER / "model-cache.yaml").read_text()):
        check(MODEL_CACHES, document)
        assert document["spec"]["pullSecret"]["namespace"] == "registry-shim-pull-secrets"


def test_the_autoscaler_looks_at_a_metric_that_there_is() -> None:
    (scaler,) = documents((FOLDER / "autoscaler.yaml").read_text())
    (metric,) = scaler["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] in {PREFIX + each.name for each in METRICS}


def test_the_image_has_what_the_pods_run() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    match = re.search(r"'modelcar\[([a-z,]+)\]'", (FOLDER / "Dockerfile").read_text())
    assert match is not None
    assert {"cluster", "shim"} <= set(match[1].split(",")) <= extras.keys()
