"""Who asks: passwords and tokens from files, checked before any handler sees a request.

What a client shows us is ours alone: the header is taken off before the request goes on, so that it never reaches an
upstream. Answers are remembered under a keyed hash, because a bcrypt takes a tenth of a second, and checked one at a
time, because anybody may ask for one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import bcrypt

from modelcar.errors import ModelcarError, StorageError, UsageError
from modelcar.oci import compact_json
from modelcar.serving.messages import Request, Response
from modelcar.serving.settings import Authentication
from modelcar.serving.stamps import Stamps, stamps_of

__all__ = ["Authenticator"]

Handler = Callable[[Request], Awaitable[Response]]

_LOOK_SECONDS: Final = 2.0
_REMEMBERED: Final = 10_000
_YES_SECONDS: Final = 300.0
_NO_SECONDS: Final = 5.0
_WAITING: Final = 64  # passwords that wait to be checked; more are told to come back
_MIN_TOKEN: Final = 16
_MAX_FILE: Final = 4 << 20
_HASH: Final = re.compile(rb"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")
_log = logging.getLogger("modelcar.serving")


class Authenticator:
    """Lets those through who say who they are. Files that change are read again; one that cannot be read changes
    nothing.

    Raises:
        StorageError: a file cannot be read.
        UsageError: it is not what it should be.
    """

    def __init__(self, settings: Authentication) -> None:
        self._settings = settings
        self._stamps = self._look()
        self._users, self._tokens = _read(settings)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._memory: OrderedDict[bytes, tuple[str | None, float]] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._one = asyncio.Lock()
        self._waiting = 0

    def adopt(self, settings: Authentication) -> None:
        """Let in whom these settings name, from now on. Raises what the constructor does, and changes nothing then."""
        users, tokens = _read(settings)
        self._settings, self._users, self._tokens = settings, users, tokens
        self._stamps = self._look()
        self._memory.clear()

    def guard(self, handler: Handler) -> Handler:
        """`handler`, for those who may ask it."""

        async def guarded(request: Request) -> Response:
            if not self._settings.required or request.path in self._settings.public_paths:
                return await handler(request)
            subject = await self._subject(request.headers.get("authorization", ""))
            if subject is None:
                return _challenge()
            headers = {name: value for name, value in request.headers.items() if name != "authorization"}
            return await handler(replace(request, headers=headers, subject=subject))

        return guarded

    async def _subject(self, header: str) -> str | None:
        """Whom a header names, if it proves it."""
        self._renew()
        if not header:
            return None
        mark = hmac.digest(self._key, header.encode(), "sha256")
        known = self._memory.get(mark)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        subject, sure = await self._check(header)
        if sure:
            self._remember(mark, subject)
        return subject

    def _remember(self, mark: bytes, subject: str | None) -> None:
        seconds = _NO_SECONDS if subject is None else _YES_SECONDS
        self._memory[mark] = subject, time.monotonic() + seconds
        self._memory.move_to_end(mark)
        if len(self._memory) > _REMEMBERED:
            self._memory.popitem(last=False)

    async def _check(self, header: str) -> tuple[str | None, bool]:
        """Whom `header` names, and whether that is worth remembering."""
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(value.strip()), True
        if scheme.lower() != "basic":
            return None, True
        try:
            name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None, True
        if not colon:
            return None, True
        if self._by_token(password) == name:
            return name, True
        return await self._by_password(name, password.encode())

    def _by_token(self, token: str) -> str | None:
        """Compared in constant time, all of them."""
        found = None
        for known, name in self._tokens.items():
            if hmac.compare_digest(known, token.encode()):
                found = name
        return found

    async def _by_password(self, name: str, password: bytes) -> tuple[str | None, bool]:
        hashed = self._users.get(name)
        if hashed is None or len(password) > 72:  # bcrypt looks at no more
            return None, True
        if self._waiting >= _WAITING:
            return None, False
        self._waiting += 1
        try:
            async with self._one:
                right = await asyncio.to_thread(bcrypt.checkpw, password, hashed)
        finally:
            self._waiting -= 1
        return (name if right else None), True

    def _renew(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._users, self._tokens = _read(self._settings)
        except ModelcarError as e:
            _log.error("who may ask is not changed: %s", e)
        else:
            self._memory.clear()  # a password that was taken away must not live on
            _log.info("who may ask was read again")

    def _look(self) -> Stamps:
        return stamps_of((self._settings.htpasswd_file, self._settings.tokens_file))


def _challenge() -> Response:
    entry = {"code": "UNAUTHORIZED", "message": "this registry shim asks for a name and password, or a token"}
    return Response(
        status=401,
        headers={"Content-Type": "application/json", "WWW-Authenticate": 'Basic realm="modelcar"'},
        body=compact_json({"errors": [entry]}),
    )


def _read(settings: Authentication) -> tuple[Mapping[str, bytes], Mapping[bytes, str]]:
    users = {}
    for where, name, value in _lines(settings.htpasswd_file):
        if not _HASH.fullmatch(value):
            raise UsageError(f"{where}: the password of {name} is not hashed by bcrypt", hint="htpasswd -B FILE NAME")
        users[name] = value
    tokens = {}
    for where, name, value in _lines(settings.tokens_file):
        if len(value) < _MIN_TOKEN:
            raise UsageError(f"{where}: the token of {name} has less than {_MIN_TOKEN} characters")
        tokens[value] = name
    return users, tokens


def _lines(path: Path | None) -> list[tuple[str, str, bytes]]:
    """`name:value` lines, each with where it stands. Values never get into messages."""
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE)
        if path.stat().st_mode & 0o007:
            raise UsageError(f"{path} can be read by everyone", hint=f"chmod o= {path}")
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None
    found = []
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        name, colon, value = line.partition(b":")
        if not name or not colon:
            raise UsageError(f"{path}:{number} is not a name, a colon and what proves it")
        found.append((f"{path}:{number}", name.decode(errors="replace"), value.strip()))
    return found
