"""Pull secrets: what is written in them, and which of it a kubelet would try for an image."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from modelcar.errors import UsageError
from modelcar.oci import Reference
from modelcar.registry.credentials import Login

__all__ = ["Keyring", "PullSecret", "PullSecrets"]

_JSON: Final = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson")  # type and key of a secret
_OLD: Final = ("kubernetes.io/dockercfg", ".dockercfg")
_MAX_BYTES: Final = 1 << 20  # what the API server allows
_HUB: Final = "index.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSecret:
    """A secret as the API server has it, `data` decoded from base64."""

    name: str
    type: str
    data: Mapping[str, bytes] = field(repr=False)


class PullSecrets(Protocol):
    """Where pull secrets come from: `modelcar.cluster.secrets` asks the API server."""

    def for_pod(self, namespace: str, names: tuple[str, ...], service_account: str) -> tuple[PullSecret, ...]:
        """The secrets that a pod names and those of its service account, in this order; what does not exist is left
        out, as a kubelet does. Blocks; called in threads, with nothing remembered.

        Raises:
            WorldError: the API server cannot be asked.
        """


@dataclass(frozen=True, slots=True)
class _Entry:
    """A login and the part of the world that it is for: `*.example.com/org`, say."""

    place: str
    login: Login


class Keyring:
    """Logins by the places they are for, found as kubelets find them."""

    def __init__(self, entries: Iterable[_Entry] = ()) -> None:
        # In reverse order a longer place comes before those that it begins with; equal ones stay in theirs.
        self._entries = sorted(entries, key=lambda entry: entry.place, reverse=True)

        self.problems: tuple[str, ...] = ()
        """Which secrets cannot be used, and why; nothing of them is shown."""

    @classmethod
    def of(cls, secrets: Iterable[PullSecret]) -> Keyring:
        """All that can be read of `secrets`."""
        entries: list[_Entry] = []
        problems: list[str] = []
        for secret in secrets:
            try:
                entries += _entries(secret)
            except UsageError as e:
                problems.append(str(e))
        keyring = cls(entries)
        keyring.problems = tuple(problems)
        return keyring

    @classmethod
    def without(cls, why: str) -> Keyring:
        """No logins, because the secrets could not be had."""
        keyring = cls()
        keyring.problems = (f"the pull secrets are not known: {why}",)
        return keyring

    def logins(self, ref: Reference) -> tuple[Login, ...]:
        """What a kubelet would try for the image, in order; empty where it would ask as nobody in particular."""
        found = [entry.login for entry in self._entries if _covers(entry.place, ref)]
        if not found and ref.registry == "docker.io":
            found = [entry.login for entry in self._entries if entry.place.partition("/")[0] == _HUB]
        return tuple(dict.fromkeys(found))


def _entries(secret: PullSecret) -> list[_Entry]:
    if (secret.type, _JSON[1]) == _JSON:
        auths = _object(secret, _JSON[1]).get("auths", {})
    elif (secret.type, _OLD[1]) == _OLD:
        auths = _object(secret, _OLD[1])
    else:
        return []  # kubelets pass over secrets of other types
    if not isinstance(auths, dict):
        raise _bad(secret, "its `auths` is no object")
    return [
        _Entry(place, login)
        for key, value in auths.items()
        if (login := _login(secret, value)) and (place := _place(key))
    ]


def _object(secret: PullSecret, key: str) -> Mapping[str, Any]:
    raw = secret.data.get(key)
    if raw is None or len(raw) > _MAX_BYTES:
        raise _bad(secret, f"it has no {key}" if raw is None else f"its {key} is too large")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _bad(secret, f"its {key} is no JSON object")
    return value


def _login(secret: PullSecret, entry: object) -> Login | None:
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(k, ""), str) for k in ("username", "password", "auth")
    ):
        raise _bad(secret, "an entry is no object of texts")
    username, password = entry.get("username", ""), entry.get("password", "")
    if encoded := entry.get("auth"):
        try:
            bare = encoded.rstrip("=")
            padded = bare + "=" * (-len(bare) % 4)
            username, colon, password = base64.b64decode(padded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise _bad(secret, "the `auth` of an entry is not the base64 of USER:PASSWORD")
    return Login(username, password) if username or password else None


def _place(key: str) -> str:
    """`https://host/v1/` and `host` are one place."""
    try:
        parts = urlsplit(key if key.startswith(("https://", "http://")) else f"https://{key}")
    except ValueError:
        return ""
    path = parts.path[3:] if parts.path.startswith(("/v1/", "/v2/")) else parts.path
    return parts.netloc.rpartition("@")[2] + (path if path != "/" else "")


def _covers(place: str, ref: Reference) -> bool:
    """Host by host part, `*` within one; the port must be the same, and the path begin alike."""
    host, slash, path = place.partition("/")
    name, port = _split(host)
    wanted, wanted_port = _split(ref.registry)
    if port != wanted_port or not f"/{ref.repository}".startswith(slash + path):
        return False
    globs, labels = name.split("."), wanted.split(".")
    return len(globs) == len(labels) and all(map(fnmatch.fnmatchcase, labels, globs))


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and "]" not in port else (host, "")


def _bad(secret: PullSecret, what: str) -> UsageError:
    return UsageError(
        f"the pull secret {secret.name} cannot be used: {what}",
        hint="`kubectl create secret docker-registry` makes one that can",
    )
