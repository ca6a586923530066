"""The distribution specification's error codes, and the one place where exceptions become answers."""

from __future__ import annotations

import logging

from modelcar.errors import (
    Denied,
    DigestMismatch,
    InvalidContent,
    InvalidDigest,
    ModelcarError,
    NoSpace,
    NotFound,
    SizeMismatch,
    StorageError,
)
from modelcar.oci import compact_json
from modelcar.serving.messages import Request, Response
from registry_shim.distribution.sessions import BusySession, TooManySessions, UnknownSession

__all__ = ["DistributionError", "answer"]

_log = logging.getLogger("registry_shim")

_STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "DENIED": 403,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "UNSUPPORTED": 405,
}


class DistributionError(Exception):
    """A refusal in the specification's words; `status` is the code's usual one unless given."""

    def __init__(
        self, code: str, message: str, *, status: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS[code]
        self.headers = headers or {}


def answer(error: Exception, request: Request) -> Response:
    """What a client is told about `error`. What is not its fault is logged in one line as well."""
    status, code, headers = _classify(error)
    message = str(error)
    hint = error.hint if isinstance(error, ModelcarError) and status < 500 else None  # else it is the operator's
    if status >= 500:
        _log.error("%s %s: %s", request.method, request.path, message or type(error).__name__)
        message = _for_strangers(error, message)
    entry = {"code": code, "message": message}
    if hint:
        entry["detail"] = hint
    return Response(
        status=status,
        headers={"Content-Type": "application/json", **headers},
        body=compact_json({"errors": [entry]}),
    )


def _for_strangers(error: Exception, message: str) -> str:
    """What went wrong here, as those may hear it who have no business with this machine's folders."""
    match error:
        case NoSpace():
            return "No space left on this registry's disk"
        case StorageError():
            return "this registry's disk fails; its log says how"
        case ModelcarError() | DistributionError():
            return message
        case _:
            return "internal error"


def _classify(error: Exception) -> tuple[int, str, dict[str, str]]:
    match error:
        case DistributionError():
            return error.status, error.code, error.headers
        case UnknownSession():
            return 404, "BLOB_UPLOAD_UNKNOWN", {}
        case TooManySessions() | BusySession():
            return 429, "TOOMANYREQUESTS", {"Retry-After": "1"}
        case Denied():
            return 403, "DENIED", {}
        case InvalidDigest() | DigestMismatch():
            return 400, "DIGEST_INVALID", {}
        case SizeMismatch():
            return 400, "SIZE_INVALID", {}
        case InvalidContent():
            return 400, "MANIFEST_INVALID", {}
        case NotFound():
            return 404, "BLOB_UNKNOWN", {}
        case NoSpace():  # containerd repeats a 500 at once, which makes no room, and a 507 not at all
            return 507, "UNKNOWN", {}
        case _:
            return 500, "UNKNOWN", {}
