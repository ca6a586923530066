"""How each CI system is told to package a model, from the very files of .github/ and examples/ci/."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.ci.actions import run_action
from tests.e2e.ci.shell import run_script

__all__ = ["DOORS", "ROOT", "Job", "Outcome"]

ROOT = Path(__file__).parents[3]
_EXAMPLES = ROOT / "examples/ci"
_SUBSTITUTION = re.compile(r"\$\((params|workspaces|results)\.([a-z-]+)(?:\.path)?\)")
# The variables of package-model.sh, and what the action calls them.
_INPUTS = {
    "MODEL_SOURCE": "source",
    "MODEL_IMAGE": "image",
    "MODEL_FAIL_ON": "fail-on",
    "MODEL_SIGNING": "signing",
    "MODEL_SIGN_KEY": "sign-key",
    "MODEL_ATTEST_KEY": "attest-key",
    "COSIGN_PASSWORD": "key-password",
    "MODEL_TRUST_CONFIG": "trust-config",
    "MODEL_ATTEST": "attest",
    "MODEL_CA_FILE": "ca-file",
    "MODEL_REGISTRY_USER": "registry-user",
    "MODEL_REGISTRY_PASSWORD": "registry-password",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`settings`: the variables of package-model.sh; `environment`: what the machine has besides."""

    work: Path
    settings: Mapping[str, str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a job; `outputs` are those that the CI system hands on."""

    status: int
    log: str
    outputs: Mapping[str, str]
    reports: Path


def script(job: Job) -> Outcome:
    """The script alone."""
    ran = run_script(["sh", str(_EXAMPLES / "package-model.sh")], job.work, {**job.environment, **job.settings})
    return Outcome(status=ran.status, log=ran.log, outputs=_dotenv(job.work), reports=job.work / "model-reports")


def github(job: Job) -> Outcome:
    inputs = {_INPUTS[name]: value for name, value in job.settings.items()}
    done = run_action(ROOT / ".github/actions/package-model", {**inputs, "install": "false"}, job.work, job.environment)
    used = {name.partition("@")[0]: told for name, told in done.used}
    assert used["actions/cache"]["path"] == str(job.work / "modelcar/memo")
    if done.outputs["verdict"]:
        sarif = Path(used["github/codeql-action/upload-sarif"]["sarif_file"])
        assert sarif.read_text()
        assert done.summary == (sarif.parent / "summary.md").read_text()
    else:
        assert "github/codeql-action/upload-sarif" not in used
    outputs = {name: value for name, value in done.outputs.items() if value and name != "reports"}
    return Outcome(
        status=done.status,
        log="".join(ran.log for ran in done.ran),
        outputs=outputs,
        reports=Path(done.outputs["reports"]),
    )


def gitlab(job: Job) -> Outcome:
    """A runner's shell has the job's variables expanded, and reads all lines of `script` as one script."""
    template = yaml.safe_load((_EXAMPLES / "gitlab-template.yml").read_text())[".package-model"]
    known = {"CI_PROJECT_DIR": str(job.work), "CI_REGISTRY_USER": "", "CI_REGISTRY_PASSWORD": ""}
    variables = {
        name: re.sub(r"\$([A-Z_]+)", lambda found: known[found[1]], str(value))
        for name, value in template["variables"].items()
    }
    ran = run_script(
        ["bash", "-eo", "pipefail", "-c", "\n".join(template["script"])],
        job.work,
        {**job.environment, **known, **variables, **job.settings},
    )
    assert template["artifacts"]["reports"]["dotenv"] == "model-reports/model.env"
    return Outcome(status=ran.status, log=ran.log, outputs=_dotenv(job.work), reports=job.work / "model-reports")


def tekton(job: Job) -> Outcome:
    """Parameters and workspaces are put in by Tekton; keys come from a workspace, and not from the environment."""
    task = yaml.safe_load((_EXAMPLES / "tekton.yaml").read_text())["spec"]
    settings = dict(job.settings)
    folders = {"work": str(job.work), "identity": "", "docker": "", "keys": ""}
    results = job.work / "results"
    results.mkdir(exist_ok=True)
    if "MODEL_SIGN_KEY" in settings:
        keys = job.work / "keys"
        keys.mkdir(mode=0o700, exist_ok=True)
        for name, file in (
            ("MODEL_SIGN_KEY", "sign.key"),
            ("MODEL_ATTEST_KEY", "attest.key"),
            ("COSIGN_PASSWORD", "password"),
        ):
            if name in settings:
                (keys / file).write_text(settings.pop(name))
        folders["keys"] = str(keys)
    params = {p["name"]: p.get("default") for p in task["params"]}
    params |= {_INPUTS[name]: settings.pop(name) for name in list(settings) if _INPUTS.get(name) in params}
    assert not settings, f"the Task has no parameter for {settings}"

    produced = {result["name"]: str(results / result["name"]) for result in task["results"]}

    def put_in(text: str) -> str:
        def value(found: re.Match[str]) -> str:
            places = {"params": params, "workspaces": folders, "results": produced}
            return str(places[found[1]][found[2]])

        return _SUBSTITUTION.sub(value, text)

    status, log = 0, ""
    for number, step in enumerate(task["steps"]):
        assert "$(params" not in step["script"], "a parameter reaches a shell only through the environment"
        program = job.work / f"step-{number}"
        program.write_text(put_in(step["script"]))
        program.chmod(0o755)
        told: list[dict[str, Any]] = [*task["stepTemplate"]["env"], *step.get("env", [])]
        ran = run_script(
            [str(program)], job.work, {**job.environment, **{each["name"]: put_in(each["value"]) for each in told}}
        )
        status, log = ran.status, log + ran.log
        if status:
            break
    outputs = {result.name: result.read_text() for result in results.iterdir()}
    return Outcome(status=status, log=log, outputs=outputs, reports=job.work / "model-reports")


def _dotenv(work: Path) -> dict[str, str]:
    file = work / "model-reports" / "model.env"
    lines = file.read_text().splitlines() if file.exists() else []
    pairs = (line.split("=", 1) for line in lines)
    return {name.removeprefix("MODEL_").lower(): value for name, value in pairs}


DOORS: Mapping[str, Callable[[Job], Outcome]] = {
    "script": script,
    "github": github,
    "gitlab": gitlab,
    "tekton": tekton,
}
