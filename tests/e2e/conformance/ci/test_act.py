"""The actions for GitHub, run by a runner that is not ours: its expressions, its composite actions, its outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ci.conftest import PASSWORD, Bench
from tests.e2e.ci.doors import DOORS, ROOT
from tests.e2e.ci.policies import policy_of
from tests.e2e.ci.registry import is_there
from tests.e2e.conformance.ci.act import Caller, Ran
from tests.e2e.conformance.ci.repositories import keyless_policy, write_program
from tests.e2e.support.registries import embedded_registry
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.gate import EVIL
from tests.support.sigstore import Sigstore, serve_sigstore
from tests.support.sigstore.service import JOB

pytestmark = pytest.mark.conformance

TOKEN = "the token of the job"
SARIF = "github/codeql-action/upload-sarif"
PACKAGE = """
name: model
on: workflow_dispatch
permissions: {}
jobs:
  package:
    runs-on: ubuntu-24.04
    outputs:
      reference: ${{ steps.package.outputs.reference }}
      digest: ${{ steps.package.outputs.digest }}
      verdict: ${{ steps.package.outputs.verdict }}
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
      - uses: acme/modelcar/.github/actions/package-model@v0.1.0
        id: package
        with:
          source: checkpoint
          image: IMAGE
          signing: key
          sign-key: ${{ secrets.SIGN_KEY }}
          attest-key: ${{ secrets.ATTEST_KEY }}
          key-password: ${{ secrets.KEY_PASSWORD }}
      - if: always()
        run: cp -r "$REPORTS" "$KEPT/reports"
        env:
          REPORTS: ${{ steps.package.outputs.reports }}
  after:
    needs: package
    if: always()
    runs-on: ubuntu-24.04
    steps:
      - run: printf '%s' "$NEEDS" >"$KEPT/needs.json"
        env:
          NEEDS: ${{ toJSON(needs) }}
"""
PROMOTE = """
name: promote
on: workflow_dispatch
permissions: {}
jobs:
  operate:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
      - uses: acme/modelcar/.github/actions/setup-modelcar@v0.1.0
      - uses: acme/modelcar/.github/actions/promote-model@v0.1.0
        with:
          reference: REFERENCE
          target: TARGET
          policy: policy.yaml
"""
SETUP = """
name: setup
on: workflow_dispatch
permissions: {}
jobs:
  scan:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
      - uses: acme/modelcar/.github/actions/setup-modelcar@v0.1.0
      - run: command -v modelcar >"$KEPT/where" && modelcar --version >"$KEPT/version"
      - run: modelcar build checkpoint --tag acme/tiny:v1
