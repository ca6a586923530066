"""The part of the API that programs elsewhere may use: pre-caching, over TCP, by a token. Off unless configured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from modelcar.oci import compact_json
from modelcar.renewed import Renewed
from modelcar.serving.messages import Request, Response
from modelcar.serving.threads import in_thread
from modelcar.serving.tokens import read_tokens
from registry_shim.operations.admin.api import PREFIX, Admin

__all__ = ["RemoteAdmin"]

Handler = Callable[[Request], Awaitable[Response]]

_PATHS: Final = (f"{PREFIX}precache", f"{PREFIX}precache/limit")


class RemoteAdmin:
    """Stands before `others` and answers for pre-caching those who bear one of the tokens in a file.

    The file is looked at with every request: a token that is taken out ends at once.
    """

    def __init__(self, tokens_file: Path, others: Handler) -> None:
        """Raises `StorageError` or `UsageError`: the file cannot be used."""
        self.admin: Admin | None = None
        """Set once there is one."""
        self._tokens = Renewed("who may pre-cache", partial(read_tokens, tokens_file), [tokens_file], look_seconds=0)
        self._others = others

    async def handle(self, request: Request) -> Response:
        if not request.path.startswith(PREFIX):
            return await self._others(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = await in_thread(self._tokens.current)
        if scheme.lower() != "bearer" or known.whose(token.strip()) is None:
            return _refusal(401, "this takes a token", {"WWW-Authenticate": 'Bearer realm="registry-shim"'})
        if request.path not in _PATHS or self.admin is None:
            return _refusal(404, "only pre-caching can be asked for from here")
        return await self.admin.handle(request)


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = compact_json({"error": {"kind": "refused", "message": message}})
    return Response(status=status, headers={"Content-Type": "application/json", **(headers or {})}, body=body)
