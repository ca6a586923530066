"""Globals whose names a scanner gets wrong: memo games, stack games, names that are computed, names with dots."""

from __future__ import annotations

from tests.corpus.formats.pickles import (
    DUP,
    MARK,
    MEMOIZE,
    POP,
    POP_MARK,
    REDUCE,
    STACK_GLOBAL,
    TUPLE,
    TUPLE1,
    TUPLE2,
    binget,
    binput,
    call,
    chars,
    frame,
    get,
    glob,
    line_text,
    list_of,
    long_binget,
    long_binput,
    put,
    stack_glob,
    stream,
    text,
)
from tests.corpus.malicious.common import pickled
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import NEVER_CLEAN, Specimen

SYSTEM_CALL = f"__import__('os').system({SHELL!r})"
RUN = text(SHELL) + TUPLE1 + REDUCE


def specimens() -> list[Specimen]:
    return [*_memo(), *_stack(), *_computed(), *_dotted(), *_spelling()]


def _memo() -> list[Specimen]:
    by_index = text("os") + binput(9) + POP + text("system") + binput(3) + POP
    rewritten = text("collections") + binput(0) + POP + text("os") + binput(0) + POP
    lines = b"".join((line_text("os"), put(70_000), POP, line_text("system"), put(1), POP))
    overwritten = text("collections") + binput(1) + POP + text("os") + MEMOIZE + POP
    return [
        pickled(
            "pickle-memo-by-index",
            "modelscan#85",
            "Module and name are stored under memo indices that do not count up",
            stream(4, by_index, binget(9), binget(3), STACK_GLOBAL, RUN),
        ),
        pickled(
            "pickle-memo-rewritten",
            "modelscan#85",
            "A harmless module's memo entry is overwritten before it is fetched",
            stream(4, rewritten, binget(0), text("system"), STACK_GLOBAL, RUN),
        ),
        pickled(
            "pickle-memo-text-indices",
            "modelscan#85",
            "Protocol 0's PUT with a large index feeds STACK_GLOBAL",
            stream(4, lines, get(70_000), get(1), STACK_GLOBAL, RUN),
        ),
        pickled(
            "pickle-memo-memoize-after-put",
            "modelscan#85",
            "MEMOIZE takes the number of entries for its index, so it overwrites what PUT has put there",
            stream(4, overwritten, binget(1), text("system"), STACK_GLOBAL, RUN),
        ),
        pickled(
            "pickle-memo-callable",
            "memo",
            "The callable is stored, thrown away, and fetched again much later",
            stream(
                2, glob("os", "system"), long_binput(300), POP, list_of(*[text("x")] * 50), POP, long_binget(300), RUN
            ),
        ),
    ]


def _stack() -> list[Specimen]:
    return [
        pickled(
            "pickle-stack-decoy-pop",
            "STACK_GLOBAL",
            "The last two strings before STACK_GLOBAL are harmless, and popped",
            stream(
                4, text("os"), text("system"), text("collections"), text("OrderedDict"), POP, POP, STACK_GLOBAL, RUN
            ),
        ),
        pickled(
            "pickle-stack-decoy-mark",
            "STACK_GLOBAL",
            "The harmless strings go with POP_MARK",
            stream(
                4,
                text("os"),
                text("system"),
                MARK,
                text("collections"),
                text("OrderedDict"),
                POP_MARK,
                STACK_GLOBAL,
                RUN,
            ),
        ),
        pickled(
            "pickle-stack-dup",
            "STACK_GLOBAL",
            "One string is module and name: DUP makes the second",
            stream(4, text("timeit"), DUP, STACK_GLOBAL, text("pass"), text(SYSTEM_CALL), TUPLE2, REDUCE),
        ),
        pickled(
            "pickle-stack-frame-between",
            "STACK_GLOBAL",
            "A frame boundary between module and name",
            stream(4, text("os"), frame(text("system")), frame(STACK_GLOBAL + RUN)),
        ),
    ]


def _computed() -> list[Specimen]:
    joined = call(glob("operator", "concat"), text("o"), text("s"))
    turned = call(glob("_codecs", "decode"), text("flfgrz"), text("rot13"))
    encoded = call(glob("_codecs", "encode"), text("flfgrz"), text("rot13"))
    return [
        pickled(
            "pickle-name-concatenated",
            "computed global",
            "The module's name is put together on the stack",
            stream(4, joined, text("system"), STACK_GLOBAL, RUN),
        ),
        pickled(
            "pickle-name-decoded",
            "computed global",
            "The name is decoded (rot13) on the stack",
            stream(4, text("os"), turned, STACK_GLOBAL, RUN),
        ),
        pickled(
            "pickle-name-encoded",
            "computed global",
            "The same by _codecs.encode, which honest pickles of bytes call too",
            stream(4, text("os"), encoded, STACK_GLOBAL, RUN),
        ),
    ]


def _dotted() -> list[Specimen]:
    return [
        pickled(
            "pickle-dotted-through-os",
            "dotted name",
            "Protocol 4 walks attributes: path.os.system of the module os",
            stream(4, stack_glob("os", "path.os.system"), RUN),
        ),
        pickled(
            "pickle-dotted-through-json",
            "dotted name",
            "A module that imports what it must not give away: json's codecs' builtins",
            stream(4, stack_glob("json", "codecs.builtins.exec"), text(SYSTEM_CALL), TUPLE1, REDUCE),
        ),
        pickled(
            "pickle-dotted-through-numpy",
            "CVE-2025-10157",
            "A submodule of an allowed package gives its import of os away",
            stream(4, glob("numpy.lib._npyio_impl", "os.system"), RUN),
        ),
        pickled(
            "pickle-dotted-private-import",
            "dotted name",
            "sys, by the private name under which collections imports it, is called a way no name shows",
            stream(
                4,
                call(call(glob("operator", "itemgetter"), text("os")), stack_glob("collections", "_sys.modules")),
                binput(0),
                POP,
                call(call(glob("operator", "methodcaller"), text("system"), text(SHELL)), binget(0)),
            ),
        ),
    ]


def _spelling() -> list[Specimen]:
    python2 = stream(
        2, glob("__builtin__", "apply"), MARK, glob("os", "system"), chars(SHELL.encode()), TUPLE1, TUPLE, REDUCE
    )
    return [
        pickled(
            "pickle-python2-builtin",
            "renamed module",
            "Python 2's __builtin__.eval, which the loader maps to builtins",
            stream(2, glob("__builtin__", "eval"), text(SYSTEM_CALL), TUPLE1, REDUCE),
        ),
        pickled(
            "pickle-python2-commands",
            "renamed module",
            "Python 2's commands.getoutput, which the loader maps to subprocess",
            stream(2, call(glob("commands", "getoutput"), text(SHELL))),
        ),
        pickled(
            "pickle-python2-apply",
            "renamed module",
            "apply exists in Python 2 alone, and calls anything there",
            python2,
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-homoglyph",
            "non-ASCII name",
            "A Cyrillic letter in the module's name: which module that is, only the loading machine knows",
            stream(4, call(stack_glob("\N{CYRILLIC SMALL LETTER O}s", "system"), text(SHELL))),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-posix",
            "alias",
            "The same function by the name of the module that implements it",
            stream(2, call(glob("posix", "system"), text(SHELL))),
        ),
    ]
