"""Whether bytes are a pickle, whatever they are called: an unpickler would get through them, or as far as a call."""

from __future__ import annotations

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import Malformed
from modelcar.scanning.findings import Rule, Severity
from modelcar.scanning.formats.pickles.machine import Machine
from modelcar.scanning.formats.pickles.opcodes import OPCODES
from modelcar.scanning.formats.pickles.rules import EXTENSION
from modelcar.scanning.limits import Budget, LimitExceeded, Limits

__all__ = ["is_pickle"]

_WINDOW = 32 << 10  # bytes
_WINDOWS = 8
_SECONDS = 20.0
_FEW = 4  # bytes: too short for anything but chance
_PROTO = 0x80


def is_pickle(content: Content, *, sure: bool = False) -> bool:
    """Whether loading it would do something, or return a value and end where the bytes end.

    What goes on for longer than a look at it is a pickle, too, unless it has to be `sure`.
    """
    streams = 0
    start = 0
    while start < content.size and streams < 8:
        seen: list[Rule] = []
        machine = Machine(
            content,
            start,
            Budget(limits=Limits(seconds=_SECONDS)),
            lambda rule, _, __, seen=seen: seen.append(rule),  # type: ignore[misc]  # mypy takes no lambda with a default
            reads_arrays=False,
            window=_WINDOW,
        )
        try:
            stopped = machine.run(OPCODES, windows=_WINDOWS)
        except LimitExceeded:
            return not sure
        except Malformed:
            return _does_something(machine, seen) or (streams > 0 and content.read(0, 1)[0] == _PROTO)
        if not stopped:
            return not sure or _does_something(machine, seen)
        if machine.globals or machine.resumes or EXTENSION in seen:
            return True
        start = machine.end
        streams += 1
    return streams >= 8 or content.size > _FEW


def _does_something(machine: Machine, seen: list[Rule]) -> bool:
    """Before it broke: a text can look like an import by chance, but hardly like an import and a call."""
    is_attack = any(rule.severity is Severity.MALICIOUS for rule in seen)
    return is_attack or machine.crossed > 0 or (machine.globals > 0 and machine.calls > 0)
