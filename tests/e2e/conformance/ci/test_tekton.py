"""Tekton's own code takes our Task, and says which steps a TaskRun of it has; these run here, each in a shell.

It is compiled from its published Go module: what its webhook does to a Task, and what its controller does to a TaskRun
before it makes a pod of it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.ci.conftest import PASSWORD, Bench
from tests.e2e.ci.doors import ROOT, Job, Outcome
from tests.e2e.ci.registry import is_there
from tests.e2e.ci.shell import run_script
from tests.support.golang import build_checkout

pytestmark = pytest.mark.conformance

TASK = ROOT / "examples/ci/tekton.yaml"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def tekton() -> Path:
    return build_checkout(Path(__file__).parents[1] / "go/tekton", "tekton")


def run_of(params: Mapping[str, str], workspaces: list[Document]) -> Document:
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "tiny", "namespace": "models"},
        "spec": {
            "taskRef": {"name": "package-model"},
            "params": [{"name": name, "value": value} for name, value in params.items()],
            "workspaces": workspaces,
        },
    }


def ask(tekton: Path, folder: Path, *documents: Document) -> subprocess.CompletedProcess[str]:
    files = [folder / f"{document['kind']}.yaml" for document in documents]
    for file, document in zip(files, documents, strict=True):
        file.write_text(yaml.safe_dump(document))
    return subprocess.run([tekton, *files], capture_output=True, text=True, timeout=60, check=False)


def task() -> Document:
    document: Document = yaml.safe_load(TASK.read_text())
    return document


def test_it_is_a_task(tekton: Path) -> None:
    done = subprocess.run([tekton, TASK], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def put(*path: str | int, value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        place: Any = document
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("spec", "stepz", value=[]), "stepz"),
        (put("spec", "steps", 0, "comand", value=[]), "comand"),
        (put("spec", "steps", value=[]), "spec.steps"),
        (put("spec", "steps", 1, "name", value="package"), "spec.steps[1].name"),
        (put("spec", "steps", 0, "image", value="$(params.nothing)"), "$(params.nothing)"),
        (put("spec", "steps", 1, "script", value="echo $(results.nothing.path)"), "nothing"),
        (put("spec", "workspaces", 1, "name", value="work"), "spec.workspaces[1].name"),
        (put("spec", "params", 0, "type", value="text"), "spec.params.source.type"),
    ],
)
def test_what_is_none_is_refused(tekton: Path, tmp_path: Path, change: Callable[[Document], None], says: str) -> None:
    broken = task()
    change(broken)
    done = ask(tekton, tmp_path, broken)
    assert done.returncode == 1
    assert done.stderr.startswith("the Task: ")
    assert says in done.stderr


def test_the_workspaces_of_the_page_are_enough(tekton: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/ci.md").read_text()
    found = re.search(r"```yaml\n(workspaces:\n.*?)```", page, re.DOTALL)
    assert found is not None
    run = run_of({"source": "hf://acme/tiny", "image": "r.example/tiny:v1"}, yaml.safe_load(found[1])["workspaces"])
    done = ask(tekton, tmp_path, task(), run)
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)[0]
    mounted = {mount["mountPath"] for mount in first["volumeMounts"]}
    assert mounted == {f"/workspace/{name}" for name in ("work", "keys", "docker")}
    assert first["securityContext"]["runAsNonRoot"] is True


def test_a_run_without_a_place_for_weights_is_refused(tekton: Path, tmp_path: Path) -> None:
    done = ask(tekton, tmp_path, task(), run_of({"source": "tiny", "image": "r.example/tiny:v1"}, []))
    assert done.returncode == 1
    assert "work" in done.stderr


@pytest.fixture
def door(tekton: Path) -> Callable[[Job], Outcome]:
    """The steps that Tekton makes of the Task, with folders of this machine where a pod has its volumes."""

    def package(job: Job) -> Outcome:
        keys, results = job.work / "keys", job.work / "results"
        for folder in (keys, results):
            folder.mkdir()
        for variable, name in {"SIGN_KEY": "sign.key", "ATTEST_KEY": "attest.key"}.items():
            (keys / name).write_text(job.settings[f"MODEL_{variable}"])
        (keys / "password").write_text(job.settings["COSIGN_PASSWORD"])
        params = {"source": job.settings["MODEL_SOURCE"], "image": job.settings["MODEL_IMAGE"]}
        bound = [{"name": "work", "emptyDir": {}}, {"name": "keys", "secret": {"secretName": "model-keys"}}]
        answer = ask(tekton, job.work, task(), run_of(params, bound))
        assert answer.returncode == 0, answer.stderr
        places = {"/workspace/work": job.work, "/workspace/keys": keys, "/tekton/results": results}

        def here(text: str) -> str:
            for there, folder in places.items():
                text = text.replace(there, str(folder))
            return text

        status, log = 0, ""
        for step in json.loads(answer.stdout):
            program = job.work / f"step-{step['name']}"
            program.write_text(here(step["script"]))
            program.chmod(0o755)
            told = {each["name"]: here(each.get("value", "")) for each in step["env"]}
            ran = run_script([str(program)], job.work, {**job.environment, **told})
            status, log = ran.status, log + ran.log
            if status:
                break
        outputs = {file.name: file.read_text() for file in results.iterdir()}
        return Outcome(status=status, log=log, outputs=outputs, reports=job.work / "model-reports")

    return package


def test_its_steps_package_with_keys(bench: Bench, door: Callable[[Job], Outcome]) -> None:
    done = bench.run(door, bench.settings(bench.checkpoint()))
    assert done.status == 0, done.log
    digest = done.outputs["digest"]
    assert done.outputs == {"reference": f"{bench.image}@{digest}", "digest": digest, "verdict": "clean"}
    verified = bench.modelcar("verify", bench.image, "--remote", "--key", bench.keys / "sign.pub")
    assert verified["digest"] == digest
    for kind in ("provenance", "mlbom", "https://modelcar.dev/scan/v1"):
        bench.modelcar("verify", bench.image, "--remote", "--key", bench.keys / "attest.pub", "--attestation", kind)
    assert f"<code>{bench.image}@{digest}</code>" in (done.reports / "summary.md").read_text()
    for text in (done.log, bench.arguments):
        assert "PRIVATE KEY" not in text
        assert PASSWORD not in text


def test_a_malicious_pickle_ends_its_first_step(bench: Bench, door: Callable[[Job], Outcome]) -> None:
    done = bench.run(door, bench.settings(bench.checkpoint(evil=True)))
    assert done.status == 1, done.log
    assert "the scan says no" in done.log
    assert not is_there(bench.image)
    assert done.outputs == {}
    assert json.loads((done.reports / "scan.json").read_text())["verdict"] == "malicious"
