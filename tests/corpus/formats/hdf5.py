"""A minimal HDF5 file: a root group with text attributes and nothing else, as `h5py` would read it.

From the HDF5 file format specification, version 3.0: superblock 0, an object header of version 1, an empty group.
"""

from __future__ import annotations

import struct

__all__ = ["hdf5"]

_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_HEADER_AT = 96
_SYMBOL_TABLE, _ATTRIBUTE = 0x11, 0x0C


def hdf5(attributes: dict[str, str]) -> bytes:
    """Attribute values of at most 60 KB."""
    table_size = 8 + 16
    messages = [_attribute(name, value.encode()) for name, value in attributes.items()]
    size = table_size + sum(map(len, messages))
    tree_at = _HEADER_AT + 16 + size
    heap_at = tree_at + _TREE_SIZE
    table = struct.pack("<HHB3xQQ", _SYMBOL_TABLE, 16, 0, tree_at, heap_at)
    header = struct.pack("<BBHII4x", 1, 0, 1 + len(messages), 1, size) + table + b"".join(messages)
    tree, heap = _tree(), _heap(heap_at)
    end = heap_at + len(heap)
    return _superblock(end, tree_at, heap_at) + header + tree + heap


def _superblock(end: int, tree_at: int, heap_at: int) -> bytes:
    versions = struct.pack("<BBBBBBBB", 0, 0, 0, 0, 0, 8, 8, 0)
    root = struct.pack("<QQII", 0, _HEADER_AT, 1, 0) + struct.pack("<QQ", tree_at, heap_at)
    addresses = struct.pack("<QQQQ", 0, _UNDEFINED, end, _UNDEFINED)
    return b"\x89HDF\r\n\x1a\n" + versions + struct.pack("<HHI", 4, 16, 0) + addresses + root


# Leaf and internal nodes have room for 2K+1 keys and 2K children; K of internal nodes is 16.
_TREE_SIZE = 24 + 33 * 8 + 32 * 8


def _tree() -> bytes:
    node = b"TREE" + struct.pack("<BBHQQ", 0, 0, 0, _UNDEFINED, _UNDEFINED)
    return node + bytes(_TREE_SIZE - len(node))


def _heap(heap_at: int) -> bytes:
    """A local heap of eight bytes: the empty name."""
    return b"HEAP" + struct.pack("<B3xQQQ", 0, 8, 1, heap_at + 32) + bytes(8)


def _attribute(name: str, value: bytes) -> bytes:
    """A message of version 1 with a scalar string of fixed length, padded with NUL, in UTF-8."""
    title = name.encode() + b"\0"
    datatype = struct.pack("<BBBBI", 0x13, 0x11, 0, 0, len(value))
    dataspace = struct.pack("<BBB5x", 1, 0, 0)
    head = struct.pack("<BBHHH", 1, 0, len(title), len(datatype), len(dataspace))
    body = head + _eight(title) + _eight(datatype) + _eight(dataspace) + value
    padded = _eight(body)
    return struct.pack("<HHB3x", _ATTRIBUTE, len(padded), 0) + padded


def _eight(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
