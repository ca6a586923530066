"""The steps of a composite GitHub action, taken out of its action.yml and run as a runner runs them.

Only the expressions that our actions use are understood; any other is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.ci.shell import Ran, run_script

__all__ = ["ActionRun", "run_action"]

_EXPRESSION = re.compile(r"\$\{\{ ([a-z_.-]+) \}\}")
_TERM = re.compile(r"([a-z_.-]+) (==|!=) '([^']*)'")


@dataclass(kw_only=True)
class ActionRun:
    """`used`: the other actions that were called, with what they were told."""

    ran: list[Ran] = field(default_factory=list)
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""

    @property
    def status(self) -> int:
        return next((ran.status for ran in self.ran if ran.status), 0)


def run_action(folder: Path, inputs: Mapping[str, str], work: Path, environment: Mapping[str, str]) -> ActionRun:
    """Run the action in `folder`. `work` is the runner's temporary folder and the workspace."""
    action = yaml.safe_load((folder / "action.yml").read_text())
    assert inputs.keys() <= action["inputs"].keys(), "an unknown input"
    values = {
        f"inputs.{name}": inputs.get(name, str(rule.get("default", ""))) for name, rule in action["inputs"].items()
    }
    missing = [name for name, rule in action["inputs"].items() if rule.get("required") and name not in inputs]
    assert not missing, missing
    values |= {"runner.temp": str(work), "runner.os": "Linux", "github.run_id": "1", "github.run_attempt": "1"}
    result = ActionRun()
    for number, step in enumerate(action["runs"]["steps"]):
        if not _applies(step.get("if", "success()"), values, failed=result.status != 0):
            continue
        if "uses" in step:
            result.used.append((step["uses"], {k: _filled(str(v), values) for k, v in step.get("with", {}).items()}))
            continue
        assert "${{" not in step["run"], "an input reaches a shell as text only through the environment"
        assert step["shell"] == "bash"
        output, summary = work / f"output-{number}", work / f"summary-{number}"
        for file in (output, summary):
            file.unlink(missing_ok=True)
        ran = run_script(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            work,
            {
                **environment,
                **{name: _filled(str(value), values) for name, value in step.get("env", {}).items()},
                "GITHUB_ACTION_PATH": str(folder),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "RUNNER_TEMP": str(work),
            },
        )
        result.ran.append(ran)
        values |= {f"steps.{step.get('id', number)}.outputs.{k}": v for k, v in _pairs(output).items()}
        result.summary += summary.read_text() if summary.exists() else ""
    result.outputs = {name: _filled(rule["value"], values) for name, rule in action["outputs"].items()}
    return result


def _filled(text: str, values: Mapping[str, str]) -> str:
    filled = _EXPRESSION.sub(lambda found: _value(found[1], values), text)
    assert "${{" not in filled, f"an expression that this runner does not know: {filled}"
    return filled


def _value(name: str, values: Mapping[str, str]) -> str:
    assert name in values or name.startswith("steps."), f"{name} is not known"
    return values.get(name, "")


def _applies(condition: str, values: Mapping[str, str], *, failed: bool) -> bool:
    terms = condition.split(" && ")
    if failed and "always()" not in terms:
        return False
    for term in terms:
        if term in ("always()", "success()"):
            continue
        found = _TERM.fullmatch(term)
        assert found is not None, f"a condition that this runner does not know: {term}"
        if (_value(found[1], values) == found[3]) is not (found[2] == "=="):
            return False
    return True


def _pairs(file: Path) -> dict[str, Any]:
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.split("=", 1) for line in lines)
