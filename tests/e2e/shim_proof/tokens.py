"""Bearer tokens of the upstream: a scope and an end, signed, as registries hand them out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

__all__ = ["AUTH", "Auth", "User", "read_auth", "write_auth"]

AUTH: Final = "auth.json"
_SERVICE: Final = "upstream"


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """`repositories` are the private ones that they may read."""

    password: str
    repositories: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Auth:
    """Who may read what. `lifetime` of a token is in seconds."""

    users: Mapping[str, User] = field(default_factory=dict)
    lifetime: float = 300.0
    key: str = "signs-tokens"

    def issue(self, query: str, authorization: str, private: Sequence[str]) -> str | None:
        """The token for a request to the token server; `None` if the password is wrong.

        Like real servers it leaves out of the scope what the user may not read.
        """
        allowed: Sequence[str] = ()
        if authorization.lower().startswith("basic "):
            name, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
            user = self.users.get(name)
            if user is None or user.password != password:
                return None
            allowed = user.repositories
        asked = [part.split(":")[1] for scope in parse_qs(query).get("scope", []) for part in scope.split()]
        granted = [name for name in asked if name not in private or name in allowed]
        claims = base64.urlsafe_b64encode(json.dumps([granted, time.time() + self.lifetime]).encode()).decode()
        return f"{claims}.{self._signature(claims)}"

    def allows(self, authorization: str, repository: str | None) -> bool:
        """Whether the token is one of ours, not expired, and for `repository`."""
        claims, _, signature = authorization.removeprefix("Bearer ").partition(".")
        if not hmac.compare_digest(signature, self._signature(claims)):
            return False
        granted, end = json.loads(base64.urlsafe_b64decode(claims))
        return time.time() < end and (repository is None or repository in granted)

    def challenge(self, address: str, repository: str | None) -> str:
        scope = f',scope="repository:{repository}:pull"' if repository else ""
        return f'Bearer realm="http://{address}/token",service="{_SERVICE}"{scope}'

    def _signature(self, claims: str) -> str:
        return hmac.new(self.key.encode(), claims.encode(), hashlib.sha256).hexdigest()


def write_auth(folder: Path, auth: Auth) -> None:
    new = folder / f".{AUTH}"
    new.write_text(json.dumps(asdict(auth)))
    new.replace(folder / AUTH)


def read_auth(folder: Path) -> Auth | None:
    if not (folder / AUTH).exists():
        return None
    values = json.loads((folder / AUTH).read_text())
    return Auth(**{**values, "users": {name: User(**user) for name, user in values["users"].items()}})
