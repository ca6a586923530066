"""What an unpickler's stack would hold: known where it is a constant, a name or a container, else only its kind."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PersistentId", "Value"]

Value = object
"""`str`, `bytes`, `int`, `float`, `bool` and `None` stand for themselves, tuples for tuples of values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistentId:
    """An object that the loader looks up by `key`; `offset` is that of the opcode."""

    key: Value
    offset: int
