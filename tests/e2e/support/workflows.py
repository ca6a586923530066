"""The jobs of a workflow, taken out of its file and run step by step as a runner would, as far as a runner is needed.

Actions of others are stood in for: a checkout is a clone, artifacts are files in a folder. Expressions that are not
known here fail the test.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.support.commands import Done, run

__all__ = ["Runner"]

Object = dict[str, Any]
_EXPRESSION: Final = re.compile(r"\$\{\{ (.+?) \}\}")


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Args:
    workflow: the file.
    repository: what a checkout clones.
    folder: for machines, and for artifacts.
    values: of expressions, such as `inputs.version`.
    environment: of every step; over that of the workflow, so that a test can put a registry of its own there.
    made: folders that an installation leaves in the checkout, below the root, by where they are.
    instead: commands by what stands in the workflow, where a test has another way to do the same.
    """

    workflow: Path
    repository: Path
    folder: Path
    values: Mapping[str, str]
    environment: Mapping[str, str]
    made: Mapping[str, Path]
    instead: Mapping[str, str]

    def run(self, job: str, machine: str, **matrix: str) -> list[Done]:
        """A job on a machine of that name; ends with the first step that fails, and returns what the steps said."""
        temporary, work = self.folder / machine / "temp", self.folder / machine / "work"
        temporary.mkdir(parents=True)
        values = {**self.values, "runner.temp": str(temporary), **{f"matrix.{k}": v for k, v in matrix.items()}}
        document = yaml.safe_load(self.workflow.read_text())["jobs"][job]
        own = {name: _filled(str(text), values) for name, text in document.get("env", {}).items()}
        environment = {**own, **self.environment, "RUNNER_TEMP": str(temporary)}
        said: list[Done] = []
        for step in document["steps"]:
            if "uses" in step:
                given = {name: _filled(str(text), values) for name, text in step.get("with", {}).items()}
                self._use(step["uses"].partition("@")[0], given, work)
                continue
            command = self.instead.get(step["run"], step["run"])
            shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", command]
            said.append(run("env", "--chdir", work, *shell, check=False, environment=environment, within=300))
            if said[-1].returncode:
                break
        return said

    def _use(self, action: str, given: Mapping[str, str], work: Path) -> None:
        artifacts = self.folder / "artifacts"
        match action:
            case "actions/checkout":
                run("git", "clone", "--quiet", "--no-hardlinks", self.repository, work)
            case "./.github/actions/setup-modelcar":
                assert (work / action / "action.yml").is_file()
                for place, folder in self.made.items():
                    shutil.copytree(folder, work / place)
            case "actions/upload-artifact":
                (artifacts / given["name"]).mkdir(parents=True)
                shutil.copy(work / given["path"], artifacts / given["name"])
            case "actions/download-artifact" if "name" in given:  # its files, and not a folder
                shutil.copytree(artifacts / given["name"], work / given.get("path", "."), dirs_exist_ok=True)
            case "actions/download-artifact":  # all of them, each in a folder
                shutil.copytree(artifacts, work / given["path"])
            case _:
                raise AssertionError(f"{action} is not known here")


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda found: values[found[1]], text)
