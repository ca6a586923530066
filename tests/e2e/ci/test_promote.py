"""Promotion between registries, by digest and policy, as the action promote-model does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ci.actions import ActionRun, run_action
from tests.e2e.ci.conftest import Bench
from tests.e2e.ci.doors import DOORS, ROOT
from tests.e2e.ci.policies import policy_of
from tests.e2e.support.commands import BIN
from tests.e2e.support.registries import docker_registry, embedded_registry
from tests.support.authority import Authority

pytestmark = pytest.mark.slow


@pytest.fixture
def production(tmp_path: Path) -> Iterator[str]:
    with embedded_registry(tmp_path / "production") as address:
        yield address


def promote(bench: Bench, **inputs: str) -> ActionRun:
    work = bench.folder / "promotion"
    work.mkdir(exist_ok=True)
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(bench.folder), "TMPDIR": str(bench.folder / "tmp")}
    return run_action(ROOT / ".github/actions/promote-model", inputs, work, environment)


def test_what_the_policy_agrees_to_goes_on_with_its_signatures(bench: Bench, production: str) -> None:
    packaged = bench.run(DOORS["script"], bench.settings(bench.checkpoint()))
    reference, digest = packaged.outputs["reference"], packaged.outputs["digest"]
    target = f"{production}/production/tiny:v1"
    done = promote(
        bench,
        reference=reference,
        target=target,
        policy=str(policy_of(bench, "sign")),
        **{"target-user": "ci", "target-password": "secret"},
    )
    assert done.status == 0, done.ran[0].log
    assert done.outputs == {"reference": f"{target}@{digest}"}
    assert bench.modelcar("verify", target, "--remote", "--key", bench.keys / "sign.pub")["digest"] == digest
    bench.modelcar("verify", target, "--remote", "--key", bench.keys / "attest.pub", "--attestation", "mlbom")
    assert list((bench.folder / "tmp").iterdir()) == []


def test_what_the_policy_refuses_is_not_copied(bench: Bench, production: str) -> None:
    packaged = bench.run(DOORS["script"], bench.settings(bench.checkpoint()))
    target = f"{production}/production/tiny:v1"
    done = promote(
        bench, reference=packaged.outputs["reference"], target=target, policy=str(policy_of(bench, "attest"))
    )
    assert done.status == 1
    assert "signed-by-ci" in done.ran[0].log
    assert bench.modelcar.refusal(3, "inspect", target, "--remote")


def test_a_tag_is_no_digest(bench: Bench, production: str) -> None:
    done = promote(
        bench,
        reference=bench.image,
        target=f"{production}/production/tiny:v1",
        policy=str(policy_of(bench, "sign")),
    )
    assert done.status == 2
    assert "by its digest: a tag may be another image by now" in done.ran[0].log


@pytest.mark.debian("docker-registry")
def test_a_registry_with_an_authority_of_ones_own(bench: Bench, tmp_path: Path) -> None:
    """The first one has none, and goes on to be asked without TLS."""
    packaged = bench.run(DOORS["script"], bench.settings(bench.checkpoint()))
    authority = Authority(tmp_path / "authority")
    with docker_registry(tmp_path / "private", tls=authority.issue_for_loopback("registry")) as address:
        target = f"{address}/production/tiny:v1"
        inputs = {
            "reference": packaged.outputs["reference"],
            "target": target,
            "policy": str(policy_of(bench, "sign")),
        }
        refused = promote(bench, **inputs)
        assert refused.status == 3
        assert "certificate" in refused.ran[0].log
        done = promote(bench, **inputs, **{"ca-file": str(authority.ca_file)})
        assert done.status == 0, done.ran[0].log
        assert done.outputs == {"reference": f"{target}@{packaged.outputs['digest']}"}
