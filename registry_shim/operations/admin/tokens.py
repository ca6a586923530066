"""The part of the API that programs elsewhere may use: pre-caching, over TCP, by a token. Off unless configured."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.oci import compact_json
from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from modelcar.store.disk import explain
from registry_shim.operations.admin.api import PREFIX, Admin

__all__ = ["RemoteAdmin"]

Handler = Callable[[Request], Awaitable[Response]]

_SHORTEST: Final = 16  # characters
_MAX_FILE: Final = 1 << 16  # bytes
_PATHS: Final = (f"{PREFIX}precache", f"{PREFIX}precache/limit")


class RemoteAdmin:
    """Stands before `others` and answers for pre-caching those who bear one of the tokens in a file, one a line.

    The file is read at every request: a token that is taken out ends at once.
    """

    def __init__(self, tokens_file: Path, others: Handler) -> None:
        """Raises `StorageError`: the file cannot be used."""
        _read(tokens_file)
        self.admin: Admin | None = None
        """Set once there is one."""
        self._file = tokens_file
        self._others = others

    async def handle(self, request: Request) -> Response:
        if not request.path.startswith(PREFIX):
            return await self._others(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            known = await in_thread(_read, self._file)
        except StorageError:
            known = []
        # Every token is compared, so that the time tells nothing.
        matches = [hmac.compare_digest(token.strip().encode(), each) for each in known]
        if scheme.lower() != "bearer" or not any(matches):
            return _refusal(401, "this takes a token", {"WWW-Authenticate": 'Bearer realm="registry-shim"'})
        if request.path not in _PATHS or self.admin is None:
            return _refusal(404, "only pre-caching can be asked for from here")
        return await self.admin.handle(request)


def _read(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            lines = file.read(_MAX_FILE).splitlines()
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
    tokens = [line.strip() for line in lines if line.strip() and not line.startswith(b"#")]
    if not tokens or any(len(token) < _SHORTEST for token in tokens):
        raise StorageError(
            f"{path} needs tokens of {_SHORTEST} characters or more, one a line", hint="openssl rand -hex 32"
        )
    return tokens


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = compact_json({"error": {"kind": "refused", "message": message}})
    return Response(status=status, headers={"Content-Type": "application/json", **(headers or {})}, body=body)
