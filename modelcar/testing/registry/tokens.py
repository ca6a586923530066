"""Tokens, and the signatures of URLs on the other host: who may come in, and for how long."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from urllib.parse import quote

from modelcar.testing.registry.messages import Asked, Refused, Told, error

__all__ = ["Doorkeeper"]

_SIGNED_SECONDS = 300


class Doorkeeper:
    """Safe to use from several threads. Whoever asks gets a token: what is tested is that it is asked for again."""

    def __init__(self, token_seconds: float | None) -> None:
        self._seconds = token_seconds
        self._key = secrets.token_bytes(16)
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}  # until when each is good
        self._used: set[str] = set()

    def check(self, asked: Asked, realm: str, repository: str) -> None:
        """Raise `Refused` unless the request may come in."""
        if self._seconds is None:
            return
        token = _token(asked)
        with self._lock:
            self._used.add(token)
            good = self._tokens.get(token, 0.0) > time.monotonic()
        if not good:
            raise Refused(self.challenge(realm, repository))

    @staticmethod
    def challenge(realm: str, repository: str) -> Told:
        scope = f"repository:{repository}:pull,push"
        header = f'Bearer realm="{realm}",service="misbehaving",scope="{scope}"'
        return error(401, "UNAUTHORIZED", {"WWW-Authenticate": header})

    def issue(self) -> Told:
        token, seconds = secrets.token_urlsafe(24), 300.0 if self._seconds is None else self._seconds
        with self._lock:
            self._tokens[token] = time.monotonic() + seconds
        body = json.dumps({"token": token, "expires_in": max(1, int(seconds))}).encode()
        return Told(headers={"Content-Type": "application/json"}, body=body)

    def revoke(self) -> None:
        with self._lock:
            self._tokens.clear()
            self._used.clear()

    def expires(self, asked: Asked) -> bool:
        """Revoke all, unless this request is the first with its token: none runs out before it was good."""
        token = _token(asked)
        with self._lock:
            if token and token not in self._used:
                self._used.add(token)
                return False
        self.revoke()
        return True

    def signed(self, base: str, digest: str) -> str:
        expires = int(time.time()) + _SIGNED_SECONDS
        path = f"/blobs/{quote(digest, safe=':')}"
        return f"{base}{path}?X-Expires={expires}&X-Signature={self._sign(digest, expires)}"

    def check_signature(self, asked: Asked, digest: str) -> None:
        """As object stores do: a request must be signed in its query, and in no other way besides."""
        if "authorization" in asked.headers:
            raise Refused(error(400, "UNSUPPORTED"))
        expires, signature = asked.query.get("X-Expires", ""), asked.query.get("X-Signature", "")
        late = not expires.isdigit() or int(expires) < time.time()
        if late or not hmac.compare_digest(signature, self._sign(digest, int(expires))):
            raise Refused(error(403, "DENIED"))

    def _sign(self, digest: str, expires: int) -> str:
        return hmac.new(self._key, f"{digest} {expires}".encode(), hashlib.sha256).hexdigest()


def _token(asked: Asked) -> str:
    return asked.headers.get("authorization", "").removeprefix("Bearer ")