"""


@pytest.fixture
def caller(bench: Bench) -> Caller:
    caller = Caller(bench=bench)
    make_checkpoint(caller.folder / "checkpoint")
    return caller


@pytest.fixture
def production(tmp_path: Path) -> Iterator[str]:
    with embedded_registry(tmp_path / "production") as address:
        yield address


def secrets(bench: Bench) -> dict[str, str]:
    return {
        "SIGN_KEY": (bench.keys / "sign.key").read_text(),
        "ATTEST_KEY": (bench.keys / "attest.key").read_text(),
        "KEY_PASSWORD": PASSWORD,
        "GITHUB_TOKEN": TOKEN,
    }


def outcome(caller: Caller) -> dict[str, Any]:
    """What the job after it is told of the job `package`."""
    told: dict[str, Any] = json.loads((caller.kept / "needs.json").read_text())["package"]
    return told


def no_secret_shows(done: Ran, bench: Bench) -> None:
    """Neither act nor modelcar repeats what act was told not to mask."""
    for text in (done.log, done.summary, bench.arguments, json.dumps(done.used)):
        for secret in (*secrets(bench).values(), "PRIVATE KEY", "of production", JOB):
            assert secret not in text


def test_a_step_packages_with_keys(bench: Bench, caller: Caller) -> None:
    caller.prepare(PACKAGE.replace("IMAGE", bench.image))
    done = caller.run(secrets=secrets(bench))
    assert done.status == 0, done.log
    told = outcome(caller)
    digest = told["outputs"]["digest"]
    assert told["outputs"] == {"reference": f"{bench.image}@{digest}", "digest": digest, "verdict": "clean"}

    verified = bench.modelcar("verify", bench.image, "--remote", "--key", bench.keys / "sign.pub")
    assert verified["digest"] == digest
    for kind in ("provenance", "mlbom", "https://modelcar.dev/scan/v1"):
        bench.modelcar("verify", bench.image, "--remote", "--key", bench.keys / "attest.pub", "--attestation", kind)
    bench.modelcar("pull", f"{bench.image}@{digest}", "-o", bench.folder / "pulled")
    assert files_of(bench.folder / "pulled") == files_of(caller.folder / "checkpoint")

    assert done.summary == (caller.kept / "reports/summary.md").read_text()
    assert f"<code>{bench.image}@{digest}</code>" in done.summary
    assert done.told("actions/setup-python") == {"python-version": "3.13", "update-environment": "true"}
    cache = done.told("actions/cache")
    assert cache["key"].startswith(cache["restore-keys"])
    assert cache["restore-keys"] == "modelcar-memo-Linux-"
    assert cache["path"].endswith("/modelcar/memo")
    assert done.told(SARIF)["category"] == f"modelcar/{bench.image}"
    assert json.loads((caller.kept / "scan.sarif").read_text())["runs"][0]["results"] == []
    no_secret_shows(done, bench)


def test_a_malicious_pickle_ends_the_job(bench: Bench, caller: Caller) -> None:
    (caller.folder / "checkpoint/pytorch_model.bin").write_bytes(EVIL)
    caller.prepare(PACKAGE.replace("IMAGE", bench.image))
    done = caller.run(secrets=secrets(bench))
    assert done.status == 1
    assert "the scan says no" in done.log
    assert not is_there(bench.image)
    assert outcome(caller) == {
        "result": "failure",
        "outputs": {"reference": "", "digest": "", "verdict": "malicious"},
    }
    # Findings are uploaded, and shown, also where they ended the job.
    (run,) = json.loads((caller.kept / "scan.sarif").read_text())["runs"]
    assert {result["level"] for result in run["results"]} >= {"error"}
    assert done.summary.startswith("## No model image\n")
    assert "### ❌ Scan: malicious" in done.summary
    no_secret_shows(done, bench)


def test_what_cannot_be_packaged_has_no_findings_to_upload(bench: Bench, caller: Caller) -> None:
    (caller.folder / "checkpoint/model-00001-of-00003.safetensors").write_bytes(b"no weights")
    caller.prepare(PACKAGE.replace("IMAGE", bench.image))
    done = caller.run(secrets=secrets(bench))
    assert done.status == 1
    assert outcome(caller)["result"] == "failure"
    assert SARIF not in {name for name, _ in done.used}
    assert "The job failed at: build." in done.summary


def test_what_a_policy_refuses_is_not_promoted(bench: Bench, caller: Caller, production: str) -> None:
    packaged = bench.run(DOORS["script"], bench.settings(bench.checkpoint()))
    target = f"{production}/tiny:v1"
    workflow = PROMOTE.replace("REFERENCE", packaged.outputs["reference"]).replace("TARGET", target)
    policy_of(bench, "attest").rename(caller.folder / "policy.yaml")
    caller.prepare(workflow)
    done = caller.run()
    assert done.status == 1
    assert "signed-by-ci" in done.log
    assert bench.modelcar.refusal(3, "inspect", target, "--remote")


def test_setup_installs_modelcar_by_its_hashes(caller: Caller) -> None:
    """All of the installation, from the package index: minutes."""
    caller.prepare(SETUP, install=True)
    done = caller.run()
    assert done.status == 0, done.log
    assert (caller.kept / "where").read_text().endswith("/modelcar-program/bin/modelcar\n")
    assert (caller.kept / "version").read_text().startswith("modelcar, version ")


# From the example to what can be had on one machine. A Sigstore of one's own must be named wherever identities are.
CHANGES = {
    "OWNER/modelcar/": "acme/modelcar/",
    "hf://Qwen/Qwen3-0.6B@c1899de289a04d12100db370d81485cdf75e47ca": "checkpoint\n      trust-config: sigstore.json",
    "--keyless": "--keyless --trust-config sigstore.json",
    "--policy policies/": "--policy policies/ --trust-config sigstore.json",
    "policy: policies/": "policy: policies/\n          trust-config: sigstore.json",
}


def test_the_whole_pipeline_of_the_example(bench: Bench, caller: Caller, production: str) -> None:
    """Five jobs: signed as the job itself, measured, verified, promoted and handed to deployment."""
    workflow = (ROOT / "examples/ci/github.yml").read_text()
    registry = bench.image.partition("/")[0]
    for old, new in {
        **CHANGES,
        "ghcr.io/$": f"{registry}/$",
        "registry.example/production": f"{production}/production",
    }.items():
        assert old in workflow
        workflow = workflow.replace(old, new)
    policies = caller.folder / "policies"
    policies.mkdir()
    (policies / "signed.yaml").write_text(keyless_policy("signed"))
    evaluation = {"name": "evaluation", "predicateType": "https://example.org/evaluation/v1"}
    (policies / "evaluated.yaml").write_text(keyless_policy("evaluated", attestations=[evaluation]))
    write_program(caller.folder / "evaluate.sh", 'test -f "$1/config.json" && echo \'{"score": 1}\'')
    write_program(caller.folder / "deploy.sh", 'printf %s "$1" >"$KEPT/deployed"')
    write_program(bench.folder / "bin/docker", 'echo "$*" >>"$KEPT/logins"; cat >>"$KEPT/passwords"')
    with serve_sigstore(Sigstore()) as sigstore:
        (caller.folder / "sigstore.json").write_text(sigstore.trust_config())
        caller.prepare(workflow)
        done = caller.run(
            secrets={"GITHUB_TOKEN": TOKEN, "PRODUCTION_REGISTRY_PASSWORD": "of production"},
            variables={"PRODUCTION_REGISTRY_USER": "promoter"},
            environment={
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{sigstore.url}/job-token",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": JOB,
            },
        )
    assert done.status == 0, done.log
    promoted = (caller.kept / "deployed").read_text()
    assert promoted.startswith(f"{production}/production/qwen3:")
    bench.modelcar(
        "verify", promoted, "--remote", "--policy", policies, "--trust-config", caller.folder / "sigstore.json"
    )
    assert "### ✅ Scan: clean" in done.summary
    assert done.told("actions/checkout")["path"] == ".modelcar"  # that of the callers' own repository act does itself
    assert set((caller.kept / "logins").read_text().splitlines()) == {
        "login ghcr.io --username octocat --password-stdin"
    }
    assert (caller.kept / "passwords").read_text() == 2 * TOKEN
    no_secret_shows(done, bench)
