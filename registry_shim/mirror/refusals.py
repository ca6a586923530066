"""What a client is told where an upstream says no, or fails."""

from __future__ import annotations

import math

from modelcar.errors import (
    Forbidden,
    InvalidContent,
    InvalidDigest,
    RateLimited,
    RegistryError,
    RemoteNotFound,
    Unauthorized,
    Unreachable,
)
from registry_shim.distribution.errors import DistributionError
from registry_shim.mirror.routing import Kind

__all__ = ["explained"]

_UNKNOWN = {Kind.BLOB: "BLOB_UNKNOWN", Kind.MANIFEST: "MANIFEST_UNKNOWN"}


def explained(error: Exception, kind: Kind | None, *, own: bool) -> Exception:
    """`error` as what `distribution.errors.answer` understands. `own`: it was said to the node's own login."""
    match error:
        case InvalidDigest() | DistributionError():
            return error
        case Unauthorized():
            return _unauthorized(error, own=own)
        case Forbidden():
            return DistributionError("DENIED", str(error))
        case RemoteNotFound():
            return DistributionError(_UNKNOWN.get(kind, "NAME_UNKNOWN") if kind else "NAME_UNKNOWN", str(error))
        case RateLimited():
            wait = {"Retry-After": str(math.ceil(error.retry_after or 1))}
            return DistributionError("TOOMANYREQUESTS", str(error), status=429, headers=wait)
        case Unreachable():
            wait = {"Retry-After": str(math.ceil(error.retry_after))} if error.retry_after else {}
            return DistributionError("UNAVAILABLE", str(error), status=503 if wait else 504, headers=wait)
        case RegistryError() | InvalidContent():  # what the upstream sent is wrong; nothing of it was kept
            return DistributionError("UNAVAILABLE", str(error), status=502)
        case _:
            return error


def _unauthorized(error: Unauthorized, *, own: bool) -> DistributionError:
    if own or error.challenge is None:  # nothing that the client could do
        return DistributionError("UNAVAILABLE", f"this node's own login is not accepted: {error}", status=502)
    return DistributionError(
        "UNAUTHORIZED", str(error), status=401, headers={"WWW-Authenticate": error.challenge.replace("\n", " ")}
    )
