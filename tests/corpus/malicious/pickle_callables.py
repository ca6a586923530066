"""Callables that lists of forbidden names forget: one pickle each that calls one, in the plainest way."""

from __future__ import annotations

import marshal
from typing import Final

from tests.corpus.formats.pickles import (
    EMPTY_DICT,
    NONE,
    TRUE,
    binary,
    call,
    glob,
    integer,
    list_of,
    stack_glob,
    stream,
    text,
    tuple_of,
)
from tests.corpus.malicious.common import pickled
from tests.corpus.payloads import EXPRESSION, SHELL, STATEMENTS
from tests.corpus.specimen import NEVER_CLEAN, Specimen

COMMAND: Final = list_of(text("sh"), text("-c"), text(SHELL))

# name -> module, function, arguments: all of the standard library
FORGOTTEN: Final[dict[str, tuple[str, str, tuple[bytes, ...]]]] = {
    "os-popen": ("os", "popen", (text(SHELL),)),
    "os-posix-spawn": ("os", "posix_spawn", (text("/bin/sh"), COMMAND, glob("os", "environ"))),
    "subprocess-getoutput": ("subprocess", "getoutput", (text(SHELL),)),
    "subprocess-popen": ("subprocess", "Popen", (COMMAND,)),
    "builtins-eval": ("builtins", "eval", (text(EXPRESSION),)),
    "builtins-exec": ("builtins", "exec", (text(STATEMENTS),)),
    "pty-spawn": ("pty", "spawn", (COMMAND,)),
    "timeit": ("timeit", "timeit", (text("pass"), text(STATEMENTS))),
    "cprofile-run": ("cProfile", "run", (text(STATEMENTS),)),
    "profile-run": ("profile", "run", (text(STATEMENTS),)),
    "runpy-run-code": ("runpy", "_run_code", (text(STATEMENTS), EMPTY_DICT)),
    "pdb-run": ("bdb", "Bdb.run", (call(glob("bdb", "Bdb")), text(STATEMENTS), NONE)),
    "pydoc-pipepager": ("pydoc", "pipepager", (text(""), text(SHELL))),
    "code-interpreter": (
        "code",
        "InteractiveInterpreter.runsource",
        (call(glob("code", "InteractiveInterpreter")), text(STATEMENTS), text("m"), text("exec")),
    ),
}

CVE_2026_56315: Final[dict[str, tuple[str, str, tuple[bytes, ...]]]] = {
    "uuid": ("uuid", "_get_command_stdout", (text("sh"), text("-c"), text(SHELL))),
    "imaplib": ("imaplib", "IMAP4_stream", (text(SHELL),)),
    "osx-support": ("_osx_support", "_read_output", (text(SHELL),)),
    "aix-support": ("_aix_support", "_read_cmd_output", (text(SHELL),)),
    "pyrepl-pager": ("_pyrepl.pager", "pipe_pager", (text(""), text(SHELL))),
}


def specimens() -> list[Specimen]:
    return [*_forgotten(), *_advisories(), *_code_objects(), *_files(), *_libraries()]


def _forgotten() -> list[Specimen]:
    return [
        pickled(
            f"pickle-calls-{name}",
            "missing global",
            f"Calls {module}.{function}",
            stream(4, call(stack_glob(module, function), *arguments)),
        )
        for name, (module, function, arguments) in FORGOTTEN.items()
    ]


