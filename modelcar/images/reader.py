"""The model in an image, read by ranges: any file or tensor of it without the rest, and no byte that is not verified.

Each chunk is checked by its digest in the model index, which is a layer of the image and so covered by what vouches for
the image. What the index says of a file's tensors is held against the file's own header before it is believed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Final

from modelcar.checkpoint.formats.header import MAX_HEADER, Header, Tensor
from modelcar.errors import InvalidContent, InvalidDocument, NotFound, UsageError
from modelcar.images.ranges import range_jobs
from modelcar.layers.index import IndexedFile
from modelcar.layers.members import locate_members
from modelcar.lazy.grid import Grid
from modelcar.oci import Descriptor, Digest, Manifest, Platform
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.fetch import RangedSource, choose_manifest
from modelcar.packaging.headers import check_header
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.packaging.plan import LayerKind
from modelcar.registry.cancel import run_parallel

__all__ = ["Deliver", "ModelLayer", "ModelReader"]

Deliver = Callable[[str, int, memoryview], None]
"""`deliver(path, offset, data)`: verified bytes of a file at `offset`; the memory is used again afterwards."""

_MODEL_LAYERS: Final = (LayerKind.WEIGHTS, LayerKind.FILES)
_MOST_CONFIG: Final = 16 << 20  # bytes
_MOST_HEADER: Final = MAX_HEADER + (1 << 20)  # bytes; behind it may be padding
_MOST_AROUND: Final = 64 << 20  # bytes of tar headers and padding of one layer
_WITHOUT: Final = "`modelcar pull REF -o DIR` brings the whole model"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """`[start, stop)` of a blob, which are the bytes of a file from `offset` on."""

    start: int
    stop: int
    path: str
    offset: int


@dataclass(frozen=True, slots=True)
class ModelLayer:
    """A layer with files of the model, how it is verified, and where its files lie."""

    descriptor: Descriptor
    grid: Grid
    files: tuple[IndexedFile, ...]

    @property
    def around(self) -> list[tuple[int, int]]:
        """`[start, stop)` of what lies before, between and behind the files: headers and padding.

        Raises:
            InvalidContent: it is more than that can be.
        """
        edges = [0, *(edge for file in self.files for edge in (file.offset, file.offset + file.size)), self.grid.size]
        around = [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]
        if sum(stop - start for start, stop in around) > _MOST_AROUND:
            raise InvalidContent(f"the model index leaves too much of layer {self.descriptor.digest} out")
        return around


class ModelReader:
    """The model's files in one image. Safe to use from several threads.

    Attributes:
        manifest: the one that was chosen.
        root: the folder in the image that paths are relative to, such as `/models`.
        layers: those with files of the model, bottom to top.
        files: what the model index lists, by path, in the order of the layers.

    Raises:
        NotFound: the image has no model index, or one that leaves layers of the model out.
        UsageError: its layers are compressed.
        InvalidContent: the index is malformed, or disagrees with the manifest.
    """

    def __init__(self, source: RangedSource, root: Descriptor, platform: Platform | None = None) -> None:
        manifest = choose_manifest(source, root, platform)
        self.source = source
        self.manifest = manifest
        self.root, self.layers = _layers(manifest, source)
        self._by_path = {file.path: (layer, file) for layer in self.layers for file in layer.files}
        self.files: Mapping[str, IndexedFile] = {path: file for path, (_, file) in self._by_path.items()}
        self._headers: dict[str, Header] = {}
        self._lock = Lock()

    def layer(self, path: str) -> ModelLayer:
        """The layer that a file lies in. Raises `NotFound`."""
        return self._find(path)[0]

    def config(self) -> dict[str, Any]:
        """The model's `config.json`, or `params.json` of Mistral's format; empty where there is none.

        Raises:
            InvalidDocument: it is not a JSON object.
        """
        name = next((name for name in ("config.json", "params.json") if name in self.files), None)
        if name is None:
            return {}
        if self.files[name].size > _MOST_CONFIG:
            raise InvalidDocument(f"{name} has {self.files[name].size} bytes, too many for what it is")
        return parse_config(self.read(name), name)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file, verified.

        Raises:
            NotFound: there is no such file.
            UsageError: the range leaves the file.
            InvalidContent: the bytes are not what the index says.
            WorldError: the registry or the disk fails.
        """
        _, file = self._find(path)
        stop = file.size if length is None else offset + length
        if not 0 <= offset <= stop <= file.size:
            raise UsageError(f"{path} has {file.size} bytes: there are none from {offset} to {stop}")
        content = bytearray(stop - offset)

        def take(_: str, position: int, data: memoryview) -> None:
            content[position - offset : position - offset + len(data)] = data

        self.fetch({path: [(offset, stop)]}, take)
        return bytes(content)

    def find_tensor(self, name: str, path: str | None = None) -> tuple[str, Tensor]:
        """The file that has a tensor, and where in it; `path` where files hold two copies of it. Reads nothing.

        Raises:
            NotFound: there is no such tensor.
            UsageError: several files have it.
        """
        files = [self._find(path)[1]] if path is not None else self.files.values()
        found = [(file.path, tensor) for file in files for tensor in file.tensors if tensor.name == name]
        if not found:
            raise NotFound(
                f"there is no tensor {name!r} in {path or 'the model'}", hint="`inspect --tensors` lists them"
            )
        if len(found) > 1:
            raise UsageError(f"{found[0][0]} and {found[1][0]} both have a tensor {name!r}", hint="name the file, too")
        return found[0]

    def read_tensor(self, name: str, path: str | None = None) -> bytes:
        """A tensor's bytes as they are stored, verified.

        Raises:
            NotFound, UsageError: as `find_tensor`.
            InvalidContent: the bytes are not what the index says, or it disagrees with the file's header.
            WorldError: the registry or the disk fails.
        """
        place, tensor = self.find_tensor(name, path)
        self.header(place)
        return self.read(place, tensor.offset, tensor.size)

    def header(self, path: str) -> Header:
        """A weight file's own header, verified; read once.

        Raises:
            NotFound: there is no such file, or it has no header that is read here.
            InvalidContent: it says something else than the index.
        """
        with self._lock:
            known = self._headers.get(path)
        if known is None:
            _, file = self._find(path)
            if (size := file.header_size or 0) > _MOST_HEADER:
                raise InvalidContent(f"the model index gives {path} a header of {size} bytes, more than any has")
            known = check_header(file, self.read(path, 0, size))
            with self._lock:
                self._headers[path] = known
        return known

    def check_places(self, layer: ModelLayer) -> None:
        """Raise `InvalidContent` unless the layer's tar has exactly the files that the index lists, where it says.

        Reads what lies around the files, verified, and nothing of them.
        """
        known: dict[int, bytes] = {}

        def take(offset: int, data: memoryview) -> None:
            known[offset] = bytes(data)

        run_parallel(range_jobs(self.source, layer.descriptor, layer.grid, layer.around, take), 1)
        members = locate_members(partial(_read_known, known, layer.grid), layer.grid.size)
        found = {path: (member.offset, member.size) for path, member in members.items()}
        root = self.root.strip("/")
        if found != {f"{root}/{file.path}": (file.offset, file.size) for file in layer.files}:
            raise InvalidContent(f"the model index places the files of layer {layer.descriptor.digest} elsewhere")

    def fetch(self, wanted: Mapping[str, Iterable[tuple[int, int]]], deliver: Deliver, *, workers: int = 1) -> None:
        """Read `[start, stop)` ranges of files, by path, with few requests, `workers` at once.

        `deliver` is called from that many threads, once for every byte that is wanted, in no order, and never with one
        that was not verified. What it raises ends all.

        Raises:
            NotFound: there is no such file.
            InvalidContent: bytes are not what the index says; what was delivered before is right.
            WorldError: the registry or the disk fails.
        """
        places: dict[Digest, list[_Wanted]] = {}
        for path, ranges in wanted.items():
            layer, file = self._find(path)
            for start, stop in ranges:
                place = _Wanted(file.offset + start, file.offset + stop, path, start)
                places.setdefault(layer.descriptor.digest, []).append(place)
        jobs = [
            job for layer in self.layers for job in self._jobs(layer, places.get(layer.descriptor.digest, ()), deliver)
        ]
        if len(jobs) == 1:
            jobs[0]()
        elif jobs:
            run_parallel(jobs, workers)

    def _jobs(self, layer: ModelLayer, places: Sequence[_Wanted], deliver: Deliver) -> list[Callable[[], None]]:
        grid = layer.grid
        by_chunk: dict[int, list[_Wanted]] = {}
        for place in places:
            for number in grid.numbers(place.start, place.stop - place.start):
                by_chunk.setdefault(grid.bounds(number)[0], []).append(place)

        def take(offset: int, data: memoryview) -> None:
            for place in by_chunk[offset]:
                start, stop = max(place.start, offset), min(place.stop, offset + len(data))
                deliver(place.path, place.offset + start - place.start, data[start - offset : stop - offset])

        ranges = [(place.start, place.stop) for place in places]
        return range_jobs(self.source, layer.descriptor, grid, ranges, take)

    def _find(self, path: str) -> tuple[ModelLayer, IndexedFile]:
        try:
            return self._by_path[path]
        except KeyError:
            raise NotFound(f"there is no file {path!r} in the model", hint="`modelcar inspect` lists them") from None


