"""`.npy` and `.npz` files, honest and not."""

from __future__ import annotations

import struct

from tests.corpus.formats.zips import STORED, zipped

__all__ = ["npy", "npy_header", "npy_objects", "npz"]


def npy_header(header: bytes, *, version: int = 1) -> bytes:
    """Magic, version, and exactly this header, padded to 64 bytes as numpy does."""
    width = 2 if version == 1 else 4
    padded = header + b" " * (-(len(header) + 9 + width) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(padded))
    return b"\x93NUMPY" + bytes([version, 0]) + length + padded


def npy(descr: str, shape: tuple[int, ...], data: bytes, *, version: int = 1) -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    return npy_header(header.encode(), version=version) + data


def npy_objects(stream: bytes, shape: tuple[int, ...] = (1,)) -> bytes:
    """An object array: its data is a pickle."""
    return npy("|O", shape, stream)


def npz(arrays: dict[str, bytes], *, method: int = STORED) -> bytes:
    """`arrays`: member name without `.npy` to a whole `.npy` file."""
    return zipped({f"{name}.npy": content for name, content in arrays.items()}, method=method)
