"""Memory that streams share."""

from __future__ import annotations

from contextlib import ExitStack

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.buffers import ChunkBuffers


def test_two_at_once_are_two() -> None:
    buffers = ChunkBuffers()
    with buffers.lend() as one, buffers.lend() as other:
        one[:] = b"1" * CHUNK_SIZE
        other[:] = b"2" * CHUNK_SIZE
        assert one[CHUNK_SIZE - 1] == ord("1")


def test_what_is_given_back_is_lent_again() -> None:
    buffers = ChunkBuffers()
    with buffers.lend() as one:
        one[0] = 7
    with buffers.lend() as again:
        assert again is one


def test_little_is_kept_when_nothing_flows() -> None:
    buffers = ChunkBuffers()
    with ExitStack() as stack:
        lent = [stack.enter_context(buffers.lend()) for _ in range(8)]
    with ExitStack() as stack:
        anew = [stack.enter_context(buffers.lend()) for _ in range(8)]
        assert sum(any(a is b for b in lent) for a in anew) == 2
