"""Asks a running shim, over its control socket."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from modelcar.errors import ModelcarError, NotFound, Refused, StorageError, UsageError, WorldError
from modelcar.exchanges import told
from modelcar.serving.sockets import at
from registry_shim.operations.admin.api import PREFIX
from registry_shim.operations.admin.control import CONTROL

__all__ = ["AdminClient"]

_log = logging.getLogger(__name__)
_KINDS: Final[dict[str, type[ModelcarError]]] = {
    "not-found": NotFound,
    "usage": UsageError,
    "refused": Refused,
    "storage": StorageError,
}
_TIMEOUT: Final = 600.0  # seconds; to evict much takes a while


class _Connection(http.client.HTTPConnection):
    """HTTP to ROOT/control.sock."""

    def __init__(self, root: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._root = root

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        at(self._root / CONTROL, self.sock.connect)


class _Answer(dict[str, Any]):
    """An object of an answer."""

    def __missing__(self, name: str) -> Any:
        raise WorldError(f"the shim's answer lacks {name!r}", hint="it is of another version, perhaps: restart it")


class AdminClient:
    """The shim over `root`."""

    def __init__(self, root: Path, *, timeout: float = _TIMEOUT) -> None:
        """`timeout` is how many seconds an answer may take."""
        self._root = root
        self._timeout = timeout

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Raises as `call` does."""
        return self.call("GET", path, query=query)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Raises as `call` does."""
        return self.call("POST", path, body=body)

    def delete(self, path: str, **query: str) -> dict[str, Any]:
        """Raises as `call` does."""
        return self.call("DELETE", path, query=query)

    def call(
        self, method: str, path: str, *, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """What the shim answers.

        Raises:
            WorldError: no shim runs over this folder, or it may not be asked, or it stopped meanwhile.
            NotFound, UsageError, Refused, StorageError: the shim says so.
        """
        target = PREFIX + path + ("?" + urlencode(query, errors="replace") if query else "")
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode(errors="replace")
        try:
            with (
                told(_log, method, f"unix://{self._root / CONTROL}{PREFIX}{path}") as exchange,
                closing(_Connection(self._root, self._timeout)) as connection,
            ):
                exchange.sent = len(content or b"")
                connection.request(method, target, content, {"Content-Type": "application/json"} if content else {})
                response = connection.getresponse()
                exchange.status, said = response.status, response.read()
                exchange.received = len(said)
            answer = json.loads(said, object_hook=_Answer)
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as e:
            raise self._explained(e) from None
        if not isinstance(answer, dict):
            raise WorldError(f"the shim over {self._root} answers strangely")
        if response.status != 200:
            raise _error(answer)
        return answer

    def _explained(self, error: Exception) -> ModelcarError:
        if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
            return WorldError(
                f"no shim runs over {self._root}",
                hint="--root DIR says which one; a registry without upstreams has nothing to be asked for",
            )
        if isinstance(error, PermissionError):
            return WorldError(
                f"the shim over {self._root} is not yours to administer", hint="run this as its user, or as root"
            )
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        return WorldError(f"the shim over {self._root} does not answer: {reason}", hint="its log says more")


def _error(answer: dict[str, Any]) -> ModelcarError:
    told = answer.get("error")
    told = told if isinstance(told, dict) else {}
    kind = _KINDS.get(str(told.get("kind")), WorldError)
    hint = told.get("hint")
    return kind(str(told.get("message") or "the shim refuses"), hint=str(hint) if hint else None)
