"""What must hold, as functions that raise `Defect`: for the shim, and for a double with bugs."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence

from tests.e2e.shim_proof.clients import Defect, Download, Reply, blob_path, download, get, manifest_path
from tests.e2e.shim_proof.crowd import crowd, wishes
from tests.e2e.shim_proof.library import Blob
from tests.e2e.shim_proof.node import Node
from tests.e2e.shim_proof.upstream import Upstream

__all__ = [
    "fetched_once",
    "kept_over_a_restart",
    "never_serves",
    "nobody_learns",
    "refused",
    "takes_manifest",
    "token_for",
]


def fetched_once(
    node: Node,
    origin: Upstream,
    repository: str,
    blob: Blob,
    *,
    clients: int,
    seed: int,
    limit: float,
    meanwhile: Callable[[], None] | None = None,
    within: float = 120.0,
) -> None:
    """A crowd gets what it wants of a blob, for at most `limit` bytes from the upstream."""
    before = origin.blob_bytes
    crowd(node.address, wishes(repository, blob, clients, seed), meanwhile=meanwhile, within=within)
    sent = origin.blob_bytes - before
    if sent > limit:
        raise Defect(f"{sent} bytes from the upstream, {sent / blob.size:.3f} x the blob (seed {seed})")


def kept_over_a_restart(node: Node, origin: Upstream, repository: str, blob: Blob) -> None:
    """What one client has taken, the next one gets from a restarted shim, and not from the upstream."""
    want = Download(path=blob_path(repository, blob.digest), blob=blob)
    download(node.address, want)
    before = origin.blob_bytes
    node.restart()
    download(node.address, want)
    if origin.blob_bytes > before:
        raise Defect(f"{origin.blob_bytes - before} bytes were fetched again after a restart")


def takes_manifest(node: Node, repository: str, reference: str, manifest: Blob) -> None:
    """A manifest arrives as it is."""
    reply = get(node.address, manifest_path(repository, reference))
    if reply.status != http.HTTPStatus.OK or reply.body != manifest.content():
        raise Defect(f"{reference}: {reply.status} {reply.body[:500]!r}")


def never_serves(node: Node, path: str, *, truth: bytes) -> None:
    """Neither a whole answer nor the beginning of one has a byte that is not from `truth`."""
    try:
        reply = get(node.address, path, within=20)
    except http.client.IncompleteRead as e:
        reply = Reply(status=200, headers={}, body=e.partial)
    except (OSError, http.client.HTTPException):
        return
    if reply.status == http.HTTPStatus.OK and truth[: len(reply.body)] != reply.body:
        raise Defect(f"{path}: wrong bytes were served")


def refused(node: Node, path: str, *, secret: bytes = b"", headers: dict[str, str] | None = None) -> None:
    """A request that is answered with an error, and without what it was after."""
    try:
        reply = get(node.address, path, headers, within=45)
    except (OSError, http.client.HTTPException) as e:
        raise Defect(f"{path} {headers or ''}: no answer: {e!r}") from None
    if reply.status < http.HTTPStatus.BAD_REQUEST or (secret and secret in reply.body):
        raise Defect(f"{path} {headers or ''}: {reply.status} {reply.body[:500]!r}")


def nobody_learns(secrets: Sequence[str], *texts: str) -> None:
    """No secret is in what was written somewhere."""
    for secret in secrets:
        for text in texts:
            at = text.find(secret)
            if at >= 0:
                raise Defect(f"a secret was written: {text[max(0, at - 100) : at]!r}")


def token_for(origin: Upstream, repository: str, authorization: str = "") -> str:
    """An Authorization header from the upstream's token server."""
    path = f"/token?service=upstream&scope=repository:{repository}:pull"
    reply = get(origin.address, path, {"Authorization": authorization} if authorization else {})
    token = reply.body.decode().partition('"token": "')[2].partition('"')[0]
    assert token, reply
    return f"Bearer {token}"