def _read_known(known: Mapping[int, bytes], grid: Grid, offset: int, n: int) -> bytes:
    """Bytes of a blob of which only some chunks are at hand: as if it ended where one is missing."""
    read = b""
    while n > len(read) and offset + len(read) < grid.size:
        start, _ = grid.bounds(grid.at(offset + len(read)))
        piece = known.get(start, b"")[offset + len(read) - start :]
        if not piece:
            break
        read += piece
    return read[:n]


def parse_config(raw: bytes, name: str) -> dict[str, Any]:
    """Raises `InvalidDocument` for what is not a JSON object; `name` is for messages."""
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InvalidDocument(f"{name} is not a JSON object")
    return config


def _layers(manifest: Manifest, source: RangedSource) -> tuple[str, tuple[ModelLayer, ...]]:
    """The index's root, and the layers in the manifest's order; one that the manifest does not list is void."""
    index_layer = index_layer_of(manifest)
    if index_layer is None:
        raise NotFound("the image has no model index, so nothing of it can be read alone", hint=_WITHOUT)
    index = parse_index_layer(source.read(index_layer))
    indexed = {layer.digest: layer for layer in index.layers}
    compressed = {layer.blob.digest for layer in index.layers if layer.blob is not None}
    layers = []
    for descriptor in manifest.layers:
        if descriptor.digest in compressed:
            raise UsageError("the image was built with --estargz, so nothing of it can be read alone", hint=_WITHOUT)
        layer = indexed.pop(descriptor.digest, None)
        if layer is None or not layer.files:
            if descriptor.annotations.get(LAYER) in _MODEL_LAYERS:
                raise NotFound(f"the model index says nothing of the files in layer {descriptor.digest}", hint=_WITHOUT)
        elif layer.size != descriptor.size:
            raise InvalidContent(
                f"the model index gives layer {descriptor.digest} {layer.size} bytes and the manifest {descriptor.size}"
            )
        else:
            layers.append(ModelLayer(descriptor, Grid.of_layer(layer), layer.files))
    return index.root, tuple(layers)
