"""What is refused before any handler sees it. Pure: what stands in a request's head, and why it may not go on.

Other programs stand between clients and us, or in front of upstreams. What two of them could read in two ways (where a
message ends, whom it is for, which path it names) is refused rather than read in ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from modelcar.oci import compact_json
from modelcar.serving.messages import Response
from modelcar.serving.settings import Limits

__all__ = ["Refusal", "check_head"]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_ONCE: Final = frozenset(
    {
        "authorization",
        "content-length",
        "content-range",
        "content-type",
        "expect",
        "host",
        "if-range",
        "oci-namespace",
        "range",
        "transfer-encoding",
    }
)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]*(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_PUSHED: Final = re.compile(r"/v2/.+/(blobs/uploads(/[^/]*)?|manifests/[^/]+)")
_CODES: Final = {405: "UNSUPPORTED", 413: "SIZE_INVALID", 431: "SIZE_INVALID", 503: "TOOMANYREQUESTS"}


class Refusal(Exception):
    """Why a request is not answered; the connection ends with it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def response(self) -> Response:
        """The answer, in the distribution specification's form."""
        entry = {"code": _CODES.get(self.status, "UNSUPPORTED"), "message": str(self)}
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self.status == 503:
            headers["Retry-After"] = "1"
        return Response(status=self.status, headers=headers, body=compact_json({"errors": [entry]}))


def check_head(
    *, method: str, target: str, headers: Iterable[tuple[str, str]], version: tuple[int, int], limits: Limits
) -> None:
    """Raise `Refusal` unless a request with this head has one meaning only.

    `target` is the request line's, as it was sent; header names are lower-case.
    """
    if method not in _METHODS:
        raise Refusal(405, f"{method[:20]} is not a method of this server")
    fields = _once(headers, limits.header_count)
    if version >= (1, 1) and "host" not in fields:
        raise Refusal(400, "a request says which host it is for")
    if not _HOST.fullmatch(fields.get("host", "")):
        raise Refusal(400, "that is not a host")
    if "#" in target:
        raise Refusal(400, "a fragment is for the client alone")
    path = target.partition("?")[0]
    _check_path(path)
    _check_body(method, path, fields, limits.body_bytes)


def _once(headers: Iterable[tuple[str, str]], limit: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    for number, (name, value) in enumerate(headers, 1):
        if number > limit:
            raise Refusal(431, f"a request has at most {limit} headers")
        if name in _ONCE and name in fields:
            raise Refusal(400, f"{name} is there twice")
        if name in _ONCE and not value.isascii():
            raise Refusal(400, f"{name} has bytes that mean nothing there")
        fields[name] = value
    return fields


def _check_path(path: str) -> None:
    if not path.startswith("/"):
        raise Refusal(400, "this is no proxy: a request names a path, not a URL")
    if "%2f" in path.lower() or "%5c" in path.lower() or "\\" in path:
        raise Refusal(400, "a path has no slashes in disguise")
    decoded = unquote_to_bytes(path)
    if any(byte < 0x20 or byte == 0x7F for byte in decoded):
        raise Refusal(400, "a path has no control characters")
    if any(part in (b".", b"..") for part in decoded.split(b"/")):
        raise Refusal(400, "a path has no dots to go up by")


def _check_body(method: str, path: str, fields: dict[str, str], limit: int) -> None:
    length = fields.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise Refusal(400, "a length is a number, and not a long one")
    coding = fields.get("transfer-encoding")
    if coding is not None and "content-length" in fields:
        raise Refusal(400, "a body has a length or is chunked, not both")
    if coding is not None and coding.strip().lower() != "chunked":
        raise Refusal(400, "a body is chunked or it is not; nothing else is understood")
    pushes = method in ("POST", "PUT", "PATCH") and _PUSHED.fullmatch(path) is not None
    if pushes:
        return
    if coding is not None:
        raise Refusal(413, "the body of such a request says how long it is")
    if int(length) > limit:
        raise Refusal(413, f"the body of such a request has at most {limit} bytes")
