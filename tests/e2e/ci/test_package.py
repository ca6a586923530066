"""Packaging in CI: the files of .github/ and examples/ci/, run with bash against a registry."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.ci.conftest import PASSWORD, Bench
from tests.e2e.ci.doors import DOORS, Job, Outcome
from tests.e2e.ci.registry import is_there
from tests.e2e.support.registries import docker_registry
from tests.support.authority import Authority
from tests.support.checkpoints import files_of
from tests.support.sigstore import Sigstore, serve_sigstore, trusted_root
from tests.support.sigstore.instance import EMAIL, ISSUER

pytestmark = pytest.mark.slow
Door = Callable[[Job], Outcome]


def test_a_checkpoint_becomes_a_scanned_signed_and_attested_image(bench: Bench, door: Door) -> None:
    source = bench.checkpoint()
    done = bench.run(door, bench.settings(source))
    assert done.status == 0, done.log
    name, digest = bench.image, done.outputs["digest"]
    assert done.outputs == {"reference": f"{name}@{digest}", "digest": digest, "verdict": "clean"}

    keys = bench.keys
    verified = bench.modelcar("verify", done.outputs["reference"], "--remote", "--key", keys / "sign.pub")
    assert verified["digest"] == digest
    for kind in ("provenance", "mlbom", "https://modelcar.dev/scan/v1"):
        bench.modelcar("verify", name, "--remote", "--key", keys / "attest.pub", "--attestation", kind)
    bench.modelcar("pull", done.outputs["reference"], "-o", bench.folder / "pulled")
    assert files_of(bench.folder / "pulled") == files_of(source)

    summary = (done.reports / "summary.md").read_text()
    assert done.outputs["reference"] in summary
    assert "### ✅ Scan: clean" in summary
    assert "    weights: model-00001-of-00003.safetensors" in summary
    assert json.loads((done.reports / "scan.sarif").read_text())["runs"][0]["results"] == []


def test_secrets_are_in_no_argument_log_or_report(bench: Bench, door: Door) -> None:
    settings = bench.settings(bench.checkpoint())
    done = bench.run(door, settings)
    assert done.status == 0, done.log
    reports = "".join(file.read_text() for file in done.reports.iterdir())
    for text in (bench.arguments, done.log, reports):
        assert "PRIVATE KEY" not in text
        assert PASSWORD not in text
    assert "sign " in bench.arguments


def test_a_malicious_pickle_ends_the_job_before_anything_is_sent(bench: Bench, door: Door) -> None:
    done = bench.run(door, bench.settings(bench.checkpoint(evil=True)))
    assert done.status == 1, done.log
    assert "the scan says no" in done.log
    assert not is_there(bench.image)
    words = bench.arguments.split()
    assert not {"sign", "attest", "push"} & set(words)
    (run,) = json.loads((done.reports / "scan.sarif").read_text())["runs"]
    assert {result["level"] for result in run["results"]} >= {"error"}
    summary = (done.reports / "summary.md").read_text()
    assert summary.startswith("## No model image\n")
    assert "### ❌ Scan: malicious" in summary
    assert done.outputs.get("verdict", "malicious") == "malicious"  # Tekton has no results of a task that failed
    assert "digest" not in done.outputs


def test_what_is_a_no_is_for_the_job_to_say(bench: Bench) -> None:
    source = bench.checkpoint()
    (source / "modeling_tiny.py").write_text("print('hello')\n")
    assert bench.run(DOORS["script"], bench.settings(source)).status == 1
    done = bench.run(DOORS["script"], bench.settings(source, MODEL_FAIL_ON="malicious"))
    assert (done.status, done.outputs["verdict"]) == (0, "unverified")


def test_digests_out_of_a_forged_cache_end_the_job(bench: Bench) -> None:
    """Whoever may write the cache of a CI system has foreign bytes signed by this job, unless all are read again."""
    home = {"MODELCAR_HOME": str(bench.folder / "cached")}
    settings = bench.settings(bench.checkpoint())
    assert bench.run(DOORS["script"], settings, environment=home).status == 0
    with sqlite3.connect(bench.folder / "cached/memo/layers.sqlite") as memo:
        rows = memo.execute("SELECT key, value FROM layers").fetchall()
        for number, (key, value) in enumerate(rows, 1):
            forged = json.dumps({**json.loads(value), "digest": f"sha256:{number:064x}"})
            memo.execute("UPDATE layers SET value = ? WHERE key = ?", (forged, key))
    memo.close()
    other = bench.image.replace("/tiny:", "/forged:")
    done = bench.run(DOORS["script"], {**settings, "MODEL_IMAGE": other}, environment=home)
    assert done.status == 1, done.log
    assert re.search(r"the bytes of layer sha256:0{60}[0-9a-f]{4} hash to", done.log)
    assert not is_there(other)
    assert "failed" not in (done.reports / "summary.md").read_text()


def test_nothing_is_left_of_an_earlier_run(bench: Bench) -> None:
    source = bench.checkpoint()
    assert bench.run(DOORS["script"], bench.settings(source)).status == 0
    (source / "config.json").write_text("{")  # what cannot be packaged
    (source / "model-00001-of-00003.safetensors").write_bytes(b"no weights")
    done = bench.run(DOORS["script"], bench.settings(source))
    assert done.status != 0
    assert not (done.reports / "digest").exists()
    assert not (done.reports / "reference").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"MODEL_SOURCE": ""}, "MODEL_SOURCE does not say what to package"),
        ({"MODEL_SOURCE": "--help"}, "MODEL_SOURCE begins with a dash"),
        ({"MODEL_IMAGE": ""}, "MODEL_IMAGE does not say what to call it"),
        ({"MODEL_FAIL_ON": "clean"}, "MODEL_FAIL_ON is unverified, malicious or never"),
        ({"MODEL_SIGNING": "maybe"}, "MODEL_SIGNING is keyless, key or none"),
        ({"MODEL_SIGN_KEY": ""}, "MODEL_SIGNING is key, and MODEL_SIGN_KEY is not set"),
        ({"MODEL_SIGN_KEY": "c2VjcmV0"}, "MODEL_SIGN_KEY is neither a private key, nor a file, nor the address"),
        ({"MODEL_ATTEST_KEY": ""}, "MODEL_SIGNING is key, and MODEL_ATTEST_KEY is not set"),
        ({"MODEL_SIGNING": "none", "MODEL_ATTEST": "yes"}, "a statement needs who makes it"),
        ({"MODEL_ATTEST": "perhaps"}, "MODEL_ATTEST is yes or no"),
        ({"MODEL_REGISTRY_USER": "me"}, "MODEL_REGISTRY_PASSWORD is not"),
    ],
)
def test_what_makes_no_sense(bench: Bench, change: dict[str, str], says: str) -> None:
    done = bench.run(DOORS["script"], {**bench.settings(bench.folder / "model"), **change})
    assert done.status == 2, done.log
    assert says in done.log
    assert "c2VjcmV0" not in done.log
    assert bench.arguments == ""


def test_without_signatures(bench: Bench) -> None:
    settings = {**bench.settings(bench.checkpoint()), "MODEL_SIGNING": "none"}
    done = bench.run(DOORS["github"], settings)
    assert done.status == 0, done.log
    verified = bench.modelcar.run("verify", done.outputs["reference"], "--remote", "--key", bench.keys / "sign.pub")
    assert verified.returncode == 1
    assert "nothing is attached to it" in verified.stderr


@pytest.mark.parametrize("name", ["script", "github", "gitlab"])
def test_keyless_as_the_job(bench: Bench, name: str) -> None:
    """GitLab hands the job's token over in SIGSTORE_ID_TOKEN; the services are those of a Sigstore of our own."""
    with serve_sigstore(Sigstore()) as sigstore:
        (bench.folder / "config.json").write_text(sigstore.trust_config())
        (bench.folder / "root.json").write_text(trusted_root(sigstore))
        settings = {
            "MODEL_SOURCE": str(bench.checkpoint()),
            "MODEL_IMAGE": bench.image,
            "MODEL_TRUST_CONFIG": str(bench.folder / "config.json"),
        }
        token = sigstore.token()
        done = bench.run(DOORS[name], settings, environment={"SIGSTORE_ID_TOKEN": token})
        assert done.status == 0, done.log
    assert token not in bench.arguments + done.log
    who = ("--certificate-identity", EMAIL, "--certificate-oidc-issuer", ISSUER)
    root = ("--trusted-root", bench.folder / "root.json")
    bench.modelcar("verify", done.outputs["reference"], "--remote", *who, *root)
    for kind in ("provenance", "mlbom", "https://modelcar.dev/scan/v1"):
        bench.modelcar("verify", done.outputs["reference"], "--remote", *who, *root, "--attestation", kind)


