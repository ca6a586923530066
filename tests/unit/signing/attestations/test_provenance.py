from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelcar.signing.attestations.image import AttestedImage
from modelcar.signing.attestations.invocation import LOCAL_BUILDER, Invocation, ambient_invocation
from modelcar.signing.attestations.provenance import provenance
from tests.unit.signing.attestations.conftest import Attest, first_shard, from_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/models",
    "GITHUB_WORKFLOW_REF": "acme/models/.github/workflows/package.yml@refs/heads/main",
    "GITHUB_RUN_ID": "42",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SHA": COMMIT,
    "GITHUB_REF": "refs/heads/main",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.com/acme/models",
    "CI_RUNNER_ID": "7",
    "CI_JOB_URL": "https://gitlab.com/acme/models/-/jobs/9",
    "CI_COMMIT_SHA": COMMIT,
    "CI_COMMIT_REF_NAME": "main",
}


def dependencies(predicate: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {d["name"]: d for d in predicate["buildDefinition"]["resolvedDependencies"]}


def test_every_file_is_a_dependency_with_its_digest(image: AttestedImage, folder: Path) -> None:
    found = dependencies(provenance(image, Invocation()))
    files = {f"/models/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    files.pop("/models/.gitattributes", None)
    assert {name: found[name]["digest"]["sha256"] for name in files} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


def test_a_file_of_unknown_digest_is_bound_by_its_layer(attest: Attest, folder: Path) -> None:
    (folder / "model-00001-of-00003.safetensors").write_bytes(first_shard(5 << 20))
    image = attest()
    entry = dependencies(provenance(image, Invocation()))["/models/model-00001-of-00003.safetensors"]
    assert "digest" not in entry
    assert entry["annotations"]["layer"] in {str(layer.digest) for layer in image.model.layers}


def test_where_the_model_came_from(image: AttestedImage) -> None:
    image = from_hub(image)
    predicate = provenance(image, Invocation())
    parameters = predicate["buildDefinition"]["externalParameters"]
    revision = image.annotations["dev.modelcar.source.revision"]
    assert parameters["source"] == f"hf://acme/tiny@{revision}"
    assert parameters["image"]["name"] == "registry.example/acme/tiny"
    assert parameters["image"]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert parameters["image"]["base"] == "holder"
    source = dependencies(predicate)["source"]
    assert source == {"name": "source", "uri": "https://huggingface.co/acme/tiny", "digest": {"gitCommit": revision}}


@pytest.mark.parametrize(
    ("environment", "builder", "run", "pipeline"),
    [
        (
            GITHUB,
            "https://github.com/acme/models/.github/workflows/package.yml@refs/heads/main",
            "https://github.com/acme/models/actions/runs/42/attempts/2",
            "git+https://github.com/acme/models@refs/heads/main",
        ),
        (
            GITLAB,
            "https://gitlab.com/acme/models/-/runners/7",
            "https://gitlab.com/acme/models/-/jobs/9",
            "git+https://gitlab.com/acme/models@main",
        ),
    ],
    ids=["github", "gitlab"],
)
def test_ci_says_who_builds(
    image: AttestedImage, environment: dict[str, str], builder: str, run: str, pipeline: str
) -> None:
    predicate = provenance(image, ambient_invocation(environment))
    assert predicate["runDetails"]["builder"]["id"] == builder
    assert predicate["runDetails"]["metadata"] == {"invocationId": run}
    assert dependencies(predicate)["pipeline"] == {
        "name": "pipeline",
        "uri": pipeline,
        "digest": {"gitCommit": COMMIT},
    }


def test_outside_of_ci_the_builder_is_nobody_in_particular(image: AttestedImage) -> None:
    predicate = provenance(image, ambient_invocation({"HOME": "/home/someone", "USER": "someone"}))
    assert predicate["runDetails"]["builder"]["id"] == LOCAL_BUILDER
    assert "someone" not in json.dumps(predicate)
    named = provenance(image, Invocation(), builder="https://acme.example/builder")
    assert named["runDetails"]["builder"]["id"] == "https://acme.example/builder"


@pytest.mark.parametrize("system", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_no_secret_of_the_environment_gets_in(image: AttestedImage, system: dict[str, str]) -> None:
    secrets = {
        "GITHUB_TOKEN": "s3cret",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s3cret",
        "CI_JOB_TOKEN": "s3cret",
        "CI_REGISTRY_PASSWORD": "s3cret",
        "CI_REPOSITORY_URL": "https://gitlab-ci-token:s3cret@gitlab.com/acme/models.git",
        "COSIGN_PASSWORD": "s3cret",
        "HF_TOKEN": "s3cret",
    }
    poisoned = {
        "GITHUB_SERVER_URL": "https://user:s3cret@github.com",
        "CI_PROJECT_URL": "https://user:s3cret@gitlab.com/acme/models?token=s3cret",
        "CI_JOB_URL": "https://user:s3cret@gitlab.com/acme/models/-/jobs/9",
    }
    known = {k: v for k, v in poisoned.items() if k in system}
    predicate = provenance(image, ambient_invocation({**system, **secrets, **known}))
    assert "s3cret" not in json.dumps(predicate)
    assert predicate["runDetails"]["metadata"]["invocationId"].startswith("https://git")


def test_nothing_depends_on_the_clock(image: AttestedImage) -> None:
    assert "metadata" not in provenance(image, Invocation())["runDetails"]
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert provenance(image, Invocation(), finished_on=moment)["runDetails"]["metadata"] == {
        "finishedOn": "2026-01-02T03:04:05Z"
    }


def test_a_revision_that_is_no_commit_is_not_called_one(image: AttestedImage) -> None:
    image = from_hub(image, **{"dev.modelcar.source.revision": "main"})
    assert "digest" not in dependencies(provenance(image, Invocation()))["source"]
