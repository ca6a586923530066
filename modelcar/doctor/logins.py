"""What people are logged in to: which file or helper knows it, and whether it still does. Never the login itself."""

from __future__ import annotations

import base64
import json
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from modelcar.doctor.finding import Finding, note, ok, problem
from modelcar.errors import ModelcarError
from modelcar.registry.credentials import Credentials, Login, config_files

__all__ = ["look_at_logins"]

_SOON: Final = 3600  # seconds
_MOST: Final = 50  # registries of one file


def look_at_logins() -> Iterator[Finding]:
    """A line for each registry that a login is kept for, and what is wrong with the files that keep them."""
    files = [path for path in config_files() if path.exists()]
    if not files:
        places = ", ".join(map(str, config_files()))
        yield note("logins", f"none; they would be in {places}", "`docker login`, `podman login` or `skopeo login`")
    for path in files:
        yield from _file(path)


def _file(path: Path) -> Iterator[Finding]:
    try:
        document = json.loads(path.read_bytes() or b"{}")
    except OSError as e:
        yield problem("logins", f"{path}: {e.strerror}")
        return
    except (ValueError, RecursionError):
        yield problem("logins", f"{path} is not JSON", "repair or remove it, and log in again")
        return
    if not isinstance(document, dict):
        yield problem("logins", f"{path} is not an object", "repair or remove it, and log in again")
        return
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) and _holds_logins(document):
        yield note("logins", f"{path}: others may read it", f"chmod 600 {path}")
    registries = list(_registries(document))
    for registry, by in registries[:_MOST]:
        yield _registry(path, registry, by)
    if len(registries) > _MOST:
        yield note("logins", f"{path} names {len(registries) - _MOST} more")
    store = document.get("credsStore")
    if not registries and not (isinstance(store, str) and store):
        yield ok("logins", f"{path} has none")


def _holds_logins(document: Mapping[str, Any]) -> bool:
    auths = document.get("auths")
    return isinstance(auths, dict) and any(isinstance(entry, dict) and entry for entry in auths.values())


def _registries(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each registry that is named, and by what it is kept."""
    helpers, auths, store = (document.get(key) for key in ("credHelpers", "auths", "credsStore"))
    named = dict(helpers) if isinstance(helpers, dict) else {}
    for registry, helper in named.items():
        yield _named(registry), f"docker-credential-{helper}"
    for key, entry in (auths if isinstance(auths, dict) else {}).items():
        if key not in named:
            in_store = not entry and isinstance(store, str) and store
            yield _named(key), f"docker-credential-{store}" if in_store else "the file itself"


def _named(key: str) -> str:
    """`https://host/v1/`, as old clients wrote it, is `host`; podman knows `host/folder`, too."""
    name = key.removeprefix("https://").removeprefix("http://").rstrip("/").removesuffix("/v1").removesuffix("/v2")
    return "docker.io" if name in ("index.docker.io", "registry-1.docker.io") else name


def _registry(path: Path, registry: str, by: str) -> Finding:
    subject = f"login {registry}"
    where = f"{path}, by {by}" if by != "the file itself" else str(path)
    try:
        host, _, repository = registry.partition("/")
        login = Credentials([path]).find(host, repository)
    except ModelcarError as e:
        return problem(subject, str(e), e.hint)
    if login is None:
        return note(subject, f"{where} knows of none", f"log in to {registry} again")
    left = _seconds_left(login)
    if left is None:
        return ok(subject, where)
    if left <= 0:
        return problem(subject, f"{where}: it has expired", f"log in to {registry} again")
    if left < _SOON:
        return note(subject, f"{where}: it expires in {left / 60:.0f} min", f"log in to {registry} again before then")
    return ok(subject, f"{where}; expires in {left / 3600:.0f} h")


def _seconds_left(login: Login) -> float | None:
    """How long it is good for, if a secret of it is a JSON Web Token that says so."""
    ends = [end for secret in login.secrets if (end := _expiry(secret)) is not None]
    return min(ends) - time.time() if ends else None


def _expiry(token: str) -> float | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
