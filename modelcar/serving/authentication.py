"""Who asks: passwords and tokens from files, checked before any handler sees a request.

What a client shows us is ours alone: the header is taken off before the request goes on, so that it never reaches an
upstream. Passwords are checked one at a time, because anybody may ask for one and a bcrypt takes a tenth of a second;
what came of it is remembered under a keyed hash.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import bcrypt

from modelcar.errors import UsageError
from modelcar.oci import compact_json
from modelcar.renewed import Renewed
from modelcar.serving.messages import Request, Response
from modelcar.serving.settings import Authentication
from modelcar.serving.tokens import Tokens, read_secrets, read_tokens

__all__ = ["Authenticator"]

Handler = Callable[[Request], Awaitable[Response]]

_REMEMBERED: Final = 10_000
_YES_SECONDS: Final = 300.0
_NO_SECONDS: Final = 5.0
_WAITING: Final = 64  # passwords that wait to be checked; more are told to come back
_HASH: Final = re.compile(rb"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True)
class _Known:
    users: Mapping[str, bytes]
    tokens: Tokens


class Authenticator:
    """Lets those through who say who they are. Files that change are read again; one that cannot be read changes
    nothing.

    Raises:
        StorageError: a file cannot be read.
        UsageError: it is not what it should be.
    """

    def __init__(self, settings: Authentication) -> None:
        self._settings = settings
        self._files = Renewed("who may ask", partial(_read, settings), settings.files)
        self._known = self._files.current()
        self._memory: OrderedDict[bytes, tuple[str | None, float]] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._one = asyncio.Lock()
        self._waiting = 0

    def adopt(self, settings: Authentication) -> None:
        """Let in whom these settings name, from now on. Raises what the constructor does, and changes nothing then."""
        self._files.adopt(partial(_read, settings), settings.files)
        self._settings = settings

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
        known = self._files.current()
        if known is not self._known:
            self._known = known
            self._memory.clear()  # a password that was taken away must not live on
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return known.tokens.whose(value.strip())
        if scheme.lower() != "basic":
            return None
        try:
            name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        if not colon:
            return None
        if known.tokens.whose(password) == name:
            return name
        return await self._by_password(known, name, password.encode())

    def _remember(self, mark: bytes, subject: str | None) -> None:
        seconds = _NO_SECONDS if subject is None else _YES_SECONDS
        self._memory[mark] = subject, time.monotonic() + seconds
        self._memory.move_to_end(mark)
        if len(self._memory) > _REMEMBERED:
            self._memory.popitem(last=False)

    async def _by_password(self, known: _Known, name: str, password: bytes) -> str | None:
        hashed = known.users.get(name)
        if hashed is None or len(password) > 72:  # bcrypt looks at no more
            return None
        mark = hmac.digest(self._key, name.encode() + b":" + password, "sha256")
        subject, until = self._memory.get(mark, (None, 0.0))
        if until > time.monotonic():
            return subject
        if self._waiting >= _WAITING:
            return None
        self._waiting += 1
        try:
            async with self._one:
                right = await asyncio.to_thread(bcrypt.checkpw, password, hashed)
        finally:
            self._waiting -= 1
        subject = name if right else None
        if known is self._known:  # else it is of a file that has changed meanwhile
            self._remember(mark, subject)
        return subject


def _challenge() -> Response:
    entry = {"code": "UNAUTHORIZED", "message": "this registry shim asks for a name and password, or a token"}
    return Response(
        status=401,
        headers={"Content-Type": "application/json", "WWW-Authenticate": 'Basic realm="modelcar"'},
        body=compact_json({"errors": [entry]}),
    )


def _read(settings: Authentication) -> _Known:
    users: dict[str, bytes] = {}
    for where, name, value in read_secrets(settings.htpasswd_file) if settings.htpasswd_file else ():
        if not _HASH.fullmatch(value):
            raise UsageError(f"{where}: the password of {name} is not hashed by bcrypt", hint="htpasswd -B FILE NAME")
        if name in users:
            raise UsageError(f"{where}: {name} has a password already", hint="htpasswd -D FILE NAME takes one out")
        users[name] = value
    return _Known(users, read_tokens(settings.tokens_file) if settings.tokens_file else Tokens({}))
