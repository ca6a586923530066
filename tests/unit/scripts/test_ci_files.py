"""The files for CI systems, held to those systems' own schemas and to our rules for them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[3]
ACTIONS = sorted(ROOT.glob(".github/actions/*/action.yml"))
WORKFLOWS = [*sorted(ROOT.glob(".github/workflows/*.yml")), ROOT / "examples/ci/github.yml"]
SCRIPTS = sorted(
    file for folder in (".github/actions", "examples/ci", "scripts/release") for file in ROOT.glob(f"{folder}/**/*.sh")
)
_PINNED = re.compile(r"(?P<name>[\w.-]+/[\w./-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def validate(document: Any, schema: str) -> None:
    text = files("check_jsonschema").joinpath("builtin_schemas", "vendor", f"{schema}.json").read_text("utf-8")
    Draft7Validator(json.loads(text)).validate(document)


@pytest.mark.parametrize("path", ACTIONS, ids=relative)
def test_actions_are_as_github_says(path: Path) -> None:
    validate(yaml.safe_load(path.read_text()), "github-actions")


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_workflows_are_as_github_says(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    document["on"] = document.pop(True)  # in YAML 1.1, which GitHub does not speak, `on` is a boolean
    validate(document, "github-workflows")


@pytest.mark.parametrize("name", ["gitlab.yml", "gitlab-template.yml"])
def test_pipelines_are_as_gitlab_says(name: str) -> None:
    validate(yaml.safe_load((ROOT / "examples/ci" / name).read_text()), "gitlab-ci")


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_scripts_are_clean(path: Path) -> None:
    """ShellCheck, as for the oldest shell that they may meet."""
    program = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([program, "--shell=sh", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert path.stat().st_mode & 0o111


@pytest.mark.parametrize("path", [*ACTIONS, *WORKFLOWS], ids=relative)
def test_actions_of_others_are_pinned_by_commit(path: Path) -> None:
    """But for those of our own repository, which an example cannot know."""
    for line in path.read_text().splitlines():
        found = re.match(r"\s*(?:- )?uses: (?P<what>.+)", line)
        if found and not found["what"].startswith(("./", "OWNER/modelcar/")):
            assert _PINNED.fullmatch(found["what"]), line


@pytest.mark.parametrize("path", [*ACTIONS, *WORKFLOWS], ids=relative)
def test_no_expression_reaches_a_shell_as_text(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    jobs = [document["runs"]] if "runs" in document else [*document["jobs"].values()]
    runs = [step["run"] for job in jobs for step in job.get("steps", ()) if "run" in step]
    assert not [run for run in runs if "${{" in run]


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_jobs_have_no_more_rights_than_they_say(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert document["permissions"] in ({}, {"contents": "read"})
    if document["permissions"] == {}:
        assert all("permissions" in job for job in document["jobs"].values())


def test_who_may_sign_a_release_installs_only_what_is_locked() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    signing = {name for name, job in jobs.items() if "id-token" in job["permissions"]}
    assert signing == {"sign"}
    runs = " ".join(step.get("run", "") for step in jobs["sign"]["steps"])
    assert not {"pip", "pipx", "npm", "curl", "uv"} & set(runs.split())
    install = (ROOT / ".github/actions/setup-modelcar/install.sh").read_text()
    pips = re.findall(r"pip install (?:[^\n]|\\\n)*", install.replace("\\\n", " "))
    assert len(pips) == 2
    assert all("--require-hashes" in line or "--no-deps --no-index" in line for line in pips)


@pytest.mark.parametrize("name", ["tools", "image"])
def test_locks_name_every_package_with_hashes(name: str) -> None:
    """And nothing but packages: no index, no folder, no other file."""
    text = (ROOT / f"scripts/release/locks/{name}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        assert re.fullmatch(r"[a-z0-9._-]+(\[[a-z,-]+\])?==\S+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line), line


def test_the_tekton_task_uses_what_it_declares() -> None:
    task = yaml.safe_load((ROOT / "examples/ci/tekton.yaml").read_text())
    assert (task["apiVersion"], task["kind"]) == ("tekton.dev/v1", "Task")
    spec = task["spec"]
    declared = {kind: {each["name"] for each in spec[kind]} for kind in ("params", "workspaces", "results")}
    used = set(re.findall(r"\$\((params|workspaces|results)\.([a-z-]+)(?:\.path)?\)", yaml.safe_dump(spec)))
    assert used == {(kind, name) for kind, names in declared.items() for name in names}
