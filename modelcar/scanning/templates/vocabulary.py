"""The part of Jinja that chat templates need, and the words of attacks on it."""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "ATTACK_CALLS",
    "ATTACK_NAMES",
    "ATTACK_WORDS",
    "ELEMENT_FILTERS",
    "FILTERS",
    "FUNCTIONS",
    "LOOP_NUMBERS",
    "METHODS",
    "NODES",
    "NUMBER_FILTERS",
    "NUMBER_METHODS",
    "REFUSED_NAMES",
    "SAME_TEXT_FILTERS",
    "SAME_TEXT_METHODS",
    "TAKING_METHODS",
    "TESTS",
    "is_internal",
]

NODES: Final = frozenset(
    {
        "Template", "Output", "TemplateData", "If", "For", "Assign", "AssignBlock", "Macro", "CallBlock",
        "FilterBlock", "With", "Scope", "Break", "Continue", "Const", "Name", "NSRef", "List", "Tuple", "Dict",
        "Pair", "Keyword", "CondExpr", "Compare", "Operand", "And", "Or", "Not", "Neg", "Pos", "Add", "Sub", "Mul",
        "Pow", "Div", "FloorDiv", "Mod", "Concat", "Getattr", "Getitem", "Slice", "Call", "Filter", "Test",
    }
)  # fmt: skip

FUNCTIONS: Final = frozenset(
    {
        "range", "dict", "namespace", "raise_exception", "strftime_now", "caller",
    }
)  # fmt: skip

# Their results, as far as an index may be made of them: see `values.py`.
NUMBER_METHODS: Final = frozenset(
    {
        "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "islower",
        "isnumeric", "isspace", "istitle", "isupper", "rfind", "rindex", "startswith",
    }
)  # fmt: skip
SAME_TEXT_METHODS: Final = frozenset(
    {
        "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rpartition", "rsplit", "rstrip", "split",
        "splitlines", "strip", "upper",
    }
)  # fmt: skip
TAKING_METHODS: Final = frozenset(
    {
        "copy", "get", "items", "keys", "pop", "values",
    }
)  # fmt: skip
_OTHER_METHODS: Final = frozenset(
    {
        "append", "capitalize", "casefold", "center", "changed", "clear", "cycle", "extend", "insert", "join",
        "ljust", "replace", "reverse", "rjust", "setdefault", "sort", "swapcase", "title", "update", "zfill",
    }
)  # fmt: skip
METHODS: Final = NUMBER_METHODS | SAME_TEXT_METHODS | TAKING_METHODS | _OTHER_METHODS

NUMBER_FILTERS: Final = frozenset(
    {
        "abs", "count", "float", "int", "length", "round", "wordcount",
    }
)  # fmt: skip
SAME_TEXT_FILTERS: Final = frozenset(
    {
        "capitalize", "e", "escape", "forceescape", "lower", "safe", "string", "title", "trim", "upper",
    }
)  # fmt: skip
ELEMENT_FILTERS: Final = frozenset(
    {
        "batch", "d", "default", "dictsort", "first", "groupby", "items", "last", "list", "max", "min", "random",
        "reject", "rejectattr", "select", "selectattr", "slice", "sort", "sum", "unique",
    }
)  # fmt: skip
_OTHER_FILTERS: Final = frozenset(
    {
        "center", "filesizeformat", "format", "indent", "join", "map", "replace", "reverse", "striptags", "tojson",
        "truncate", "urlencode", "wordwrap",
    }
)  # fmt: skip
FILTERS: Final = NUMBER_FILTERS | SAME_TEXT_FILTERS | ELEMENT_FILTERS | _OTHER_FILTERS

TESTS: Final = frozenset(
    {
        "defined", "undefined", "none", "string", "mapping", "number", "sequence", "iterable", "boolean", "integer",
        "float", "true", "false", "odd", "even", "divisibleby", "eq", "equalto", "==", "ne", "!=", "lt", "lessthan",
        "<", "gt", "greaterthan", ">", "ge", ">=", "le", "<=", "in", "lower", "upper", "sameas", "callable",
        "escaped",
    }
)  # fmt: skip

LOOP_NUMBERS: Final = frozenset(
    {
        "depth", "depth0", "first", "index", "index0", "last", "length", "revindex", "revindex0",
    }
)  # fmt: skip

# What some program or other puts within a template's reach, and no conversation needs.
REFUSED_NAMES: Final = frozenset(
    {
        "self", "lipsum", "cycler", "joiner", "varargs", "kwargs", "request", "response", "session", "config", "app",
        "application", "environ", "environment", "context", "g", "url_for", "get_flashed_messages", "os", "sys",
        "subprocess", "builtins", "eval", "exec", "open", "compile", "getattr", "setattr", "globals", "locals",
        "vars", "importlib", "posix", "socket", "shutil", "pickle",
    }
)  # fmt: skip

_DUNDER: Final = re.compile(r"(?<![A-Za-z0-9])(?:_{2,}[A-Za-z]|_[A-Za-z0-9]{1,60}__[A-Za-z])")
ATTACK_NAMES: Final = frozenset(
    {
        "mro", "func_globals", "func_code", "func_closure", "im_func", "im_class", "gi_frame", "gi_code", "cr_frame",
        "cr_code", "ag_frame", "ag_code", "f_globals", "f_locals", "f_builtins", "f_back", "f_code", "tb_frame",
        "tb_next", "co_consts",
    }
)  # fmt: skip
ATTACK_CALLS: Final = frozenset(
    {
        "popen", "Popen", "system", "check_output", "check_call", "getoutput", "execfile", "eval", "exec", "spawn",
        "load_module", "import_module",
    }
)  # fmt: skip
ATTACK_WORDS: Final = (
    "class", "globals", "subclasses", "builtins", "import", "init", "bases", "getattribute", "getitem", "mro",
    "reduce", "popen", "loader",
)  # fmt: skip


def is_internal(name: str) -> bool:
    """Whether an attribute of that name leads from any value into Python itself."""
    return name in ATTACK_NAMES or _DUNDER.search(name) is not None
