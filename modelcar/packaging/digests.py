"""Digests of planned layers: from the memo where nothing changed, else by one parallel pass over the bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event

from modelcar.layers.hashing import LayerDigests, hash_layer
from modelcar.layers.tar import Payload
from modelcar.packaging.plan import LayerKind, PlannedLayer
from modelcar.progress import SILENT, Progress
from modelcar.store.memo import DigestMemo, layer_key

__all__ = ["digest_layers", "known_digests"]


Digested = Callable[[PlannedLayer, LayerDigests], None]


class _Stop(Exception):
    """Ends a worker whose result nobody wants any more."""


def known_digests(layer: PlannedLayer, memo: DigestMemo, *, content_digests: bool = False) -> LayerDigests | None:
    """What the memo has for this layer; `None` if its bytes must be read."""
    key = layer_key(layer.entries, _digested_paths(layer, all_files=content_digests))
    return memo.get(key, layer.tar) if key else None


def digest_layers(
    layers: Sequence[PlannedLayer],
    memo: DigestMemo,
    *,
    content_digests: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
    digested: Digested = lambda *_: None,
) -> list[LayerDigests]:
    """Digest all layers, each byte read once and none where the memo knows better.

    Args:
        content_digests: also digest every weight file as a file, which costs one more hash of its bytes (small files
            always are).
        workers: threads; by default one a core.
        digested: called in one of them whenever a layer is done; what it raises ends the others too.

    Raises:
        SourceChanged: a file changed after the checkpoint was opened.
    """
    stop = Event()
    progress.expect(sum(layer.size for layer in layers))

    def digest(layer: PlannedLayer) -> LayerDigests:
        key = f"hash {layer.files[0].path}"
        progress.start(key, layer.label, layer.size)
        known = known_digests(layer, memo, content_digests=content_digests)
        digests = known or _hash(layer, memo, content_digests, stop, lambda n: progress.advance(key, n))
        progress.finish(key, "unchanged" if known else "")
        digested(layer, digests)
        return digests

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        futures: list[Future[LayerDigests]] = []
        try:
            for layer in layers:
                futures.append(pool.submit(digest, layer))  # noqa: PERF401  # Ctrl-C may come before all of them begin
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()  # raises what went wrong, without waiting for what comes before it
            return [future.result() for future in futures]
        finally:
            stop.set()
            for future in futures:
                future.cancel()


def _hash(
    layer: PlannedLayer, memo: DigestMemo, content_digests: bool, stop: Event, advance: Callable[[int], None]
) -> LayerDigests:
    paths = set(_digested_paths(layer, all_files=content_digests))

    def wanted(payload: Payload) -> bool:
        return payload.path in paths

    def step(n: int) -> None:
        if stop.is_set():
            raise _Stop
        advance(n)

    started_ns = time.time_ns()
    digests = hash_layer(layer.tar, content_digests=wanted, advance=step)
    if key := layer_key(layer.entries, sorted(paths)):
        memo.put(key, digests, [f.stamp for f in layer.files], started_ns)
    return digests


def _digested_paths(layer: PlannedLayer, *, all_files: bool) -> list[str]:
    if all_files or layer.kind is LayerKind.FILES:
        return [entry.path for entry in layer.entries]
    return []
