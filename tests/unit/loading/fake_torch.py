"""As much of torch as loading uses, made of numpy, with one device that begins no copy before somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["FakeTorch"]

Array = np.ndarray[Any, Any]
DTYPES = {"uint8": "u1", "int64": "i8", "float32": "f4", "float16": "f2", "bool": "?", "complex64": "c8"}
LIKE = {"bfloat16": "u2", "float8_e4m3fn": "u1", "float4_e2m1fn_x2": "u1"}


class Tensor(np.ndarray[Any, Any]):
    """An array that also has what torch calls otherwise."""

    torch: FakeTorch
    on_device = False

    def __array_finalize__(self, base: Any) -> None:
        self.torch = getattr(base, "torch", None)  # type: ignore[assignment]  # there may be none
        self.on_device = getattr(base, "on_device", False)

    def data_ptr(self) -> int:
        return int(self.ctypes.data)

    def copy_(self, source: Tensor, *, non_blocking: bool) -> None:
        assert non_blocking
        assert self.on_device
        assert not source.on_device
        self.torch.queue.append(lambda: np.copyto(self, source))

    def record_stream(self, stream: Stream) -> None:
        stream.keeps.append(self)


class Stream:
    """Only the copying one has anything in it."""

    def __init__(self, torch: FakeTorch) -> None:
        self._torch = torch
        self.keeps: list[Tensor] = []

    def wait_stream(self, _other: Stream) -> None:
        self._torch.finish(len(self._torch.queue))


class Event:
    def __init__(self, torch: FakeTorch) -> None:
        self._torch = torch
        self._until = 0

    def record(self, _stream: Stream) -> None:
        self._until = self._torch.done + len(self._torch.queue)

    def synchronize(self) -> None:
        self._torch.finish(self._until - self._torch.done)


class FakeTorch(ModuleType):
    """Put it in `sys.modules`. `room` is what the device has, in bytes."""

    def __init__(self, *, devices: int = 1, room: int = 1 << 20) -> None:
        super().__init__("torch")
        self.queue: list[Callable[[], None]] = []
        self.done = 0
        self.room = room
        self.current = Stream(self)
        self.copying: list[Stream] = []
        self.__version__ = "0.0"
        for name, code in (DTYPES | LIKE).items():
            setattr(self, name, np.dtype(code))
        self.cuda = SimpleNamespace(
            device_count=lambda: devices,
            current_device=lambda: 0,
            current_stream=lambda _device: self.current,
            Stream=lambda _device: Stream(self),
            Event=lambda: Event(self),
            stream=self._stream,
            OutOfMemoryError=MemoryError,
        )

    def finish(self, count: int) -> None:
        for _ in range(count):
            self.queue.pop(0)()
            self.done += 1

    def device(self, kind: str, index: int | None = None) -> Any:
        name, _, number = kind.partition(":")
        if name not in ("cpu", "cuda", "meta"):
            raise RuntimeError(f"Expected one of cpu, cuda, … device type at start of device string: {kind}")
        return SimpleNamespace(type=name, index=int(number) if number else index)

    def frombuffer(self, memory: memoryview, *, dtype: Any) -> Any:
        if not memory:
            raise ValueError("both buffer length and count must not be 0")
        return np.frombuffer(memory, dtype)

    def empty(self, size: int, *, dtype: Any, pin_memory: bool = False, device: Any = None) -> Any:
        if device is not None:
            assert self.copying, "memory that the copying stream may not write to yet"
            if size > self.room:
                raise MemoryError
            self.room -= size
        tensor = np.full(size, 0xEE, dtype).view(Tensor)
        tensor.torch, tensor.on_device = self, device is not None
        return tensor

    @contextmanager
    def _stream(self, stream: Stream) -> Iterator[None]:
        self.copying.append(stream)
        try:
            yield
        finally:
            self.copying.remove(stream)
