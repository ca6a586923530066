"""The jobs for GitLab, run by a runner that is not ours: its includes, its variables, its artifacts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ci.conftest import PASSWORD, Bench
from tests.e2e.ci.doors import ROOT
from tests.e2e.ci.registry import is_there
from tests.e2e.conformance.ci.gitlab import Project, Ran
from tests.e2e.conformance.ci.repositories import keyless_policy, write_program
from tests.e2e.support.registries import docker_registry, embedded_registry
from tests.support.checkpoints import make_checkpoint
from tests.support.gate import EVIL
from tests.support.sigstore import Sigstore, serve_sigstore

pytestmark = [pytest.mark.conformance, pytest.mark.debian("rsync")]

REGISTRY_PASSWORD = "of the registry"
PACKAGE = """
include:
  - local: gitlab-template.yml
package:
  extends: .package-model
  variables:
    MODEL_SOURCE: checkpoint
    MODEL_SIGNING: key
    MODEL_REGISTRY_USER: ""
    MODEL_REGISTRY_PASSWORD: ""
after:
  stage: deploy
  script:
    - printf '%s %s %s' "$MODEL_REFERENCE" "$MODEL_DIGEST" "$MODEL_VERDICT" >"$KEPT/after"
"""


@pytest.fixture
def project(bench: Bench) -> Project:
    project = Project(bench=bench)
    make_checkpoint(project.folder / "checkpoint")
    return project


@pytest.fixture
def production(tmp_path: Path) -> Iterator[str]:
    with embedded_registry(tmp_path / "production") as address:
        yield address


def keys(bench: Bench) -> dict[str, Any]:
    """What the page says about keys: they are variables of type File, whose value in a job is a path."""

    def file(name: str) -> dict[str, Any]:
        return {"type": "file", "values": {"*": (bench.keys / name).read_text()}}

    return {
        "MODEL_IMAGE": bench.image,
        "MODEL_SIGN_KEY": file("sign.key"),
        "MODEL_ATTEST_KEY": file("attest.key"),
        "COSIGN_PASSWORD": PASSWORD,
    }


def no_secret_shows(done: Ran, bench: Bench, *more: str) -> None:
    for text in (done.log, bench.arguments):
        for secret in ("PRIVATE KEY", PASSWORD, REGISTRY_PASSWORD, *more):
            assert secret not in text


def test_a_job_packages_with_keys_and_hands_the_reference_on(bench: Bench, project: Project) -> None:
    project.prepare(PACKAGE)
    done = project.run(keys(bench))
    assert done.status == 0, done.log
    verified = bench.modelcar("verify", bench.image, "--remote", "--key", bench.keys / "sign.pub")
    digest = verified["digest"]
    for kind in ("provenance", "mlbom", "https://modelcar.dev/scan/v1"):
        bench.modelcar("verify", bench.image, "--remote", "--key", bench.keys / "attest.pub", "--attestation", kind)
    assert (project.kept / "after").read_text() == f"{bench.image}@{digest} {digest} clean"
    reports = project.artifacts("package") / "model-reports"
    assert f"<code>{bench.image}@{digest}</code>" in (reports / "summary.md").read_text()
    no_secret_shows(done, bench)
    assert "env://" not in bench.arguments  # the keys came in files
    assert "PRIVATE KEY" not in "".join(file.read_text() for file in reports.iterdir())


def test_a_malicious_pickle_ends_the_pipeline(bench: Bench, project: Project) -> None:
    (project.folder / "checkpoint/pytorch_model.bin").write_bytes(EVIL)
    project.prepare(PACKAGE)
    done = project.run(keys(bench))
    assert done.status == 1
    assert "the scan says no" in done.log
    assert not is_there(bench.image)
    assert not (project.kept / "after").exists()
    # The findings are handed over though the job failed.
    reports = project.artifacts("package") / "model-reports"
    assert json.loads((reports / "scan.json").read_text())["verdict"] == "malicious"
    no_secret_shows(done, bench)


# From the example to what can be had on one machine. A Sigstore of one's own must be named wherever identities are.
CHANGES = {
    "hf://Qwen/Qwen3-0.6B@c1899de289a04d12100db370d81485cdf75e47ca": "checkpoint",
    "--keyless": '--keyless --trust-config "$MODEL_TRUST_CONFIG"',
    "--policy policies/": '--policy policies/ --trust-config "$MODEL_TRUST_CONFIG"',
}


@pytest.mark.debian("docker-registry")
def test_the_whole_pipeline_of_the_example(bench: Bench, project: Project, production: str, tmp_path: Path) -> None:
    """Five stages, and a registry that asks for a login: signed as the job, measured, verified, promoted, deployed."""
    pipeline = (ROOT / "examples/ci/gitlab.yml").read_text()
    for old, new in {**CHANGES, "registry.example/production": f"{production}/production"}.items():
        assert old in pipeline
        pipeline = pipeline.replace(old, new)
    policies = project.folder / "policies"
    policies.mkdir()
    (policies / "signed.yaml").write_text(keyless_policy("signed"))
    evaluation = {"name": "evaluation", "predicateType": "https://example.org/evaluation/v1"}
    (policies / "evaluated.yaml").write_text(keyless_policy("evaluated", attestations=[evaluation]))
    write_program(project.folder / "evaluate.sh", 'test -f "$1/config.json" && echo \'{"score": 1}\'')
    write_program(project.folder / "deploy.sh", 'printf %s "$1" >"$KEPT/deployed"')
    users = {"ci": REGISTRY_PASSWORD}
    with (
        docker_registry(tmp_path / "private", users=users) as registry,
        serve_sigstore(Sigstore()) as sigstore,
    ):
        (project.folder / "sigstore.json").write_text(sigstore.trust_config())
        project.prepare(pipeline)
        token = sigstore.token()
        done = project.run(
            {
                "CI_REGISTRY": registry,
                "CI_REGISTRY_IMAGE": f"{registry}/acme/models",
                "CI_REGISTRY_USER": "ci",
                "CI_REGISTRY_PASSWORD": REGISTRY_PASSWORD,
                "PRODUCTION_REGISTRY_USER": "promoter",
                "PRODUCTION_REGISTRY_PASSWORD": "of production",
                "MODEL_TRUST_CONFIG": "sigstore.json",
                "SIGSTORE_ID_TOKEN": token,  # of which the runner makes none itself
            },
            "--manual",
            "deploy",
        )
    assert done.status == 0, done.log
    promoted = (project.kept / "deployed").read_text().strip()
    assert promoted.startswith(f"{production}/production/qwen3:")
    bench.modelcar(
        "verify", promoted, "--remote", "--policy", policies, "--trust-config", project.folder / "sigstore.json"
    )
    no_secret_shows(done, bench, token, "of production")
