"""Image to folder: the model's files as they were, verified on the way, visible only when all are there."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Final, Protocol, cast

from modelcar.errors import InvalidContent, InvalidDocument, NotFound, UnsafePath, UsageError
from modelcar.oci import Descriptor, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.plan import MODEL_ROOT, LayerKind
from modelcar.progress import SILENT, Progress
from modelcar.store.disk import explain

__all__ = ["Unpacked", "unpack_model"]

_BUFFER: Final = 1 << 20
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MODELPACK_TAR: Final = re.compile(r"application/vnd\.cncf\.model\.[a-z.]+\.v1\.tar")


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

    Images that modelcar made are unpacked in parallel; others layer by layer, with whiteouts, as an engine would.

    Raises:
        UsageError: `target` has something in it.
        NotFound: the image has no `/models`.
        InvalidContent: a layer is not what its digest says, or holds what a model must not; nothing is visible then.
    """
    layers = [d for d in manifest.layers if d.annotations.get(LAYER) in (LayerKind.WEIGHTS, LayerKind.FILES)]
    ours = bool(layers)
    with _staging(target) as folder:

        def unpack(descriptor: Descriptor) -> None:
            _unpack_layer(descriptor, open_layer, folder, progress)

        if ours:
            _in_parallel(unpack, layers, workers)
        else:
            for descriptor in manifest.layers:
                unpack(descriptor)
        files = [p for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()]
        if not files:
            raise NotFound("the image has no files under /models", hint="`modelcar inspect` shows what it is")
        return Unpacked(files=len(files), size=sum(p.lstat().st_size for p in files))


def _in_parallel(work: Callable[[Descriptor], None], layers: Sequence[Descriptor], workers: int) -> None:
    """Do `work` for every layer, largest first; after a failure nothing more is begun."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, d) for d in sorted(layers, key=lambda d: -d.size)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside `target` that becomes `target` if the block succeeds, and is removed if it does not."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"{target} is not a folder")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty", hint="name a folder that is empty or does not exist yet")
    inside = os.path.ismount(target)  # another file system: a rename from beside it would be a copy
    try:
        if not inside:
            target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(mkdtemp(prefix=".modelcar-pull-", dir=target if inside else target.parent))
    except OSError as e:
        raise explain(e, f"cannot write to {target}") from None
    try:
        yield staging
        if inside:
            for path in sorted(staging.iterdir()):
                path.rename(target / path.name)
            staging.rmdir()
        else:
            staging.chmod(0o755)
            staging.rename(target)
    except OSError as e:
        raise explain(e, f"cannot write to {target}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack_layer(descriptor: Descriptor, open_layer: OpenLayer, folder: Path, progress: Progress) -> None:
    key = str(descriptor.digest)
    progress.start(key, descriptor.digest.short, descriptor.size)
    with open_layer(descriptor) as raw:
        counted = _Counting(raw, lambda n: progress.advance(key, n))
        try:
            with tarfile.open(
                fileobj=cast("IO[bytes]", _decompress(descriptor, counted)), mode="r|", bufsize=_BUFFER
            ) as tar:
                for member in tar:
                    _unpack_member(tar, member, folder)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile) as e:
            raise InvalidContent(f"layer {descriptor.digest} is not a readable tar: {e}") from None
        while counted.read(_BUFFER):  # to the end, where the digest is checked
            pass
    progress.finish(key)


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = _path_in_model(member.name)
    if path is None:
        return
    target = folder / path
    if target.name.startswith(_WHITEOUT):
        _white_out(target)
    elif member.isdir():
        _check_parents(folder, target)
        target.mkdir(parents=True, exist_ok=True)
    elif member.isreg():
        _check_parents(folder, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(target)
        content = tar.extractfile(member)
        if content is None:
            raise InvalidContent(f"{member.name} has no content")
        with open(target, "xb", buffering=0) as f:
            shutil.copyfileobj(content, f, _BUFFER)
    else:
        raise UnsafePath(
            f"{member.name} in the image is a link or special file, which a model must not hold",
            hint="run the image, or copy it with `modelcar copy` and unpack it with another tool",
        )


def _path_in_model(name: str) -> str | None:
    """`models/a/b` → `a/b`; `None` for what lies elsewhere.

    Raises:
        UnsafePath: the name climbs out.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafePath(f"{name!r} in the image climbs out of its folder")
    if len(parts) < 2 or parts[0] != MODEL_ROOT:
        return None
    return "/".join(parts[1:])


def _check_parents(folder: Path, target: Path) -> None:
    """A layer of an older image may have put a file where a later one has a folder."""
    for parent in reversed(target.parents):
        if parent.is_relative_to(folder) and parent.exists() and not parent.is_dir():
            parent.unlink()


def _white_out(marker: Path) -> None:
    if marker.name == _OPAQUE:
        for child in marker.parent.iterdir() if marker.parent.is_dir() else ():
            _remove(child)
    else:
        _remove(marker.with_name(marker.name.removeprefix(_WHITEOUT)))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _decompress(descriptor: Descriptor, raw: _Counting) -> Readable:
    media_type = descriptor.media_type
    if media_type in media_types.UNCOMPRESSED_LAYERS or _MODELPACK_TAR.fullmatch(media_type):
        return raw
    if media_type in (media_types.LAYER_TAR_GZIP, media_types.DOCKER_LAYER_GZIP):
        return cast("Readable", gzip.GzipFile(fileobj=cast("IO[bytes]", raw), mode="rb"))
    raise InvalidDocument(
        f"layer {descriptor.digest} is of type {media_type}, which cannot be unpacked here",
        hint="convert the image with skopeo or buildah, or mount it with an engine",
    )


class _Counting:
    """Tells how many bytes of the blob have been read."""

    def __init__(self, raw: Readable, advance: Callable[[int], None]) -> None:
        self._raw = raw
        self._advance = advance

    def read(self, n: int = -1) -> bytes:
        data = self._raw.read(n)
        if data:
            self._advance(len(data))
        return data
