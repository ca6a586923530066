"""NVIDIA and AMD devices, through torch: copies on a stream of their own, from page-locked memory."""

from __future__ import annotations

import ctypes
from typing import Any

from modelcar.errors import UsageError, WorldError
from modelcar.loading.frameworks import Torch

__all__ = ["CudaDevice"]


class CudaDevice:
    """A `Device`. Tensors belong to the stream that is current where they are taken."""

    def __init__(self, name: str) -> None:
        """`name` as torch has it: `cuda`, `cuda:1`.

        Raises:
            UsageError: there is no such device.
        """
        import torch

        self._torch, self._framework = torch, Torch()
        count = torch.cuda.device_count()
        try:
            device = torch.device(name)
        except RuntimeError:
            raise UsageError(f"torch knows no device {name!r}", hint="cpu, cuda or cuda:NUMBER") from None
        if device.type != "cuda" or (device.index or 0) >= count:
            raise UsageError(f"there is no device {name!r} to load to", hint=f"torch sees {count} CUDA devices")
        self._device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self._stream = torch.cuda.Stream(self._device)

    def check(self, dtypes: Any) -> None:
        """As `Framework.check`."""
        self._framework.check(dtypes)

    def staging(self, size: int) -> PinnedBuffer:
        return PinnedBuffer(self._torch, self._stream, size)

    def allocate(self, size: int, name: str) -> Any:
        try:
            with self._torch.cuda.stream(self._stream):  # so that its memory is free before the stream writes to it
                return self._torch.empty(size, dtype=self._torch.uint8, device=self._device)
        except self._torch.cuda.OutOfMemoryError:
            raise WorldError(
                f"there is no memory for {name!r} on {self._device}: it has {size} bytes",
                hint="load less of the model with `rank`, or one tensor after the other with `modelcar.stream`",
            ) from None

    def tensor(self, memory: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        current = self._torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        memory.record_stream(current)
        return self._framework.shaped(memory, dtype, shape)


class PinnedBuffer:
    """A `StagingBuffer`."""

    def __init__(self, torch: Any, stream: Any, size: int) -> None:
        self._torch, self._stream = torch, stream
        self._data = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        self._copied = torch.cuda.Event()
        # Not `numpy()`: torch without numpy is enough.
        self.memory = memoryview((ctypes.c_char * size).from_address(self._data.data_ptr())).cast("B")

    def copy_to(self, target: Any, offset: int, start: int, stop: int) -> None:
        with self._torch.cuda.stream(self._stream):
            target[offset : offset + stop - start].copy_(self._data[start:stop], non_blocking=True)

    def mark(self) -> None:
        self._copied.record(self._stream)

    def wait(self) -> None:
        self._copied.synchronize()
