"""Image to folder: the model's files as they were, verified on the way, visible only when all are there."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol, cast

from modelcar.errors import InvalidContent, InvalidDocument, NotFound
from modelcar.oci import Descriptor, Digest, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.distinct import DistinctPaths
from modelcar.packaging.plan import MODEL_ROOT, LayerKind
from modelcar.packaging.staging import Staging, open_staging
from modelcar.progress import SILENT, Progress
from modelcar.registry.cancel import current_scope, run_parallel

__all__ = ["TAR_ERRORS", "OpenLayer", "Unpacked", "unpack_layer", "unpack_model"]

# What reading a tar raises when its bytes make no sense; some of it is no `TarError`.
TAR_ERRORS: Final = (tarfile.TarError, EOFError, ValueError, OverflowError, gzip.BadGzipFile, zlib.error)
_BUFFER: Final = 1 << 20
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MODELPACK_TAR: Final = re.compile(r"application/vnd\.cncf\.model\.[a-z.]+\.v1\.tar(\+gzip)?")


class Readable(Protocol):
    """A verifying stream: it raises at its end unless it was what its descriptor promises."""

    def read(self, n: int = -1, /) -> bytes: ...


OpenLayer = Callable[[Descriptor], AbstractContextManager[Readable]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What was put into the folder."""

    files: int
    size: int


def unpack_model(
    manifest: Manifest, open_layer: OpenLayer, target: Path, *, workers: int = 4, progress: Progress = SILENT
) -> Unpacked:
    """Write the files under `/models` of an image directly under `target`, which must not exist or be empty.

    Images that modelcar made are unpacked in parallel, and a repeated call goes on with the layers that are missing;
    others layer by layer, with whiteouts, as an engine would.

    Raises:
        UsageError: `target` has something in it, or its file system takes two of the files for one.
        NotFound: the image has no `/models`.
        InvalidContent: a layer is not what its digest says, or holds what a model must not; nothing is visible then.
    """
    layers = [d for d in manifest.layers if d.annotations.get(LAYER) in (LayerKind.WEIGHTS, LayerKind.FILES)]
    in_order = sorted(layers, key=lambda d: -d.size) or manifest.layers
    with open_staging(target, manifest.digest) as staging:
        progress.expect(sum(d.size for d in in_order))
        if layers:
            unpacking = _Unpacking(staging, open_layer, progress)
            run_parallel([partial(unpacking.unpack, d) for d in in_order], workers)
        else:
            staging.start_over()
            claim = DistinctPaths(staging.folder).add
            run_parallel([partial(unpack_layer, d, open_layer, staging.files, progress, claim) for d in in_order], 1)
        files = [p for p in staging.files.rglob("*") if not p.is_dir() or p.is_symlink()]
        if not files:
            raise NotFound("the image has no files under /models", hint="`modelcar inspect` shows what it is")
        return Unpacked(files=len(files), size=sum(p.lstat().st_size for p in files))


class _Unpacking:
    """Layers that know nothing of each other, in any order; those that are there already are left alone."""

    def __init__(self, staging: Staging, open_layer: OpenLayer, progress: Progress) -> None:
        self._staging = staging
        self._open_layer = open_layer
        self._progress = progress
        self._owners: dict[str, Digest] = {}
        self._distinct = DistinctPaths(staging.folder)

    def unpack(self, descriptor: Descriptor) -> None:
        digest = descriptor.digest
        paths = self._staging.paths_of(digest)
        if paths is None:
            claim = partial(self._claim, layer=digest)
            paths = unpack_layer(descriptor, self._open_layer, self._staging.files, self._progress, claim)
            self._staging.finish(digest, paths)
        else:
            self._progress.start(str(digest), digest.short, descriptor.size)
            self._progress.finish(str(digest), "exists")
            for path in paths:
                self._claim(path, layer=digest)

    def _claim(self, path: str, *, layer: Digest) -> None:
        """`setdefault` is atomic, so of two layers with one path exactly one fails."""
        if (owner := self._owners.setdefault(path, layer)) != layer:
            raise InvalidContent(f"{path} is in two layers of the image: {owner} and {layer}")
        self._distinct.add(path)


