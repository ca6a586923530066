"""Which files the Hub has of a model at one commit: two requests that `HfApi` makes, too.

All of `HfApi`, and the client that it asks with, take longer to import than both answers to come. So they come over
connections of our own; the library's client is asked where those meet what is out of the ordinary.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
from importlib import import_module
from typing import Any, Final
from urllib.parse import quote

from modelcar.checkpoint.hub import HubOptions, is_wanted
from modelcar.checkpoint.hub_errors import Wanted
from modelcar.checkpoint.ranges import Ranges
from modelcar.checkpoint.remote import RemoteFile
from modelcar.errors import WorldError
from modelcar.exchanges import told

__all__ = ["direct_connections", "list_files"]

_log = logging.getLogger(__name__)
_PATIENCE: Final = 30.0  # seconds
_NEXT: Final = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')


def list_files(
    wanted: Wanted, options: HubOptions, headers: dict[str, str], connections: Ranges | None
) -> tuple[str, tuple[RemoteFile, ...]]:
    """The commit that is wanted, and what there is at it. `headers` are those of the library, with its token.

    Raises:
        Exception: whatever the library's client raises; see `hub_errors`.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare

    validate_repo_id(wanted.repo)
    model = f"{options.endpoint or constants.ENDPOINT}/api/models/{wanted.repo}"
    revision = quote(wanted.revision or constants.DEFAULT_REVISION, safe="")
    info, _ = _asked(f"{model}/revision/{revision}", headers, connections)
    commit = info.get("sha")
    if not isinstance(commit, str) or not commit:
        raise WorldError(f"{wanted.endpoint} names no commit of {wanted}", hint="is HF_ENDPOINT a Hub?")
    found: list[RemoteFile] = []
    page: str | None = f"{model}/tree/{quote(commit, safe='')}?recursive=true&expand=false"
    while page is not None:
        entries, page = _asked(page, headers, connections)
        found += [_listed(entry) for entry in entries if entry["type"] == "file"]
    return commit, tuple(file for file in found if is_wanted(file.path, options))


def direct_connections() -> Ranges | None:
    """Connections that trust what the library's client trusts; `None` where somebody has put another client in its
    place, for their proxy or certificates, say."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    own, current = (getattr(_http, name, None) for name in ("default_client_factory", "_GLOBAL_CLIENT_FACTORY"))
    if own is None or own is not current:
        return None
    return Ranges(constants.HF_HUB_DOWNLOAD_TIMEOUT, _tls_context)


def _tls_context() -> ssl.SSLContext:
    """What the library's own client trusts."""
    from huggingface_hub.utils import _http

    client = import_module("httpx2" if hasattr(_http, "httpx2") else "httpx")  # the library changed over in 2.x
    context: ssl.SSLContext = client.create_ssl_context()
    return context


def _asked(url: str, headers: dict[str, str], connections: Ranges | None) -> tuple[Any, str | None]:
    """The document at `url`, and where the next page of it is."""
    document = connections.document(url, headers) if connections is not None else None
    if document is not None:
        body, fields = document
        after = _NEXT.search(fields.get("Link", ""))
        return json.loads(body), after[1] if after else None
    from huggingface_hub.utils import (  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare
        hf_raise_for_status,
        http_backoff,
    )

    with told(_log, "GET", url) as exchange:
        answer = http_backoff("GET", url, headers=headers, timeout=_PATIENCE, max_retries=2)
        exchange.status, exchange.received = answer.status_code, len(answer.content)
    hf_raise_for_status(answer)
    return answer.json(), answer.links.get("next", {}).get("url")


def _listed(entry: dict[str, Any]) -> RemoteFile:
    lfs = entry.get("lfs")
    sha256 = lfs["oid"] if lfs else None
    return RemoteFile(path=entry["path"], size=entry["size"], version=sha256 or entry["oid"], sha256=sha256)
