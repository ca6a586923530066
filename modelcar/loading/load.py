"""`modelcar.load` and `modelcar.stream`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from os import PathLike
from typing import Any, Final

from modelcar.errors import InvalidContent, UsageError
from modelcar.loading.cuda import CudaDevice
from modelcar.loading.files import WeightFile
from modelcar.loading.frameworks import find_framework
from modelcar.loading.memory import Destination, HostMemory
from modelcar.loading.parts import WHOLE, PartOf
from modelcar.loading.pipeline import Pipeline
from modelcar.loading.places import Opened, open_weights
from modelcar.loading.plan import READ_SIZE, Wanted, plan_reads, want
from modelcar.loading.ranks import part_of_rank
from modelcar.loading.staging import Staged
from modelcar.oci import Reference
from modelcar.progress import SILENT, Progress
from modelcar.ranks.topology import Topology
from modelcar.registry import ClientSettings

__all__ = ["load", "stream"]

_DEFAULTS: Final = ClientSettings()
_WINDOW: Final = 256 << 20  # bytes
_MOST_WORKERS: Final = 8


def load(
    source: str | PathLike[str] | Reference,
    *,
    device: str = "cpu",
    rank: int | PartOf | None = None,
    tp: int = 1,
    pp: int = 1,
    ep: int = 1,
    framework: str | None = None,
    subfolder: str = "",
    workers: int | None = None,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """All tensors of a model by name, in the order in which they lie in its files.

    Args:
        source: a folder, a mount or a safetensors file; an image in a registry, or `oci:DIR[:TAG]`. What is there as a
            file or folder is taken for that.
        device: `cpu`, or one of torch's: `cuda`, `cuda:1`.
        rank: only what this rank has of the model, of `tp` tensor-parallel ranks by `pp` pipeline stages, with `ep`
            groups of experts, as `modelcar plan --rank` shows it. Or what is called with name, shape and dtype of each
            tensor and returns a `Part` of it, or `None` for nothing. Little else is read.
        framework: what tensors are: `torch`, `numpy` or `raw` (`RawTensor`); by default the first one of these that is
            installed.
        subfolder: where in the model the files lie.
        workers: how many reads are under way at once.

    Bytes from an image are compared with the digests in its model index before a tensor is returned.

    Raises:
        UsageError: the source, the device or a part does not exist; torch has no dtype for a tensor.
        NotFound: there are no safetensors files, or the image has no model index.
        MalformedFile: a file on disk is no whole, valid safetensors file.
        InvalidContent: an image is not what its digests promise.
        WorldError: the network, a disk or the memory failed, or a file changed meanwhile.
    """
    return dict(
        stream(
            source,
            device=device,
            rank=rank,
            tp=tp,
            pp=pp,
            ep=ep,
            framework=framework,
            subfolder=subfolder,
            workers=workers,
            settings=settings,
            progress=progress,
        )
    )


def stream(
    source: str | PathLike[str] | Reference,
    *,
    device: str = "cpu",
    rank: int | PartOf | None = None,
    tp: int = 1,
    pp: int = 1,
    ep: int = 1,
    framework: str | None = None,
    subfolder: str = "",
    workers: int | None = None,
    window: int = _WINDOW,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> Iterator[tuple[str, Any]]:
    """As `load`, one tensor after the other, each as soon as its bytes are here.

    Nothing happens before the first one is asked for. No more than `window` bytes are read ahead of the tensor that is
    at hand, so a program that lets go of tensors needs memory for that, for a read of 16 MiB or the largest tensor, and
    for those that it keeps.
    """
    if window < 0 or (workers is not None and workers < 1):
        raise UsageError("`workers` is at least 1, `window` at least 0")
    maker = find_framework(framework) if device == "cpu" else _device(device, framework)
    count = workers or min(_MOST_WORKERS, 2 * (os.cpu_count() or 1))
    topology = Topology(tp=tp, pp=pp, ep=ep)
    with open_weights(source, subfolder, settings, progress) as opened:
        files = opened.files
        wanted = want(files, _part_of(rank, topology, opened))
        maker.check(w.dtype for w in wanted)
        if isinstance(maker, CudaDevice):
            size = min(READ_SIZE, max(1, _size(wanted)))
            destination: Destination = Staged(wanted, maker, buffers=2 * count, size=size)
        else:
            destination = HostMemory(wanted, maker.tensor)
        meter = _Meter(files, wanted, progress)
        reads = plan_reads(files, wanted, size=READ_SIZE)
        pipeline = Pipeline(files, wanted, reads, destination, workers=count, window=window, advance=meter.advance)
        with closing(pipeline.run()) as numbers:
            for number in numbers:
                tensor, what = destination.take(number), wanted[number]
                if not what.proof:
                    yield what.name, tensor
                elif tensor != what.proof:
                    path = files[what.file].path
                    raise InvalidContent(f"{path}: the model index gives it another header than it has")


def _part_of(rank: int | PartOf | None, topology: Topology, opened: Opened) -> PartOf:
    if isinstance(rank, int):
        return part_of_rank(opened.files, opened.config(), topology, rank)
    if topology != Topology():
        raise UsageError(
            "`tp`, `pp` and `ep` say how a model is divided, and `rank` is no number of a rank of it",
            hint=f"add rank=0, or another up to {topology.size - 1}",
        )
    return rank if rank is not None else lambda *_: WHOLE


def _device(name: str, framework: str | None) -> CudaDevice:
    if framework not in (None, "torch"):
        raise UsageError(f"{framework} has no tensors on {name}", hint='leave out framework, or use device="cpu"')
    find_framework("torch")
    return CudaDevice(name)


def _size(wanted: Sequence[Wanted]) -> int:
    return sum(w.strips.size for w in wanted)


class _Meter:
    """Tells how much of each file has come. Its `advance` is called from several threads."""

    def __init__(self, files: Sequence[WeightFile], wanted: Sequence[Wanted], progress: Progress) -> None:
        self._files, self._progress = files, progress
        self._lock = threading.Lock()
        self._sizes = [0] * len(files)
        for w in wanted:
            self._sizes[w.file] += w.strips.size
        self._left = list(self._sizes)
        progress.expect(sum(self._sizes))

    def advance(self, file: int, size: int) -> None:
        path = self._files[file].path
        with self._lock:
            if self._left[file] == self._sizes[file]:
                self._progress.start(path, path, self._sizes[file])
            self._left[file] -= size
            self._progress.advance(path, size)
            if not self._left[file]:
                self._progress.finish(path)
