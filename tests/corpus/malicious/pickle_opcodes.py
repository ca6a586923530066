"""Every protocol, and every opcode that calls something."""

from __future__ import annotations

from tests.corpus.formats.pickles import (
    BINPERSID,
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    FALSE,
    MARK,
    NEWOBJ,
    NEWOBJ_EX,
    NONE,
    OBJ,
    POP,
    TUPLE2,
    binary,
    bytearray8,
    call,
    dictionary,
    ext1,
    ext2,
    ext4,
    frame,
    glob,
    inst,
    integer,
    line_call,
    line_text,
    list_of,
    persid,
    stack_glob,
    stream,
    text,
    tuple_of,
    wide_text,
)
from tests.corpus.malicious.common import ATTACK, pickled
from tests.corpus.payloads import EXPRESSION, SHELL, STATEMENTS
from tests.corpus.specimen import NEVER_CLEAN, Specimen

SYSTEM = glob("os", "system")


def specimens() -> list[Specimen]:
    return [*_protocols(), *_constructors(), *_builds(), *_registry(), *_persistent_ids()]


def _protocols() -> list[Specimen]:
    attack4 = call(stack_glob("os", "system"), text(SHELL))
    exec5 = call(stack_glob("builtins", "exec"), bytearray8(STATEMENTS.encode()))
    streams = {
        0: stream(None, line_call("os", "system", SHELL)),
        1: stream(None, call(SYSTEM, wide_text(SHELL))),
        2: stream(2, ATTACK),
        3: stream(3, call(glob("builtins", "exec"), binary(STATEMENTS.encode()))),
        4: stream(4, frame(attack4 + b".")[:-1]),
        5: stream(5, frame(exec5 + b".")[:-1]),
    }
    return [
        pickled(f"pickle-protocol-{n}", "REDUCE", f"A call on load, in protocol {n}", content)
        for n, content in streams.items()
    ]


def _constructors() -> list[Specimen]:
    calls = call(glob("copyreg", "__newobj__"), glob("builtins", "map"), SYSTEM, list_of(text(SHELL)))
    lazy = glob("builtins", "map") + tuple_of(SYSTEM, list_of(text(SHELL))) + NEWOBJ
    lazy_ex = glob("builtins", "map") + tuple_of(SYSTEM, list_of(text(SHELL))) + EMPTY_DICT + NEWOBJ_EX
    everything = glob("builtins", "tuple")
    return [
        pickled("pickle-inst", "INST", "INST calls os.system; no GLOBAL, no REDUCE", stream(None, _inst())),
        pickled("pickle-obj", "OBJ", "OBJ calls os.system; no REDUCE", stream(2, MARK, SYSTEM, text(SHELL), OBJ)),
        pickled(
            "pickle-newobj",
            "NEWOBJ",
            "A lazy map over os.system, run by tuple.__new__; nothing is ever reduced",
            stream(2, everything, tuple_of(lazy), NEWOBJ),
        ),
        pickled(
            "pickle-newobj-ex",
            "NEWOBJ_EX",
            "The same by NEWOBJ_EX with empty keywords",
            stream(4, everything, tuple_of(lazy_ex), EMPTY_DICT, NEWOBJ_EX),
        ),
        pickled(
            "pickle-copyreg-newobj",
            "REDUCE",
            "copyreg.__newobj__ makes the map, the list that extends by it runs it",
            stream(2, call(glob("builtins", "list"), calls)),
        ),
    ]


def _inst() -> bytes:
    return inst("os", "system", line_text(SHELL))


def _builds() -> list[Specimen]:
    namespace = glob("types", "SimpleNamespace") + EMPTY_TUPLE + NEWOBJ
    counter = glob("collections", "Counter")
    state = NONE + dictionary({"__setstate__": SYSTEM}) + TUPLE2
    return [
        pickled(
            "pickle-build-instance",
            "BUILD",
            "BUILD gives an instance a __setstate__ that is os.system, the next BUILD calls it",
            stream(2, namespace, dictionary({"__setstate__": SYSTEM}), BUILD, text(SHELL), BUILD),
        ),
        pickled(
            "pickle-build-class",
            "BUILD",
            "BUILD sets an attribute of a harmless class, whose next instance runs it",
            stream(2, counter, state, BUILD, POP, counter, EMPTY_TUPLE, NEWOBJ, text(SHELL), BUILD),
        ),
        pickled(
            "pickle-build-function",
            "modelscan#330",
            "BUILD hangs the builtins on numpy.size, which then (before numpy 2.4) looks `eval` up in them",
            stream(4, _numpy_size()),
            loader=None,
        ),
    ]


def _numpy_size() -> bytes:
    size, builtins = stack_glob("numpy", "size"), stack_glob("numpy", "__builtins__")
    shaped = size + EMPTY_DICT + dictionary({"shape": builtins}) + TUPLE2 + BUILD + POP
    return shaped + call(call(size, size, text("eval")), text(EXPRESSION))


def _registry() -> list[Specimen]:
    found = []
    for number, code, opcode in (("1", 7, ext1(7)), ("2", 4711, ext2(4711)), ("4", 0x1234567, ext4(0x1234567))):
        added = call(glob("copyreg", "add_extension"), text("os"), text("system"), integer(code))
        content = stream(2, added, POP, call(opcode, text(SHELL)))
        found.append(
            pickled(
                f"pickle-ext{number}",
                f"EXT{number}",
                "Registers os.system as an extension, then calls its code",
                content,
            )
        )
    unknown = stream(2, call(ext1(199), text(SHELL)))
    found.append(
        pickled(
            "pickle-ext-unregistered",
            "EXT1",
            "Calls an extension code that only the loading program could explain",
            unknown,
            expected=NEVER_CLEAN,
            loader=None,
        )
    )
    return found


def _persistent_ids() -> list[Specimen]:
    return [
        pickled(
            "pickle-persid",
            "PERSID",
            "An object that only the loading program's persistent_load could explain",
            stream(None, persid("../../weights/0"), b"0", FALSE),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-binpersid-call",
            "BINPERSID",
            "The persistent id is itself made by a call",
            stream(2, tuple_of(text("storage"), ATTACK), BINPERSID),
        ),
    ]
