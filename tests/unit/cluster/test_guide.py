"""The pages about clusters say what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from modelcar.admission.names import node_label
from modelcar.cli import cli
from modelcar.cluster.manifests.definitions import model_cache, model_node
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.manifests.webhook import CONFIGURATION
from modelcar.cluster.names import LIMIT
from modelcar.cluster.resources import MODEL_CACHES
from registry_shim.cluster.agent import LIST_NAME, LOGINS_NAME
from registry_shim.cluster.labels import MOST
from tests.support.cluster_objects import check

DOCS = Path(__file__).parents[3] / "docs"
INSTALL = (DOCS / "how-to/kubernetes.md").read_text()
KSERVE = (DOCS / "how-to/kserve.md").read_text()
FORMAT = (DOCS / "formats/model-cache.md").read_text()
COLUMNS = ["NAME", *[c["name"].upper() for c in model_cache()["spec"]["versions"][0]["additionalPrinterColumns"]]]


def schema(definition: dict[str, Any], part: str) -> dict[str, Any]:
    found: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def section(begin: str, end: str) -> str:
    return FORMAT[FORMAT.index(begin) : FORMAT.index(end)]


def first_cells(text: str) -> set[str]:
    """What the first column of tables names, in code."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_field_of_a_cache_is_explained_and_no_other() -> None:
    named = first_cells(section("| `spec` |", "**Deletion**"))
    assert named - {"spec", "status"} == (
        schema(model_cache(), "spec")["properties"].keys()
        | (schema(model_cache(), "status")["properties"].keys() - {"observedGeneration", "nodesLeftOut"})
    )


def test_every_field_of_a_nodes_report_is_named() -> None:
    text = section("## ModelNode", "## On nodes and pods")
    for part in ("spec", "status"):
        fields = schema(model_node(), part)["properties"]
        models = fields["models"]["items"]["properties"]
        for name in (fields.keys() | models.keys()) - {"observedGeneration", "summary"}:
            assert f"`{name}`" in text, name
    assert LIST_NAME in text
    assert LOGINS_NAME in text


def test_its_example_is_one_and_its_defaults_are_true() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", FORMAT, re.DOTALL)
    check(MODEL_CACHES, yaml.safe_load(example))
    spec = schema(model_cache(), "spec")["properties"]
    assert re.search(rf"\| `priority` \|.*\| {spec['priority']['default']} \|", FORMAT)
    assert re.search(rf"\| `pin` \|.*\| {str(spec['pin']['default']).lower()} \|", FORMAT)
    assert f"{spec['refreshSeconds']['minimum']} or more" in FORMAT


def test_names_are_those_of_the_code() -> None:
    assert LIMIT in FORMAT
    assert node_label("sha256:" + "a" * 64).startswith("models.modelcar.dev/" + "a" * 40)
    assert f"at most {MOST}" in FORMAT
    usual = Installation()
    for name in (usual.namespace, usual.shim_namespace, usual.pull_secrets):
        assert f"`{name}`" in INSTALL


@pytest.mark.parametrize("page", [INSTALL, KSERVE, FORMAT])
def test_commands_have_the_options_that_are_named(page: str) -> None:
    command = cli.get_command(click.Context(cli), "manifests")
    assert command is not None
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    text = page.replace("\\\n", " ")
    for line in re.findall(r"modelcar manifests([^|`\n]*)", text):
        assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_the_tables_show_what_kubectl_would() -> None:
    shown = [line.split() for line in INSTALL.splitlines() if line.startswith("NAME ")]
    assert shown == [[column for column in COLUMNS if column != "PHASE"]]


def test_kserves_webhook_comes_before_ours() -> None:
    assert CONFIGURATION > "inferenceservice.serving.kserve.io", "the API server asks in the order of names"
