"""The stack machine that a pickle is a program for: its state, and the loop over its opcodes.

Handlers of opcodes take the machine, the bytes in view and the position behind the opcode; they return the position
of the next one. `LOOKAHEAD` bytes behind the opcode are in view, or all that the file still has: whoever reaches
farther says so by an IndexError or a struct.error, which the loop understands as the end of the file.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import Malformed
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats.pickles.rules import NOT_CANONICAL
from modelcar.scanning.formats.pickles.values import Blob, Kind, PersistentId, Value, constant
from modelcar.scanning.limits import Budget, LimitExceeded

__all__ = ["LONGEST_KEPT", "LOOKAHEAD", "Found", "Handler", "Machine"]

LOOKAHEAD: Final = 4096 + 16
LONGEST_KEPT: Final = 256  # bytes of a constant that is kept as it is
_LONGEST_NAME: Final = 64 << 10  # bytes of a constant that is read again when it turns out to be a name
_MOST_VALUES: Final = 3 << 20  # on the stack and in the memo together
_MOST_BLOCKS: Final = 10_000_000  # of Python's allocator, some 64 bytes each
_MOST_WIDE: Final = 64 << 20  # items of all tuples together that are too long for that allocator
_WIDE: Final = 56
_MOST_KEPT: Final = 1 << 18  # items of all lists and dicts together
_MOST_NESTED: Final = 10_000  # constants that are looked at in case that they are pickles
_FIRST_WINDOW: Final = 64 << 10  # bytes: most streams are short
_NEVER: Final = 1 << 62

Found = Callable[[Rule, str, int], None]
"""Called with a rule, a detail and the offset of the opcode."""


class Machine:
    """One stream being walked.

    Attributes:
        stack: the values above the last mark; `below` are the stacks under the marks.
        memo: by index.
        protocol: what the last PROTO said.
        calls: how many calls, imports by number and changes there were.
        globals: how many imports there were by a name that a module can have.
        nested: constants that may be pickles themselves.
        loaded: constants that loading it would load as files of their own.
        arrays: how many arrays of joblib there were; they lie between the opcodes if `reads_arrays`.
        depth: how many streams this one lies inside.
        crossed: offset of the first end of a frame that a read crosses; 0 if none does.
        end: offset behind STOP.
        resumes: where unpicklers that read whole frames look for the next stream; 0 if that is `end`.
    """

    __slots__ = (
        "_base",
        "_blocks",
        "_content",
        "_frame_end",
        "_kept",
        "_wide",
        "_windows",
        "arrays",
        "below",
        "budget",
        "calls",
        "crossed",
        "data",
        "depth",
        "end",
        "found",
        "globals",
        "handlers",
        "limit",
        "loaded",
        "memo",
        "nested",
        "pending",
        "persistent",
        "protocol",
        "reads_arrays",
        "result",
        "resumes",
        "size",
        "stack",
        "start",
        "window",
    )

    def __init__(
        self,
        content: Content,
        start: int,
        budget: Budget,
        found: Found,
        *,
        memo: dict[int, Value] | None = None,
        reads_arrays: bool = True,
        window: int = 1 << 20,
    ) -> None:
        self.budget = budget
        self.found = found
        self.start = start
        self.size = content.size
        self.window = window
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        self.pending = 0  # values in `below`
        self.memo: dict[int, Value] = {} if memo is None else memo
        self.protocol = 0
        self.persistent: list[PersistentId] = []
        self.nested: list[Value] = []
        self.loaded: list[Value] = []
        self.arrays = 0
        self.reads_arrays = reads_arrays
        self.handlers: Sequence[Handler] = ()
        self.calls = 0
        self.globals = 0
        self.depth = 0
        self.crossed = 0
        self.resumes = 0
        self.result: Value = None
        self.end = start
        self.data = b""
        self.limit = 0
        self._content = content
        self._base = start
        self._frame_end = _NEVER
        self._kept = 0
        self._windows = 0
        self._wide = 0
        self._blocks = sys.getallocatedblocks()

    def run(self, handlers: Sequence[Handler], *, windows: int | None = None, until_crossed: bool = False) -> bool:
        """Walk to STOP, or no farther than the first read that crosses a frame. Returns whether STOP was reached.

        `windows` bounds how many are looked at.

        Raises:
            Malformed: the stream breaks.
            LimitExceeded: it is larger than a scan may be.
        """
        self.handlers = handlers
        data, pos = self.data, 0
        try:
            while pos >= 0:
                if pos >= self.limit:
                    if self._windows == windows:
                        return False
                    data, pos = self._advance(pos)
                    if until_crossed and self.crossed:
                        return False
                pos = handlers[data[pos]](self, data, pos + 1)
        except (IndexError, struct.error):
            where = self._base + max(pos, 0)
            if self.size - where <= LOOKAHEAD and where + len(self.data) >= self.size:
                raise Malformed("it ends before its last opcode, or takes from an empty stack", where) from None
            raise Malformed("it takes from an empty stack", where) from None
        return True

    def inner(self, start: int) -> int:
        """Walk the stream that begins at `start` and belongs to this one. Returns the offset of its end."""
        machine = Machine(self._content, start, self.budget, self.found, window=self.window)
        machine.depth = self.depth + 1
        try:
            machine.run(self.handlers)
        finally:
            self.calls += machine.calls
            self.globals += machine.globals
            self.nested += machine.nested
            self.loaded += machine.loaded
            self.persistent += machine.persistent
        return machine.end

    def read(self, pos: int, n: int) -> bytes:
        return self._content.read(self.absolute(pos), n)

    def offset(self, pos: int) -> int:
        """Where in the file the opcode lies that `pos` is behind."""
        return self._base + pos - 1

    def absolute(self, pos: int) -> int:
        """Where in the file `pos` is."""
        return self._base + pos

    def position(self, offset: int) -> int:
        """Where in the bytes in view, or behind them, an offset is."""
        return offset - self._base

    def malformed(self, problem: str, pos: int) -> Malformed:
        return Malformed(problem, self.offset(pos))

    # Framing: pickle.py reads a frame as a whole and no opcode across its end; older C code ignores frames.

    def open_frame(self, pos: int, size: int) -> None:
        start = self.absolute(pos)
        if self._frame_end != _NEVER:
            self.found(NOT_CANONICAL, "a frame begins inside another one", start - 9)
            if start + size > self._frame_end:
                self.crossed = self.crossed or self._frame_end
        if start + size > self.size:
            self.found(NOT_CANONICAL, "a frame is longer than the file", start - 9)
        self._frame_end = start + size
        self._set_limit()

    def leave_frame(self, pos: int) -> None:
        """Before bytes that are read from the file itself, which is where the frame ends."""
        if self._frame_end not in (_NEVER, self.absolute(pos)):
            self.found(NOT_CANONICAL, "an array lies inside a frame", self.offset(pos))
        self._frame_end = _NEVER
        self._set_limit()

    def close(self, pos: int) -> None:
        """STOP, behind which `pos` is."""
        self.end = self.absolute(pos)
        if self._frame_end != _NEVER and self.end != self._frame_end:
            self.found(NOT_CANONICAL, "it stops inside a frame", self.end - 1)
            self.resumes = self._frame_end

    def _advance(self, pos: int) -> tuple[bytes, int]:
        at = self._base + pos
        if at >= self._frame_end:
            if at > self._frame_end:
                self.crossed = self.crossed or self._frame_end
                self.found(NOT_CANONICAL, "an opcode crosses the end of its frame", self._frame_end)
            self._frame_end = _NEVER
        if len(self.data) - pos < LOOKAHEAD and self._base + len(self.data) < self.size:
            self._check_memory()
            self.data = self._content.read(at, self.window if self._windows else min(self.window, _FIRST_WINDOW))
            self._base = at
            self._windows += 1
            pos = 0
        self._set_limit()
        return self.data, pos

    def _set_limit(self) -> None:
        end = len(self.data)
        if self._base + end < self.size:
            end -= LOOKAHEAD
        self.limit = min(end, self._frame_end - self._base)

    def _check_memory(self) -> None:
        self.budget.check_time()
        values = self.pending + len(self.stack) + len(self.below) + len(self.memo)
        blocks = sys.getallocatedblocks()
        self._blocks = min(self._blocks, blocks)  # the whole process's: what others let go of meanwhile hides nothing
        if values > _MOST_VALUES or blocks - self._blocks > _MOST_BLOCKS or self._wide > _MOST_WIDE:
            raise LimitExceeded("a pickle holds more values at once than are kept")

    # The stack

    def pop_tuple(self) -> tuple[Value, ...]:
        """The values above the last mark, as a tuple."""
        items = self.pop_mark()
        if len(items) > _WIDE:
            self._wide += len(items)
        return tuple(items)

    def pop_mark(self) -> list[Value]:
        """The values above the last mark, which goes with them."""
        items = self.stack
        self.stack = self.below.pop()
        self.pending -= len(self.stack)
        return items

    def may_keep(self, n: int) -> bool:
        """Whether `n` more items of lists and dicts may be remembered."""
        if self._kept + n > _MOST_KEPT:
            return False
        self._kept += n
        return True

    # Constants

    def nest(self, value: Value) -> None:
        """Remember that a constant may be a pickle itself."""
        if len(self.nested) < _MOST_NESTED:
            self.nested.append(value)

    def text(self, value: Value) -> str | None:
        """A text as far as a name can be long; `None` if it is no text, or a longer one."""
        if isinstance(value, Blob) and value.kind is Kind.TEXT and value.size <= _LONGEST_NAME:
            self.budget.check_time()
            return self._content.read(value.start, value.size).decode("utf-8", "replace")
        known = constant(value)
        return known if isinstance(known, str) else None

    def line(self, data: bytes, pos: int) -> tuple[bytes | None, int]:
        """The line at `pos` without its end, `None` if it is too long to be kept; and the position behind it."""
        end = data.find(b"\n", pos)
        if end >= 0:
            return data[pos:end] if end - pos < LOOKAHEAD else None, end + 1
        at = self.absolute(len(data))
        for piece in self._content.pieces(at):
            self.budget.check_time()
            end = piece.find(b"\n")
            if end >= 0:
                return None, self.position(at + end + 1)
            at += len(piece)
        raise self.malformed("a line has no end", pos)


Handler = Callable[[Machine, bytes, int], int]
