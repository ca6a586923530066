"""Names of Python objects in configurations: which of them do harm when they are called, whatever the program."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_dangerous", "is_dotted"]

_DOTTED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,80}(?:[.:][A-Za-z_][A-Za-z0-9_]{0,80}){1,12}")
# Modules in which hardly a function does no harm when a stranger has it called, and those few.
_MODULES: Final = frozenset(
    {
        "_posixsubprocess", "bdb", "cffi", "cloudpickle", "codeop", "ctypes", "dill", "ftplib", "importlib",
        "jsonpickle", "marshal", "nt", "os", "paramiko", "pdb", "pickle", "pip", "popen2", "posix", "pty", "pydoc",
        "runpy", "shelve", "shutil", "smtplib", "socket", "subprocess", "telnetlib", "webbrowser", "zipimport",
    }
)  # fmt: skip
_HARMLESS: Final = re.compile(
    r"os\.(?:path\.\w+|getcwd|getenv|cpu_count|environ\.get|sep|linesep|PathLike)|socket\.gethostname"
    r"|importlib\.metadata\.version|shutil\.which"
)
_BUILTINS: Final = frozenset({"builtins", "__builtin__", "__builtins__"})
_HARMFUL_BUILTINS: Final = frozenset(
    {
        "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "getattr", "globals", "input",
        "open", "setattr", "vars",
    }
)  # fmt: skip
_ALONE: Final = frozenset({"__import__", "compile", "eval", "exec", "execfile"})


def is_dotted(text: str) -> bool:
    """Whether `text` is written like `package.module.object`."""
    return _DOTTED.fullmatch(text) is not None


def is_dangerous(name: str) -> bool:
    """Whether a call of the object `name` runs commands or code, loads pickles, or reaches files or the network."""
    parts = re.split(r"[.:]", name.strip())
    if len(parts) == 1:
        return parts[0] in _ALONE
    if parts[0] in _BUILTINS:
        return parts[-1] in _HARMFUL_BUILTINS
    if parts[0] in _MODULES:
        return _HARMLESS.fullmatch(".".join(parts)) is None
    # what a harmless module imports is within reach, too: `torch.serialization.os.system`
    return any(part in ("os", "subprocess", "builtins", "posix") for part in parts[1:-1])
