"""gitlab-ci-local, which runs GitLab's pipelines on one machine, each job in a shell and a folder of its own.

It is installed from npm into `.cache/node`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.ci.conftest import Bench
from tests.e2e.ci.doors import ROOT
from tests.e2e.conformance.ci.repositories import commit_all
from tests.support.nodejs import install_node_packages

__all__ = ["Project", "Ran"]

_PACKAGES = Path(__file__).parents[1] / "node/gitlab"
_LIMIT = 300  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """`log`: all that was written; nothing in it is masked."""

    status: int
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project of GitLab's, whose pipeline includes our template."""

    bench: Bench

    @property
    def folder(self) -> Path:
        return self.bench.folder / "models"

    @property
    def kept(self) -> Path:
        """What outlives a job: what its script puts in `$KEPT`."""
        return self.bench.folder / "kept"

    def artifacts(self, job: str) -> Path:
        """What a job handed over."""
        return self.folder / ".gitlab-ci-local/artifacts" / job

    def prepare(self, pipeline: str) -> None:
        """Commit the folder with this pipeline and the template."""
        template = ROOT / "examples/ci/gitlab-template.yml"
        (self.folder / template.name).write_text(_in_shell(template.read_text()))
        (self.folder / ".gitlab-ci.yml").write_text(_in_shell(pipeline))
        (self.folder / ".gitignore").write_text(".gitlab-ci-local/\n.gitlab-ci-local-variables.yml\n")
        commit_all(self.folder, "https://gitlab.com/acme/models.git")
        program = self.bench.folder / "program"
        program.mkdir()
        (program / "modelcar").symlink_to(self.bench.folder / "recorder")
        self.kept.mkdir()

    def run(self, variables: Mapping[str, Any], *options: str) -> Ran:
        """Run the pipeline. `variables` are those of the project, which its jobs have in the environment."""
        (self.folder / ".gitlab-ci-local-variables.yml").write_text(yaml.safe_dump(dict(variables)))
        node, packages = install_node_packages(_PACKAGES, at_least=(22, 0))
        done = subprocess.run(
            [
                node,
                packages / "node_modules/gitlab-ci-local/dist/index.js",
                "--force-shell-executor",
                "--shell-isolation",
                *options,
            ],
            cwd=self.folder,
            env={
                "PATH": f"{self.bench.folder / 'program'}:/usr/bin:/bin",
                "HOME": str(self.bench.folder / "home"),
                "TMPDIR": str(self.bench.folder / "tmp"),
                "KEPT": str(self.kept),
                "NO_COLOR": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
        )
        return Ran(status=done.returncode, log=done.stdout)


def _in_shell(pipeline: str) -> str:
    """Without images: a job that has one is told that its folder is in `/builds`, whatever it runs in."""
    return re.sub(r"^ +image: .*\n", "", pipeline, flags=re.MULTILINE)
