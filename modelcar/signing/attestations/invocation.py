"""Who runs this process, as far as a CI system says so: GitHub Actions, GitLab CI/CD.

Only the variables named here are read, none of which is a secret. They say what the environment claims; that it is true
is vouched for by who signs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

__all__ = ["LOCAL_BUILDER", "Invocation", "ambient_invocation"]

LOCAL_BUILDER: Final = "https://modelcar.dev/builders/local"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_VALUE: Final = 1024  # characters

_GITHUB: Final = (
    "GITHUB_ACTOR_ID", "GITHUB_EVENT_NAME", "GITHUB_JOB", "GITHUB_REF", "GITHUB_REPOSITORY", "GITHUB_REPOSITORY_ID",
    "GITHUB_REPOSITORY_OWNER_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID", "GITHUB_SERVER_URL", "GITHUB_SHA",
    "GITHUB_WORKFLOW_REF", "GITHUB_WORKFLOW_SHA", "RUNNER_ARCH", "RUNNER_ENVIRONMENT", "RUNNER_OS",
)  # fmt: skip
_GITLAB: Final = (
    "CI_COMMIT_REF_NAME", "CI_COMMIT_REF_PROTECTED", "CI_COMMIT_SHA", "CI_CONFIG_PATH", "CI_JOB_ID", "CI_JOB_NAME",
    "CI_JOB_URL", "CI_PIPELINE_ID", "CI_PIPELINE_SOURCE", "CI_PROJECT_ID", "CI_PROJECT_PATH", "CI_PROJECT_URL",
    "CI_RUNNER_ID", "CI_SERVER_URL",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One run of a builder.

    Attributes:
        builder: the URI that identifies who runs this and with what authority (SLSA's `builder.id`).
        id: a URI of this run, if it has one.
        repository: the URI of the repository that holds the pipeline's definition.
        commit: of that repository, 40 or 64 hex digits.
        ref: the branch or tag, as the CI system writes it.
        variables: what was read, by name.
    """

    builder: str = LOCAL_BUILDER
    id: str | None = None
    repository: str | None = None
    commit: str | None = None
    ref: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


def ambient_invocation(environment: Mapping[str, str]) -> Invocation:
    """What the CI system says in its environment; a local run where there is none."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return _github(_read(environment, _GITHUB))
    if environment.get("GITLAB_CI") == "true":
        return _gitlab(_read(environment, _GITLAB))
    return Invocation()


def _github(variables: dict[str, str]) -> Invocation:
    server = variables.get("GITHUB_SERVER_URL")
    repository, workflow = variables.get("GITHUB_REPOSITORY"), variables.get("GITHUB_WORKFLOW_REF")
    run, attempt = variables.get("GITHUB_RUN_ID"), variables.get("GITHUB_RUN_ATTEMPT", "1")
    home = f"{server}/{repository}" if server and repository else None
    return Invocation(
        builder=f"{server}/{workflow}" if server and workflow else LOCAL_BUILDER,
        id=f"{home}/actions/runs/{run}/attempts/{attempt}" if home and run else None,
        repository=f"git+{home}" if home else None,
        commit=_commit(variables.get("GITHUB_SHA")),
        ref=variables.get("GITHUB_REF"),
        variables=variables,
    )


def _gitlab(variables: dict[str, str]) -> Invocation:
    project, runner = variables.get("CI_PROJECT_URL"), variables.get("CI_RUNNER_ID")
    return Invocation(
        builder=f"{project}/-/runners/{runner}" if project and runner else LOCAL_BUILDER,
        id=variables.get("CI_JOB_URL"),
        repository=f"git+{project}" if project else None,
        commit=_commit(variables.get("CI_COMMIT_SHA")),
        ref=variables.get("CI_COMMIT_REF_NAME"),
        variables=variables,
    )


def _read(environment: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The variables that are set; a URL loses its user, password and query."""
    found = {name: environment[name] for name in names if environment.get(name)}
    return {name: _harmless(value) for name, value in found.items() if value.isprintable() and len(value) <= _MAX_VALUE}


def _harmless(value: str) -> str:
    if "://" not in value:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _commit(value: str | None) -> str | None:
    return value if value is not None and _COMMIT.fullmatch(value) else None
