"""Answering a registry's challenges: Basic, and Bearer tokens from the registry's token server.

Tokens are kept per registry and scope, renewed shortly before they end, and fetched by one thread while others wait.
A login is sent to nobody but the registry it is for and the token server that this registry names.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from modelcar.errors import ProtocolViolation, RegistryError, Unauthorized
from modelcar.oci.reference import is_loopback
from modelcar.registry.challenges import Challenge, merge_scopes, parse_challenges
from modelcar.registry.credentials import Login, LoginSource
from modelcar.registry.problems import clean, show_url
from modelcar.registry.transport import Answer

__all__ = ["Authorizer", "Presented", "Target"]

_MAX_TOKEN = 256 << 10
_DEFAULT_LIFE = 60  # seconds, by the token specification
_MAX_TOKENS = 4096  # of a registry: a program that runs for months may see any number of repositories
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Fetch = Callable[[str, str, Mapping[str, str], bytes | None, str], Answer]
"""(method, url, headers, body, what for) -> the answer, whatever its status; retries are the callee's."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for permission: some scopes of a registry. `trusts_http`: it is spoken to without TLS."""

    registry: str
    repository: str
    scopes: tuple[str, ...]
    trusts_http: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    until: float

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.until


@dataclass(slots=True)
class _State:
    """What is known of one registry."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    challenge: Challenge | None = None
    tokens: dict[tuple[str, tuple[str, ...]], _Token] = field(default_factory=dict)


class Authorizer:
    """`eager` fetches a token before the registry asks for it; else whatever goes wrong has a challenge to show."""

    def __init__(self, credentials: LoginSource, fetch: Fetch, *, eager: bool = True) -> None:
        self._credentials = credentials
        self._eager = eager
        self._fetch = fetch
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def header(self, target: Target) -> str | None:
        """The `Authorization` header for `target` as far as its registry has told what it wants."""
        state = self._state(target)
        if state.challenge is None:
            return None
        with state.lock:
            token = state.tokens.get(_key(target))
            if token is None or not token.fresh:
                token = self._obtain(state, target, state.challenge) if self._eager else None
            return token.header if token else None

    def challenged(self, target: Target, header: str, refused: str | None) -> bool:
        """Take up the challenges that came with a 401; `refused` is the `Authorization` header that was sent.

        Returns whether it makes sense to ask again. Raises `RegistryError` where the token server refuses.
        """
        challenge = _choose(parse_challenges(header))
        if challenge is None:
            return False
        state = self._state(target)
        with state.lock:
            state.challenge = challenge
            known = state.tokens.get(_key(target))
            if known is not None and known.fresh and known.header != refused:
                return True  # another thread has renewed it meanwhile
            token = self._obtain(state, target, challenge)
            if token is not None and token.header == refused:
                self._credentials.forget()
                return False
            return token is not None

    def secrets(self, target: Target) -> tuple[str, ...]:
        """What must not appear in any message about `target`."""
        headers = [t.header for t in list(self._state(target).tokens.values())]
        return (*(header.partition(" ")[2] for header in headers), *self._credentials.secrets)

    def _state(self, target: Target) -> _State:
        with self._lock:
            return self._states.setdefault(target.registry, _State())

    def _obtain(self, state: _State, target: Target, challenge: Challenge) -> _Token | None:
        login = self._credentials.find(target.registry, target.repository)
        if login is not None and login.registry_token:
            token: _Token | None = _Token(f"Bearer {login.registry_token}", float("inf"))
        elif challenge.scheme == "basic":
            token = _Token(login.basic, float("inf")) if login and login.username else None
        else:
            token = self._bearer(target, challenge, login)
        if token is not None:
            if len(state.tokens) >= _MAX_TOKENS:
                state.tokens.clear()
            state.tokens[_key(target)] = token
        return token

    def _bearer(self, target: Target, challenge: Challenge, login: Login | None) -> _Token:
        realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
        _check_realm(realm, target)
        scopes = merge_scopes(*target.scopes, *challenge.parameters.get("scope", "").split())
        what = f"asking {urlsplit(realm).netloc.rpartition('@')[2]} for a token"
        if login is not None and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": "modelcar",
                "scope": " ".join(scopes),
                "refresh_token": login.identity_token,
            }
            answer = self._fetch("POST", realm, _FORM, urlencode(form).encode(), what)
        else:
            query = urlencode([*([("service", service)] if service else []), *(("scope", s) for s in scopes)])
            url = f"{realm}{'&' if '?' in realm else '?'}{query}"
            answer = self._fetch("GET", url, {"Authorization": login.basic} if login else {}, None, what)
        return self._token(answer, target, what, login)

    def _token(self, answer: Answer, target: Target, what: str, login: Login | None) -> _Token:
        where = f"{target.registry}: {what}"
        status = answer.status
        if status != 200:
            answer.discard()
            if status in (400, 401, 403):
                self._credentials.forget()
                who = "the stored login is" if login else "anonymous access is"
                raise Unauthorized(f"{where}: {who} refused ({status})", status=status, hint=_login_hint(target))
            raise RegistryError(f"{where}: {status} {clean(answer.reason)}", status=status)
        asked = time.monotonic()
        fields = _json(answer.content(_MAX_TOKEN, where), where)
        value = fields.get("token") or fields.get("access_token")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ProtocolViolation(f"{where}: the answer holds no token", status=status)
        life = fields.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) and life > 0 else float(_DEFAULT_LIFE)
        return _Token(f"Bearer {value}", asked + seconds - min(15.0, seconds / 4))


class Presented:
    """Somebody's own `Authorization` header, sent as it is. A challenge to it is theirs to answer."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def header(self, _target: Target) -> str:
        return self._authorization

    def challenged(self, _target: Target, _header: str, _refused: str | None) -> bool:
        return False

    def secrets(self, _target: Target) -> tuple[str, ...]:
        scheme, _, value = self._authorization.partition(" ")
        if scheme.lower() != "basic":
            return (value,)
        try:
            password = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            password = ""
        return (value, password)


def _key(target: Target) -> tuple[str, tuple[str, ...]]:
    return target.repository, target.scopes


def _login_hint(target: Target) -> str:
    return f"log in with `docker login {target.registry}` (podman login and skopeo login work as well)"


def _choose(challenges: list[Challenge]) -> Challenge | None:
    """Bearer before Basic: it is what a registry that offers both is made for."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or challenge.parameters.get("realm")):
                return challenge
    return None


def _check_realm(realm: str, target: Target) -> None:
    """A login travels to the token server, so that one must be reached as safely as the registry itself."""
    try:
        parts = urlsplit(realm)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if host and (parts.scheme == "https" or (parts.scheme == "http" and (is_loopback(host) or target.trusts_http))):
        return
    shown = show_url(realm) if host else "something that is no URL"
    raise ProtocolViolation(
        f"{target.registry}: its token server is {shown}, where no login may be sent",
        hint="a token server must use https",
    )


def _json(raw: bytes, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ProtocolViolation(f"{where}: the answer is not a JSON object", status=200)
    return fields
