"""The node's folder: prepared, and this process's alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from modelcar.errors import NotFound, StorageError
from modelcar.store.disk import lock
from modelcar.store.layout import OciLayout

__all__ = ["opened"]


@contextmanager
def opened(root: Path, *, keeps: bool) -> Iterator[OciLayout]:
    """The content of `root`; with `keeps` it is written to, and created. What a killed predecessor left half-written
    is removed.

    Raises:
        StorageError: it cannot be used, or is used already.
    """
    with ExitStack() as stack:
        try:
            _prepare(root, keeps=keeps)
            stack.enter_context(_alone(root))
            layout = _layout(root, keeps=keeps)
            if keeps:
                layout.sweep_ingest()
        except OSError as e:
            reason = "it is not a folder" if isinstance(e, FileExistsError) else e.strerror
            raise StorageError(f"cannot use {root}: {reason}", hint="choose another --root") from None
        yield layout


def _prepare(root: Path, *, keeps: bool) -> None:
    if keeps:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)  # private images lie in it, and the names of their tags
    elif not root.is_dir():
        raise StorageError(f"{root} is not a folder", hint="--writable and --upstream create it")
    needed, doing = (os.W_OK, "write to") if keeps else (os.R_OK, "read")
    if not os.access(root, needed | os.R_OK | os.X_OK):
        raise StorageError(f"cannot {doing} {root}", hint="check its owner and mode, or choose another --root")


def _layout(root: Path, *, keeps: bool) -> OciLayout:
    try:
        return OciLayout(root, create=keeps)
    except NotFound as e:
        raise StorageError(str(e), hint="with --writable or --upstream it becomes one") from None


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(root, exclusive=True, blocking=False))
        except StorageError:
            hint = "stop it, or choose another --root"
            raise StorageError(f"{root} is in use by another registry-shim", hint=hint) from None
        yield