def _advisories() -> list[Specimen]:
    found = [
        pickled(
            f"pickle-CVE-2026-56315-{name}",
            "CVE-2026-56315",
            f"Calls {module}.{function} of the standard library, which runs a command",
            stream(4, call(stack_glob(module, function), *arguments)),
            loader="pickle" if name in {"uuid", "imaplib", "osx-support"} else None,
        )
        for name, (module, function, arguments) in CVE_2026_56315.items()
    ]
    transport = stack_glob("asyncio.unix_events", "_UnixSubprocessTransport._start")
    namespace = call(glob("types", "SimpleNamespace"))
    started = call(transport, namespace, text(SHELL), TRUE, NONE, NONE, NONE, integer(0))
    return [
        *found,
        pickled(
            "pickle-CVE-2025-1716-pip",
            "CVE-2025-1716",
            "Calls pip.main, which installs what it is told; here it only shows its version",
            stream(4, call(stack_glob("pip", "main"), list_of(text("--version")))),
            loader=None,
        ),
        pickled(
            "pickle-CVE-2025-1716-pip-internal",
            "CVE-2025-1716",
            "The same function by the name of the module that implements it",
            stream(4, call(stack_glob("pip._internal.cli.main", "main"), list_of(text("--version")))),
            loader=None,
        ),
        pickled(
            "pickle-CVE-2025-10157-asyncio",
            "CVE-2025-10157",
            "A subclass in a submodule of asyncio starts a process; the list has only the package",
            stream(4, started),
        ),
    ]


def _code_objects() -> list[Specimen]:
    compiled = call(glob("builtins", "compile"), text(STATEMENTS), text("m"), text("exec"))
    function = call(glob("types", "FunctionType"), compiled, EMPTY_DICT)
    return [
        pickled(
            "pickle-code-object",
            "code object",
            "Compiles a code object, makes a function of it and calls that",
            stream(4, call(function)),
        ),
        pickled(
            "pickle-marshal",
            "code object",
            "Unmarshals a code object: nothing of it can be read as text",
            stream(
                4,
                call(
                    glob("builtins", "exec"),
                    call(glob("marshal", "loads"), binary(marshal.dumps(compile(STATEMENTS, "m", "exec")))),
                ),
            ),
        ),
    ]


def _files() -> list[Specimen]:
    """No code runs at once, but files come into being where the pickle says."""
    marker = call(glob("posixpath", "expandvars"), text("$MODELCAR_CORPUS_MARKER"))
    return [
        pickled(
            "pickle-writes-file",
            "file write",
            "pathlib writes a file: that could have been ~/.bashrc",
            stream(4, call(stack_glob("pathlib", "Path.touch"), call(glob("pathlib", "PosixPath"), marker))),
            expected=NEVER_CLEAN,
        ),
        pickled(
            "pickle-logging-file-handler",
            "CVE-2026-56304",
            "A logging handler creates a file at any path",
            stream(4, call(stack_glob("logging", "FileHandler"), marker)),
            expected=NEVER_CLEAN,
        ),
        pickled(
            "pickle-opens-socket",
            "network",
            "Connects to a server of the author's choice (here: nobody's port)",
            stream(4, call(stack_glob("socket", "create_connection"), tuple_of(text("127.0.0.1"), integer(9)))),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-loads-library",
            "native code",
            "ctypes loads a native library that lies beside the model",
            stream(4, call(stack_glob("ctypes", "CDLL"), text("./libmodel.so"))),
            loader=None,
        ),
    ]


def _libraries() -> list[Specimen]:
    """Allow-lists by package let these through."""
    return [
        pickled(
            "pickle-numpy-runstring",
            "allowed package",
            "A test helper of numpy that is exec by another name",
            stream(4, call(stack_glob("numpy.testing._private.utils", "runstring"), text(STATEMENTS), EMPTY_DICT)),
        ),
        pickled(
            "pickle-torch-hub",
            "allowed package",
            "torch.hub.load runs hubconf.py of a folder or repository",
            stream(4, call(stack_glob("torch.hub", "_load_local"), text("."), text("model"))),
            loader=None,
            expected=NEVER_CLEAN,
        ),
        pickled(
            "pickle-torch-collect-env",
            "allowed package",
            "A helper of torch that runs a command",
            stream(4, call(stack_glob("torch.utils.collect_env", "run"), text(SHELL))),
            loader="torch-pickle",
        ),
        pickled(
            "pickle-unknown-library",
            "unknown global",
            "Calls a function of a library that nobody has heard of",
            stream(4, call(stack_glob("acme_layers.blocks", "Fused"), text("weights"))),
            loader=None,
            expected=NEVER_CLEAN,
        ),
    ]
