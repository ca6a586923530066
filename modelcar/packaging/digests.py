"""Digests of planned layers: from the memo where nothing changed, else by one parallel pass over the bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Event

from modelcar.errors import DigestMismatch
from modelcar.layers.estargzhash import hash_estargz
from modelcar.layers.hashing import LayerDigests, hash_layer
from modelcar.packaging.arriving import Bringer
from modelcar.packaging.packed import PackedLayer
from modelcar.packaging.plan import LayerKind, Packing, PlannedLayer
from modelcar.packaging.streams import Begin, Departure, departing
from modelcar.progress import SILENT, Progress
from modelcar.store.memo import DigestMemo, content_key, layer_key

__all__ = ["digest_layers", "known_digests"]


class _Stop(Exception):
    """Ends a worker whose result nobody wants any more."""


def known_digests(layer: PlannedLayer, memo: DigestMemo, *, content_digests: bool = False) -> LayerDigests | None:
    """What the memo has for this layer; `None` if its bytes must be read.

    Of a layer whose bytes are elsewhere it is what was hashed here of contents with the same hashes: who publishes them
    vouches for these, as for the bytes. What lies on this disk may have been changed since, so there its state counts.
    """
    paths = _digested_paths(layer, all_files=content_digests)
    key = _content_key(layer, paths) if layer.is_awaited else _key(layer, paths)
    found = memo.get(key, layer.tar_size, layer.tar.payloads) if key else None
    return found if found is not None and layer.is_completed_by(found) else None


def digest_layers(
    layers: Sequence[PlannedLayer],
    memo: DigestMemo,
    *,
    content_digests: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
    bring: Bringer | None = None,
    begin: Begin = lambda *_: None,
    arrived: Callable[[PlannedLayer], None] = lambda _: None,
    digested: Callable[[PackedLayer], None] = lambda _: None,
    abandoned: Callable[[BaseException], None] = lambda _: None,
) -> list[PackedLayer]:
    """Digest all layers, each byte read once and none where the memo knows better.

    Args:
        content_digests: also digest every weight file as a file, which costs one more hash of its bytes (small files
            always are, and those of which the Hub says what they should hash to).
        workers: threads; by default one a core.
        bring: brings the files of layers that are awaited.
        begin: is asked for every layer that is about to be hashed whether it leaves meanwhile.
        arrived: called in one of them when a layer's files are where they are to stay, and hashed; before it returns
            no digest of the layer gets out. What it raises ends all.
        digested: called in one of them whenever a layer is done; what it raises ends the others too.
        abandoned: called with what went wrong, before the threads are waited for.

    Raises:
        SourceChanged: a file changed after the checkpoint was opened.
        DigestMismatch: a file is not what the Hub says that it is.
        WorldError: a file cannot be brought.
    """
    stop = Event()
    progress.expect(sum(layer.size for layer in layers))

    def digest(number: int, layer: PlannedLayer) -> PackedLayer:
        key = f"hash {layer.files[0].path}"
        advance = partial(progress.advance, key)
        progress.start(key, layer.label, layer.size)
        known = digests = known_digests(layer, memo, content_digests=content_digests)
        paths = _digested_paths(layer, all_files=content_digests)
        began_ns = time.time_ns()
        awaited = layer.is_awaited
        with departing(begin) as departure:
            if bring is not None:
                hashing = partial(_hash_leaving, departure=departure, paths=paths, advance=_unless(stop))
                layer, digests = bring.layer(
                    number, layer, known, hashing, departure, stopped=stop.is_set, advance=advance
                )
                began_ns = time.time_ns() if awaited else began_ns  # when nobody else had been told of the files
            if digests is None:
                if layer.estargz is None:
                    departure.start(layer)
                digests = _hash_leaving(layer, departure=departure, paths=paths, advance=_unless(stop, advance))
            _check_promises(layer, digests)
            arrived(layer)
            if known is None or awaited:
                _remember(layer, digests, memo, paths, began_ns)
            departure.finish(digests.blob)
        progress.finish(key, "unchanged" if known else "")
        packed = PackedLayer(planned=layer, digests=digests)
        digested(packed)
        return packed

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        futures: list[Future[PackedLayer]] = []
        try:
            for number, layer in enumerate(layers):
                futures.append(pool.submit(partial(digest, number), layer))  # or Ctrl-C comes before
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()  # raises what went wrong, without waiting for what comes before it
            return [future.result() for future in futures]
        except BaseException as e:
            abandoned(e)
            raise
        finally:
            stop.set()
            for future in futures:
                future.cancel()


def _hash_leaving(
    layer: PlannedLayer,
    ready: Callable[[int], None] = lambda _: None,
    *,
    departure: Departure,
    paths: Sequence[str],
    advance: Callable[[int], None],
) -> LayerDigests:
    return _hash(layer, ready, paths=paths, advance=departure.told(advance))


def _hash(
    layer: PlannedLayer,
    ready: Callable[[int], None] = lambda _: None,
    *,
    paths: Sequence[str],
    advance: Callable[[int], None],
) -> LayerDigests:
    wanted = frozenset(paths)
    if layer.estargz is not None:
        return hash_estargz(layer.estargz, content_digests=lambda p: p.path in wanted, advance=advance)
    return hash_layer(
        layer.tar, content_digests=lambda p: p.path in wanted, spans=layer.spans, advance=advance, ready=ready
    )


def _unless(stop: Event, advance: Callable[[int], None] = lambda _: None) -> Callable[[int], None]:
    """`advance`, which ends the work when nobody wants it any more."""

    def step(n: int) -> None:
        if stop.is_set():
            raise _Stop
        advance(n)

    return step


def _check_promises(layer: PlannedLayer, digests: LayerDigests) -> None:
    """Are the files what the Hub says that they are?"""
    for file in layer.files:
        found = digests.files.get(layer.place(file))
        if file.known_sha256 is not None and found is not None and found.hex != file.known_sha256:
            raise DigestMismatch(
                f"{file.path} hashes to {found.short}…, where the Hub promises {file.known_sha256[:12]}…: "
                f"{file.source} is damaged or was changed",
                hint="remove that file and try again, which downloads it anew",
            )


def _remember(
    layer: PlannedLayer, digests: LayerDigests, memo: DigestMemo, paths: Sequence[str], began_ns: int
) -> None:
    if not layer.is_awaited and (key := _key(layer, paths)):
        memo.put(key, digests, [f.stamp for f in layer.files], began_ns)
    if key := _content_key(layer, paths):
        memo.put(key, digests, (), began_ns)


def _key(layer: PlannedLayer, paths: Sequence[str]) -> str | None:
    """The memo's; each packing has its own."""
    return layer_key(layer.entries, paths, _variant(layer))


def _content_key(layer: PlannedLayer, paths: Sequence[str]) -> str | None:
    sha256 = {layer.place(f): f.known_sha256 for f in layer.files if f.known_sha256 is not None}
    return content_key(layer.entries, sha256, paths, _variant(layer))


def _variant(layer: PlannedLayer) -> str:
    return "" if layer.packing is Packing.TAR else "spans" if layer.spans else "estargz"


def _digested_paths(layer: PlannedLayer, *, all_files: bool) -> list[str]:
    if all_files or layer.kind is LayerKind.FILES:
        return sorted(entry.path for entry in layer.entries)
    return sorted(layer.place(f) for f in layer.files if f.known_sha256 is not None)
