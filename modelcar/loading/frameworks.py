"""From bytes in memory to what programs calculate with. None of the frameworks is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Final, Protocol

from modelcar.errors import UsageError

__all__ = ["FRAMEWORKS", "Framework", "RawTensor", "Torch", "find_framework"]

_NUMPY: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "?",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip
_TORCH: Final = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F4": "float4_e2m1fn_x2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTensor:
    """A tensor for programs without a framework.

    Attributes:
        dtype: in the words of safetensors: `BF16`.
        shape: in elements, outermost dimension first.
        data: its bytes, little-endian, row-major; writable.
    """

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


class Framework(Protocol):
    def check(self, dtypes: Iterable[str]) -> None:
        """Raise `UsageError` unless there is something for all of `dtypes`."""

    def tensor(self, memory: memoryview, dtype: str, shape: tuple[int, ...]) -> Any:
        """A tensor in `memory`, which is not copied."""


class Raw:
    """`RawTensor` for every dtype."""

    def check(self, dtypes: Iterable[str]) -> None:
        pass

    def tensor(self, memory: memoryview, dtype: str, shape: tuple[int, ...]) -> RawTensor:
        return RawTensor(dtype=dtype, shape=shape, data=memory)


class Numpy:
    """`numpy.ndarray`. What numpy has no dtype for comes as its bits, in `uint16` or `uint8`, and such an array's
    `dtype.metadata["safetensors"]` says so; dtypes of less than a byte come as their packed bytes, in one dimension."""

    @cached_property
    def _dtypes(self) -> Mapping[str, Any]:
        import numpy as np

        return {word: np.dtype(code) for word, code in _NUMPY.items()}

    def check(self, dtypes: Iterable[str]) -> None:
        pass

    def tensor(self, memory: memoryview, dtype: str, shape: tuple[int, ...]) -> Any:
        import numpy as np

        known = self._dtypes.get(dtype)
        if known is not None:
            return np.frombuffer(memory, known).reshape(shape)
        if dtype == "BF16":
            return np.frombuffer(memory, np.dtype(np.uint16, metadata={"safetensors": dtype})).reshape(shape)
        bits = np.frombuffer(memory, np.dtype(np.uint8, metadata={"safetensors": dtype}))
        return bits.reshape(shape) if dtype.startswith("F8_") else bits


class Torch:
    """`torch.Tensor` in the memory of this machine. A dtype of 4 bits has two elements in one of torch's, as torch
    itself packs them: the last dimension is half as long."""

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def check(self, dtypes: Iterable[str]) -> None:
        for dtype in sorted(set(dtypes)):
            if not hasattr(self._torch, _TORCH.get(dtype, "nothing of this name")):
                raise UsageError(
                    f"torch {self._torch.__version__} has no dtype for {dtype}",
                    hint='use a newer torch, or framework="raw" for the bytes',
                )

    def tensor(self, memory: memoryview, dtype: str, shape: tuple[int, ...]) -> Any:
        if not memory:
            return self.shaped(self._torch.empty(0, dtype=self._torch.uint8), dtype, shape)
        return self.shaped(self._torch.frombuffer(memory, dtype=self._torch.uint8), dtype, shape)

    def shaped(self, data: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        """A tensor of bytes, wherever it is, as one of `dtype`."""
        if dtype == "F4" and shape:
            shape = (*shape[:-1], shape[-1] // 2)
        return data.view(getattr(self._torch, _TORCH[dtype])).reshape(shape)


FRAMEWORKS: Final[Mapping[str, type[Framework]]] = {"torch": Torch, "numpy": Numpy, "raw": Raw}


def find_framework(name: str | None) -> Framework:
    """The framework of this name; without one, torch or numpy where they are installed.

    Raises:
        UsageError: there is none of this name, or it is not installed.
    """
    if name is None:
        name = next((name for name in ("torch", "numpy") if find_spec(name) is not None), "raw")
    if name not in FRAMEWORKS:
        raise UsageError(f"there is no framework {name!r}", hint=f"it is one of {', '.join(FRAMEWORKS)}")
    if name != "raw" and find_spec(name) is None:
        raise UsageError(f"{name} is not installed", hint=f'`pip install {name}`, or framework="raw"')
    return FRAMEWORKS[name]()
