"""What a registry's refusal becomes: one clear line, a hint, and no secret.

Redaction is by allow-list: of a URL only scheme, host and path are ever shown, of a body only the error format of the
distribution specification, or short plain text, cleaned of control characters and of the credentials that were sent.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable

from modelcar.backoff import retry_after
from modelcar.errors import (
    Forbidden,
    RateLimited,
    RegistryError,
    RemoteNotFound,
    Unauthorized,
    Unreachable,
)
from modelcar.exchanges import public_url
from modelcar.registry.transport import Answer, Broken

__all__ = ["clean", "no_answer", "refusal", "show_url"]

_MAX_TEXT = 300
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_URL_SECRETS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/@\"']*@)?(?P<rest>[^\s?#\"']*)[?#]?[^\s\"']*")
_XML_CODE = re.compile(r"<Code>([A-Za-z0-9_.]{1,64})</Code>")
_KINDS: dict[int, type[RegistryError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: RemoteNotFound,
    429: RateLimited,
}
_TLS_EXPECTED = ("HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port")


def clean(text: str, hide: Iterable[str] = ()) -> str:
    """`text` from outside made fit for one line on a terminal, without URL queries and without what is in `hide`."""
    for secret in hide:
        if len(secret) > 3:
            text = text.replace(secret, "…")
    text = _URL_SECRETS.sub(lambda m: m["scheme"] + m["rest"], text)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def show_url(url: str) -> str:
    """Scheme, host and path of `url`: queries of upload sessions and CDNs carry signatures."""
    return clean(public_url(url))


def refusal(answer: Answer, registry: str, what: str, hide: Iterable[str] = ()) -> RegistryError:
    """The exception for an answer that is an error. Reads (a bounded part of) its body and closes it."""
    codes, message = _explain(answer.beginning(), answer.headers.get("Content-Type", ""), hide)
    kind = _KINDS.get(answer.status, RegistryError)
    said = ": ".join(filter(None, (" ".join(codes), message)))
    status = f"{answer.status} {clean(answer.reason, hide)}".strip()
    line = f"{registry}: {what}: {status}" + (f" ({said})" if said else "")
    error = kind(line, status=answer.status, codes=codes, hint=_hint(answer, registry, message))
    if answer.status == 401:
        error.challenge = answer.challenge or answer.headers.get("WWW-Authenticate")
    error.retry_after = retry_after(answer.headers.get("Retry-After"))
    return error


def no_answer(broken: Broken, registry: str, what: str) -> Unreachable:
    """The exception for a request that got no answer."""
    return Unreachable(f"{registry}: {what}: {broken}", hint=broken.hint)


def _explain(body: bytes, content_type: str, hide: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The error codes and the message of an error's body."""
    text = body.decode("utf-8", "replace")
    try:
        errors = json.loads(text)["errors"]
        entries = [e for e in errors[:3] if isinstance(e, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        if match := _XML_CODE.search(text):
            return (), match[1]
        plain = content_type.partition(";")[0].strip().lower() in ("text/plain", "")
        return (), clean(text, hide) if plain else ""
    codes = tuple(str(e["code"]) for e in entries if _CODE.fullmatch(str(e.get("code", ""))))
    messages = [e["message"] for e in entries if isinstance(e.get("message"), str)]
    return codes, clean("; ".join(messages), hide)


def _hint(answer: Answer, registry: str, message: str) -> str | None:
    if any(text in message for text in _TLS_EXPECTED):
        return "the registry speaks TLS: leave out --plain-http, and give its CA with --ca-file"
    return {
        401: f"log in with `docker login {registry}` (podman login and skopeo login work as well)",
        403: f"the account that is logged in to {registry} lacks this permission, or the repository does not exist",
        404: "check the name; private repositories look missing to those who are not logged in",
        413: "a proxy in front of the registry limits the size of requests: raise it (nginx: client_max_body_size)",
        429: "the registry limits how often it may be asked: try later, or log in for a higher limit",
        507: "the registry has no space left",
    }.get(answer.status)
