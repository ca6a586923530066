"""Arrays that joblib writes between the opcodes, behind the object that describes them."""

from __future__ import annotations

from math import prod
from typing import Final

from modelcar.scanning.formats.pickles import arguments as a
from modelcar.scanning.formats.pickles.machine import Machine
from modelcar.scanning.formats.pickles.values import Value, constant, items_of
from modelcar.scanning.formats.pickles.vetted_numpy import item_size, simple_dtype

__all__ = ["skip_array"]

_MOST_NESTED: Final = 16


def skip_array(m: Machine, state: Value, pos: int) -> int:
    """Behind the array that `state` describes and that begins at `pos`.

    Raises:
        Malformed: where the array ends cannot be known.
    """
    known = a.attributes(state)
    code = simple_dtype(known.get("dtype")) if known else None
    shape = known.get("shape") if known else None
    if known is None or code is None or not a.is_sizes(shape):
        raise m.malformed("an array of joblib does not say how long it is", pos)
    m.arrays += 1
    if not m.reads_arrays:
        return pos
    m.leave_frame(pos)
    if code.startswith("O"):
        return m.position(_walk_objects(m, pos))
    alignment = constant(known.get("numpy_array_alignment_bytes"))
    if alignment is not None:
        padding = m.read(pos, 1)
        pos += 1 + (padding[0] if padding else 0)
    numbers = [constant(size) for size in items_of(shape) or ()]
    end = pos + prod(n for n in numbers if isinstance(n, int)) * item_size(code)
    if m.absolute(end) > m.size:
        raise m.malformed("an array is longer than the file", pos)
    return end


def _walk_objects(m: Machine, pos: int) -> int:
    """An array of objects is a stream of its own. Returns the offset of its end."""
    if m.depth >= _MOST_NESTED:
        raise m.malformed("arrays of objects lie in arrays of objects", pos)
    return m.inner(m.absolute(pos))