def unpack_layer(
    descriptor: Descriptor,
    open_layer: OpenLayer,
    folder: Path,
    progress: Progress,
    claim: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Unpack one layer into `folder`; returns the paths of its files. `claim` is told of each before it is written."""
    key = str(descriptor.digest)
    brought: dict[Path, str] = {}
    progress.start(key, descriptor.digest.short, descriptor.size)
    with open_layer(descriptor) as raw:
        counted = _Counting(raw, lambda n: progress.advance(key, n))
        try:
            with tarfile.open(
                fileobj=cast("IO[bytes]", _decompress(descriptor, counted)), mode="r|", bufsize=_BUFFER
            ) as tar:
                for member in tar:
                    path = _path_in_model(member.name)
                    if path is None:
                        continue
                    if Path(path).name.startswith(_WHITEOUT):
                        _white_out(folder, path, brought)
                        continue
                    if not member.isdir():
                        claim(path)
                        brought[folder / path] = path
                    _unpack_member(tar, member, folder / path, folder)
        except TAR_ERRORS as e:
            raise InvalidContent(f"layer {descriptor.digest} is not a readable tar: {e}") from None
        while counted.read(_BUFFER):  # to the end, where the digest is checked
            pass
    progress.finish(key)
    return list(brought.values())


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, folder: Path) -> None:
    if member.isdir():
        _check_parents(folder, target)
        target.mkdir(parents=True, exist_ok=True)
    elif member.isreg():
        _check_parents(folder, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(target)
        content = tar.extractfile(member)
        if content is None:
            raise InvalidContent(f"{member.name} has no content")
        with open(target, "xb") as f:
            shutil.copyfileobj(content, f, _BUFFER)
    else:
        raise InvalidContent(
            f"{member.name} in the image is a link or special file, which a model must not hold",
            hint="run the image, or copy it with `modelcar copy` and unpack it with another tool",
        )


def _path_in_model(name: str) -> str | None:
    """`models/a/b` → `a/b`; `None` for what lies elsewhere. Whiteouts of the whole model stand for its top.

    Raises:
        InvalidContent: the name climbs out.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidContent(f"{name!r} in the image climbs out of its folder")
    if parts in ([_OPAQUE], [f"{_WHITEOUT}{MODEL_ROOT}"]):
        return _OPAQUE
    if len(parts) < 2 or parts[0] != MODEL_ROOT:
        return None
    return "/".join(parts[1:])


def _check_parents(folder: Path, target: Path) -> None:
    """A layer of an older image may have put a file where a later one has a folder."""
    for parent in reversed(target.parents):
        if parent.is_relative_to(folder) and parent.exists() and not parent.is_dir():
            parent.unlink()


def _white_out(folder: Path, path: str, keep: Collection[Path]) -> None:
    """Delete what lower layers have there; `keep` is what this one has brought already, which it does not apply to."""
    marker = folder / path
    name = marker.name.removeprefix(_WHITEOUT)
    if marker.name == _OPAQUE:
        for child in marker.parent.iterdir() if marker.parent.is_dir() else ():
            _remove(child, keep)
    elif name in ("", ".", ".."):
        raise InvalidContent(f"{marker.name!r} in the image would delete the folder that it is in, or the one above")
    else:
        _remove(marker.with_name(name), keep)


def _remove(path: Path, keep: Collection[Path] = ()) -> None:
    if path.is_dir():
        for child in path.iterdir():
            _remove(child, keep)
        with suppress(OSError):  # not empty: something in it is kept
            path.rmdir()
    elif path not in keep:
        path.unlink(missing_ok=True)


def _decompress(descriptor: Descriptor, raw: _Counting) -> Readable:
    media_type = descriptor.media_type
    modelpack = _MODELPACK_TAR.fullmatch(media_type)
    if media_type in media_types.UNCOMPRESSED_LAYERS or (modelpack and not modelpack[1]):
        return raw
    if media_type in (media_types.LAYER_TAR_GZIP, media_types.DOCKER_LAYER_GZIP) or modelpack:
        return cast("Readable", gzip.GzipFile(fileobj=cast("IO[bytes]", raw), mode="rb"))
    raise InvalidDocument(
        f"layer {descriptor.digest} is of type {media_type}, which cannot be unpacked here",
        hint="convert the image with skopeo or buildah, or mount it with an engine",
    )


class _Counting:
    """Tells how many bytes of the blob have been read, and stops when nobody wants them any more."""

    def __init__(self, raw: Readable, advance: Callable[[int], None]) -> None:
        self._raw = raw
        self._advance = advance

    def read(self, n: int = -1) -> bytes:
        if (scope := current_scope()) is not None:
            scope.check()
        data = self._raw.read(n)
        if data:
            self._advance(len(data))
        return data