@pytest.mark.debian("docker-registry")
def test_a_login_is_used_and_leaves_no_trace(bench: Bench, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "private", users={"ci": "pa ss:word"}) as address:
        settings = bench.settings(
            bench.checkpoint(),
            MODEL_IMAGE=f"{address}/acme/tiny:v1",
            MODEL_REGISTRY_USER="ci",
            MODEL_REGISTRY_PASSWORD="pa ss:word",
        )
        done = bench.run(DOORS["github"], settings)
        assert done.status == 0, done.log
        wrong = bench.run(DOORS["github"], {**settings, "MODEL_REGISTRY_PASSWORD": "wrong"})
        assert wrong.status == 3
        assert "The job failed at: push." in (wrong.reports / "summary.md").read_text()
    assert "pa ss:word" not in bench.arguments + done.log
    assert list((bench.folder / "tmp").iterdir()) == []


@pytest.mark.debian("docker-registry")
def test_a_registry_with_an_authority_of_ones_own(bench: Bench, door: Door, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with docker_registry(tmp_path / "private", tls=authority.issue_for_loopback("registry")) as address:
        image = f"{address}/acme/tiny:v1"
        settings = bench.settings(bench.checkpoint(), MODEL_IMAGE=image)
        refused = bench.run(door, settings)
        assert refused.status in (1, 3)  # of Tekton's, each step that fails
        assert "certificate" in refused.log
        done = bench.run(door, {**settings, "MODEL_CA_FILE": str(authority.ca_file)})
        assert done.status == 0, done.log
        verified = bench.modelcar(
            "verify", image, "--remote", "--key", bench.keys / "sign.pub", "--ca-file", authority.ca_file
        )
        assert verified["digest"] == done.outputs["digest"]
