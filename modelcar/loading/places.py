"""From what a person typed to the weight files that are meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.checkpoint.file import CheckpointFile, Role
from modelcar.checkpoint.formats.documents import parse_object, read_object
from modelcar.errors import InvalidContent, InvalidReference, MalformedFile, NotFound, StorageError, UsageError
from modelcar.files import FileStamp
from modelcar.images.reader import ModelReader
from modelcar.loading.choose import choose_files
from modelcar.loading.files import DiskFile, WeightFile
from modelcar.loading.image import ImageFile
from modelcar.oci import Reference
from modelcar.packaging.fetch import LayoutSource, RegistrySource
from modelcar.packaging.locations import Location, StoredLocation, parse_location
from modelcar.progress import Progress
from modelcar.registry import ClientSettings, Registry

__all__ = ["Opened", "open_weights"]

_CONFIG: Final = "config.json"
_PATHS: Final = ("/", "./", "../", "~")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model's weights. `config` reads its `config.json`, which is empty where there is none."""

    files: list[WeightFile]
    config: Callable[[], dict[str, Any]]


@contextmanager
def open_weights(
    source: str | os.PathLike[str] | Reference, subfolder: str, settings: ClientSettings, progress: Progress
) -> Iterator[Opened]:
    """The safetensors files of a model, readable within the block.

    Args:
        source: see `modelcar.load`.
        subfolder: where in the model they lie; empty: at its top.

    Raises:
        UsageError, NotFound: there is no such thing, or no weights in it.
        MalformedFile: a file on disk is no whole, valid safetensors file.
        InvalidContent: an image is not what it promises.
        WorldError: it cannot be read.
    """
    location = _location(source)
    if isinstance(location, Path):
        yield _on_disk(location / subfolder if subfolder else location)
        return
    with ExitStack() as stack:
        if isinstance(location, StoredLocation):
            image: LayoutSource | RegistrySource = LayoutSource(location)
        else:
            image = RegistrySource(location, stack.enter_context(Registry(settings, progress)))
        yield _in_image(ModelReader(image, image.resolve()), subfolder.strip("/"), str(location))


def _location(source: str | os.PathLike[str] | Reference) -> Path | Location:
    if isinstance(source, Reference):
        return source
    text = os.fspath(source)
    path = Path(text).expanduser()
    if not isinstance(source, str) or path.exists():
        return path
    if text.startswith(_PATHS):
        raise NotFound(f"there is no {text}")
    try:
        return parse_location(text)
    except InvalidReference as e:
        raise InvalidReference(f"{text!r} is neither a file here nor an image: {e}", hint=e.hint) from None


def _on_disk(path: Path) -> Opened:
    if path.is_dir():
        try:
            names = {entry.name for entry in path.iterdir() if entry.is_file()}
        except OSError as e:
            raise StorageError(f"cannot read {path}: {e.strerror}") from None
        files = choose_files(
            names, lambda name: _object(path / name), lambda name: DiskFile(path / name, name), str(path)
        )
        return Opened(files=files, config=lambda: _object(path / _CONFIG) if _CONFIG in names else {})
    if path.suffix != ".safetensors" and path.exists():
        raise UsageError(f"{path} is no safetensors file", hint="`modelcar convert` makes them of pickled ones")
    beside = path.with_name(_CONFIG)
    return Opened(files=[DiskFile(path, path.name)], config=lambda: _object(beside) if beside.is_file() else {})


def _object(path: Path) -> dict[str, Any]:
    try:
        file = path.resolve(strict=True)
        stamp = FileStamp.from_stat(file.stat())
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None
    return read_object(CheckpointFile(path=path.name, source=file, stamp=stamp, role=Role.CONFIG, format=None))


def _in_image(reader: ModelReader, subfolder: str, name: str) -> Opened:
    prefix = f"{subfolder}/" if subfolder else ""
    below = {path.removeprefix(prefix) for path in reader.files if path.startswith(prefix)}
    names = {path for path in below if "/" not in path}

    def read(path: str) -> dict[str, Any]:
        return parse_object(reader.read(prefix + path), prefix + path)

    try:
        where = f"{name}, folder {subfolder}" if subfolder else name
        files = choose_files(names, read, lambda path: ImageFile(reader, prefix + path), where)
    except MalformedFile as e:
        raise InvalidContent(str(e), hint=e.hint) from None
    return Opened(files=files, config=lambda: read(_CONFIG) if _CONFIG in names else {})
