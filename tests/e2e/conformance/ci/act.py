"""nektos/act, which reads workflows and composite actions as GitHub's runner does, on this machine, in no container.

It is compiled from its published Go module into `.cache/go`. What a workflow uses of others cannot be had here: in
place of each there is an action of one step, which writes down what it was told.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.ci.conftest import Bench
from tests.e2e.ci.doors import ROOT
from tests.e2e.conformance.ci.repositories import commit_all
from tests.support.golang import install_go

__all__ = ["Caller", "Ran"]

ACT = ("github.com/nektos/act", "v0.2.89")
_LIMIT = 570  # seconds
_MODELCAR, _VERSION = "acme/modelcar", "v0.1.0"  # our repository, as its users name it
_USES = re.compile(r"uses: (?P<repository>[\w.-]+/[\w.-]+)(/[\w./-]+)?@(?P<commit>[0-9a-f]{40}) ")
# What GitHub tells jobs, and this act does not.
_UNKNOWN = {"${{ job.workflow_repository }}": _MODELCAR, "${{ job.workflow_sha }}": _VERSION}
# The inputs of others' actions, and what those do as far as our files need it.
_OTHERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "actions/checkout": (("path", "repository", "ref", "persist-credentials"), 'cp -r "$MODELCAR_CHECKOUT" "$FIRST"'),
    "actions/setup-python": (("python-version", "update-environment"), ""),
    "actions/cache": (("path", "key", "restore-keys"), ""),
    "github/codeql-action/upload-sarif": (("sarif_file", "category"), 'cp "$FIRST" "$KEPT"'),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """`log`: all that act wrote, with no secret masked. `used`: others' actions, each with what it was told."""

    status: int
    log: str
    used: list[tuple[str, dict[str, str]]]
    summary: str

    def told(self, action: str) -> dict[str, str]:
        """What the one use of an action was told."""
        (told,) = [told for name, told in self.used if name == action]
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody's repository, whose workflow uses our actions. Act gives each job a workspace of its own."""

    bench: Bench

    @property
    def folder(self) -> Path:
        return self.bench.folder / "models"

    @property
    def kept(self) -> Path:
        """What outlives a job: `scan.sarif` as code scanning was given it, and what a workflow puts in `$KEPT`."""
        return self.bench.folder / "kept"

    @property
    def _checkout(self) -> Path:
        """Our repository, as whoever uses our actions gets it."""
        return self.bench.folder / "modelcar"

    @property
    def _program(self) -> Path:
        """A folder with nothing but `modelcar`."""
        return self.bench.folder / "program"

    def prepare(self, workflow: str, *, install: bool = False) -> None:
        """Commit the folder with this workflow; lay out our repository and what stands in for others'.

        `install`: setup-modelcar is as it is; otherwise it puts the modelcar of these tests in the PATH.
        """
        self._program.mkdir()
        (self._program / "modelcar").symlink_to(self.bench.folder / "recorder")
        _copy_repository(self._checkout)
        ours = self._checkout / ".github"
        called = ours / "workflows/package-model.yml"
        text = called.read_text()
        for expression, value in _UNKNOWN.items():
            assert expression in text
            text = text.replace(expression, value)
        called.write_text(text)
        if not install:
            (ours / "actions/setup-modelcar/install.sh").write_text(
                f'#!/bin/sh\necho "{self._program}" >>"$GITHUB_PATH"\n'
            )
        for action, (inputs, script) in _OTHERS.items():
            _write_action(self.bench.folder / "actions" / action, action, inputs, script)
        file = self.folder / ".github/workflows/model.yml"
        file.parent.mkdir(parents=True)
        file.write_text(workflow)
        commit_all(self.folder, "https://github.com/acme/models.git")

    def run(
        self,
        *,
        secrets: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Ran:
        """Start the workflow by hand. Secrets reach act in a file: the jobs' environment has none by itself."""
        hidden = self.bench.folder / "secrets.yaml"
        hidden.write_text(yaml.safe_dump(dict(secrets or {})))
        told = self.bench.folder / "told"
        for folder in (told, self.kept):
            folder.mkdir()
        options = ["--json", "--insecure-secrets", "--no-cache-server", "--container-daemon-socket", "-"]
        options += ["--actor", "octocat", "--defaultbranch", "main", "--secret-file", str(hidden)]
        for name, value in (variables or {}).items():
            options += ["--var", f"{name}={value}"]
        for label in ("ubuntu-latest", "ubuntu-24.04"):
            options += ["--platform", f"{label}=-self-hosted"]
        for named, folder in self._repositories().items():
            options += ["--local-repository", f"{named}={folder}"]
        done = subprocess.run(
            [install_go(*ACT), "workflow_dispatch", *options],
            cwd=self.folder,
            env={
                "PATH": f"{self.bench.folder / 'bin'}:/usr/bin:/bin",
                "HOME": str(self.bench.folder / "home"),
                "TMPDIR": str(self.bench.folder / "tmp"),
                "MODELCAR_CHECKOUT": str(self._checkout),
                "KEPT": str(self.kept),
                "TOLD": str(told),
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Ran(
            status=done.returncode,
            log=done.stdout,
            used=[_told(file) for file in told.iterdir()],
            summary=next((line["content"] for line in lines if line.get("command") == "summary"), ""),
        )

    def _repositories(self) -> dict[str, Path]:
        """Where each repository lies that is used, at the commit that our files name."""
        found = {f"{_MODELCAR}@{_VERSION}": self._checkout}
        for folder in (self._checkout, self.folder):
            for file in folder.glob(".github/**/*.yml"):
                for use in _USES.finditer(file.read_text()):
                    found[f"{use['repository']}@{use['commit']}"] = self.bench.folder / "actions" / use["repository"]
        return found


def _copy_repository(target: Path) -> None:
    """What git has of this one, as it is in this folder, and what an installation needs."""
    parts = [
        ".github",
        "examples",
        "modelcar",
        "registry_shim",
        "scripts",
        "hatch_build.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ]
    listed = subprocess.run(["git", "ls-files", "-z", *parts], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _write_action(folder: Path, name: str, inputs: tuple[str, ...], script: str) -> None:
    step = {
        "shell": "bash",
        "env": {"INPUTS": "${{ toJSON(inputs) }}", "FIRST": f"${{{{ inputs.{inputs[0]} }}}}", "NAME": name},
        "run": f'printf "%s\\n%s\\n" "$NAME" "$INPUTS" >"$(mktemp "$TOLD/XXXXXX")"\n{script}\n',
    }
    action = {
        "name": name,
        "description": "What stands in for it",
        "inputs": {each: {"description": each, "default": ""} for each in inputs},
        "runs": {"using": "composite", "steps": [step]},
    }
    folder.mkdir(parents=True)
    (folder / "action.yml").write_text(yaml.safe_dump(action, sort_keys=False))


def _told(file: Path) -> tuple[str, dict[str, Any]]:
    name, _, inputs = file.read_text().partition("\n")
    return name, json.loads(inputs)
