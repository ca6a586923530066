"""What kind of registry answers, by what it says of itself at its front door: names of self-hosted ones tell nothing.

A mark is something that one family sends and no other: the service of its challenge, the place of its token server, a
header of its own. Registries without one, as zot, have no limits to know either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from modelcar.registry.challenges import Challenge, parse_challenges
from modelcar.registry.dialects import UNKNOWN, Dialect, dialect_named, dialect_of
from modelcar.registry.session import Remote, Session
from modelcar.registry.transport import Broken

__all__ = ["ask_front_door", "recognise"]

_PATIENCE: Final = 5.0  # seconds; who is slower is no worse off than before

_HEADERS: Final[tuple[tuple[str, str, str], ...]] = (  # name, what its value begins with, family
    ("X-JFrog-Version", "", "Artifactory"),
    ("X-Artifactory-Id", "", "Artifactory"),
    ("X-Artifactory-Node-Id", "", "Artifactory"),
    ("Gitlab-Container-Registry-Version", "", "GitLab"),
    ("X-GitHub-Request-Id", "", "GHCR"),
    ("Server", "AzureContainerRegistry", "Azure Container Registry"),
)
_CHALLENGES: Final[tuple[tuple[Callable[[str, str], bool], str], ...]] = (  # (service, path of the realm), family
    (lambda service, _: service == "harbor-registry", "Harbor"),
    (lambda service, _: service == "ecr.amazonaws.com", "Amazon ECR"),
    (lambda service, _: service == "public.ecr.aws", "Amazon ECR Public"),
    (lambda service, path: service == "container_registry" and path == "/jwt/auth", "GitLab"),
    (lambda _, path: path == "/v2/auth", "Quay"),
    (lambda _, path: path.startswith(("/artifactory/", "/api/docker/")) and path.endswith("/token"), "Artifactory"),
)


def recognise(headers: Mapping[str, str]) -> Dialect:
    """The family of a registry that answered `GET /v2/` with these headers, or `UNKNOWN`."""
    for name, beginning, family in _HEADERS:
        if headers.get(name, "").startswith(beginning) and name in headers:
            return dialect_named(family)
    for challenge in parse_challenges(headers.get("WWW-Authenticate", "")):
        if (of_challenge := _by_challenge(challenge)) is not None:
            return dialect_named(of_challenge)
    return UNKNOWN


def ask_front_door(session: Session, remote: Remote) -> Dialect | None:
    """Who answers there; `None` where nobody does. Shows no login."""
    try:
        answer = session.transport.request("GET", f"{remote.base}/v2/", {}, patience=_PATIENCE)
    except Broken:
        session.check_cancelled()
        return None
    answer.discard()
    return recognise(answer.headers)


def _by_challenge(challenge: Challenge) -> str | None:
    realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
    if realm == "Artifactory Realm":
        return "Artifactory"
    try:
        parts = urlsplit(realm)
        path = parts.path
    except ValueError:
        return None
    for fits, family in _CHALLENGES:
        if fits(service, path):
            return family
    known = dialect_of(service) if "." in service else UNKNOWN  # a proxy or another name in front of a known one
    return known.family if known is not UNKNOWN else None
