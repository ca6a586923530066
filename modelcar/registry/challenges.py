"""`WWW-Authenticate` headers (RFC 7235 §4.1): several challenges, each with quoted or bare parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Challenge", "merge_scopes", "parse_challenges"]

_MAX_HEADER = 8 << 10
_SEPARATOR = re.compile(r"[\s,]*")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PARAMETER = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([!#$%&\'*+\-.^_`|~0-9A-Za-z:/?@]+))')
_TOKEN68 = re.compile(r"[ ]+[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$))")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate. The scheme and the names of its parameters are lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Everything that can be understood of `header`, in its order; nothing is raised for the rest."""
    text = header[:_MAX_HEADER]
    challenges: list[Challenge] = []
    parameters: dict[str, str] = {}
    position = _skip(text, 0)
    while token := _TOKEN.match(text, position):
        position = token.end()
        if challenges and (value := _PARAMETER.match(text, position)):
            quoted, bare = value.groups()
            parameters[token[0].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            position = value.end()
        else:
            parameters = {}
            challenges.append(Challenge(token[0].lower(), parameters))
            if blob := _TOKEN68.match(text, position):
                position = blob.end()
        position = _skip(text, position)
    return challenges


def merge_scopes(*scopes: str) -> tuple[str, ...]:
    """Scopes as one list, sorted, actions on the same resource joined: what a token is asked for and kept under."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        resource, _, verbs = scope.rpartition(":")
        actions.setdefault(resource, set()).update(filter(None, verbs.split(",")))
    order = ("pull", "push", "delete")
    return tuple(
        f"{resource}:{','.join(sorted(verbs, key=lambda v: (order.index(v) if v in order else 9, v)))}"
        for resource, verbs in sorted(actions.items())
    )


def _skip(text: str, position: int) -> int:
    separator = _SEPARATOR.match(text, position)
    return separator.end() if separator else position
