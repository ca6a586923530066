"""Readers of weight files' headers, applied to bytes."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from modelcar.checkpoint import Header
from modelcar.errors import MalformedFile
from modelcar.files import ReadAt, reading

__all__ = ["Reader", "check_refusal", "frugal", "read_bytes", "refusal"]

Reader = Callable[[ReadAt, int, str], Header]
PATH = "dir/model"


def read_bytes(reader: Reader, content: bytes) -> Header:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return reader(reading(file.fileno(), PATH), len(content), PATH)


def check_refusal(refused: MalformedFile) -> str:
    """A refusal's message: one clear line that names the file, and a hint beside it."""
    line = str(refused)
    assert line.startswith(f"{PATH}: ")
    assert line.isprintable()
    assert refused.hint
    return line


def refusal(reader: Reader, content: bytes) -> str:
    """What is said of a file that must be refused."""
    with pytest.raises(MalformedFile) as caught:
        read_bytes(reader, content)
    return check_refusal(caught.value)


@contextmanager
def frugal(limit: int = 2_000_000) -> Iterator[None]:
    """Fail if the block ever holds more than `limit` bytes, whatever the file announces."""
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < limit
