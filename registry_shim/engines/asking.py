"""Asking the shim itself, as an engine would."""

from __future__ import annotations

import http.client
import logging
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from modelcar.doctor.finding import Finding, note, ok, problem
from modelcar.errors import WorldError
from modelcar.exchanges import told
from modelcar.tls import verifying
from registry_shim.engines.canary import MARK, canary_of

__all__ = ["ask_shim"]

_log = logging.getLogger(__name__)
_ANSWER: Final = 64 << 10  # bytes of a body that are read
_SECONDS: Final = 10.0
_RULES: Final = re.compile(r'rules for [^"\\]{1,200}')  # the gate's own summary
_ENFORCED: Final = re.compile(r"\d enforce|without a rule: refused")


def ask_shim(shim: str, registries: Iterable[str], ca: Path | None) -> Iterator[Finding]:
    """Whether it is up, and refuses a canary of each registry; `ca` is a PEM file to trust."""
    try:
        status, _ = _get(shim, "/v2/", ca)
    except WorldError as e:
        yield problem(
            "shim", f"{shim} does not answer: {e}", "systemctl status registry-shim; until then no pull works"
        )
        return
    if status not in (200, 401):
        yield problem("shim", f"{shim}/v2/ answers {status}", "is that address a registry-shim's?")
        return
    yield ok("shim", f"{shim} answers")
    for registry in registries:
        try:
            yield _ask_about(shim, registry, ca)
        except WorldError as e:
            yield problem("shim", f"{registry}: {shim} broke off: {e}", "what does its log say?")


def _ask_about(shim: str, registry: str, ca: Path | None) -> Finding:
    canary = canary_of(registry)
    path = f"/v2/{canary.repository}/manifests/{canary.tag}?{urlencode({'ns': registry})}"
    status, body = _get(shim, path, ca)
    if status != HTTPStatus.FORBIDDEN or MARK not in body:
        hint = f"add {registry} to the shim's upstreams, or take it out of the engines' configuration"
        return problem("shim", f"{registry}: what must be refused is answered with {status}", hint)
    rules = _RULES.search(body)
    if rules is not None and not _ENFORCED.search(rules[0]):
        hint = "that is as you want it if nothing but a cache is wanted; docs/how-to/gate.md"
        return note("shim", f"{registry}: the gate refuses nothing else: {rules[0]}", hint)
    return ok("shim", f"{registry}: what must be refused is refused{f' ({rules[0]})' if rules else ''}")


def _get(base: str, path: str, ca: Path | None) -> tuple[int, str]:
    url = urlsplit(base)
    connection: http.client.HTTPConnection
    try:
        if url.scheme == "https":
            context = verifying(ssl.create_default_context(cafile=ca))
            connection = http.client.HTTPSConnection(url.netloc, timeout=_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(url.netloc, timeout=_SECONDS)
        with closing(connection), told(_log, "GET", base + path) as exchange:
            connection.request("GET", path)
            response = connection.getresponse()
            exchange.status = response.status
            answer = response.read(_ANSWER)
            exchange.received = len(answer)
            return response.status, answer.decode(errors="replace")
    except (OSError, http.client.HTTPException) as e:
        raise WorldError(str(e) or type(e).__name__) from None
