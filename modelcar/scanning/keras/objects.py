"""Serialised Keras objects: each names a class or function, which Keras looks up, imports and calls."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelcar.scanning.callables import is_dangerous
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.keras.builtin_names import CLASSES, FUNCTIONS

__all__ = ["RULES", "objects_in"]

LAMBDA: Final = Rule(
    id="config.serialised-function",
    severity=Severity.UNVERIFIED,
    title="a configuration that holds a serialised Python function",
    why="Keras and its kin run it when the model is loaded or called (CVE-2024-3660, CVE-2025-9905).",
    fix="Use a model without Lambda layers, or load it with safe_mode in a current Keras after reading what it does.",
)
ATTACK: Final = Rule(
    id="keras.dangerous-function",
    severity=Severity.MALICIOUS,
    title="a serialised function that runs commands or reaches for the machine",
    why="It runs with all rights of the program that loads the model or calls it (CVE-2024-3660, CVE-2025-9905).",
    fix="Do not load this model with any program; report it to where it came from.",
)
GADGET: Final = Rule(
    id="keras.foreign-call",
    severity=Severity.MALICIOUS,
    title="a configuration that has Keras call something that no model is made of",
    why="Keras calls it with arguments from the same file, to download, to write or to run code (CVE-2025-1550, "
    "CVE-2025-8747, CVE-2025-9906).",
    fix="Do not load this model with any program; report it to where it came from.",
)
CUSTOM: Final = Rule(
    id="keras.custom-object",
    severity=Severity.UNVERIFIED,
    title="a class or function that is not Keras's own",
    why="The model works only with code that is not in this file; what that code does is not known.",
    fix="Read the code that the model needs, or use a model of Keras's own layers.",
)
LOADS: Final = Rule(
    id="keras.loads-more",
    severity=Severity.UNVERIFIED,
    title="a layer that loads another file, or a program of another library",
    why="What it loads runs as part of the model, and is not covered by this scan.",
    fix="Use a model of Keras's own layers, without such a wrapper.",
)
OUTSIDE: Final = Rule(
    id="keras.file-outside",
    severity=Severity.MALICIOUS,
    title="a layer that reads a file outside of the model",
    why="Loading the model reads a file of the machine, or a web address, into the model (CVE-2025-12058).",
    fix="Do not load this model; one with the vocabulary inside needs no such path.",
)
RULES: Final = (LAMBDA, ATTACK, GADGET, CUSTOM, LOADS, OUTSIDE)

_OURS: Final = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")
_LAMBDAS: Final = frozenset({"__lambda__", "Lambda", "TFOpLambda", "SlicingOpLambda"})
_LOADERS: Final = frozenset({"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TensorFlowOpLayer"})
# Values, not objects that are looked up.
_VALUES: Final = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"})
# Functions of Keras itself that reach beyond the model.
_REACHING: Final = re.compile(
    r"get_file|_?extract\w*|\w*download\w*|load_\w+|save_\w+|\w+_from_directory|\w*unsafe\w*|\w*deserialize\w*"
    r"|model_from_\w+|func_(?:load|dump)|clear_session|register_\w+|pickle\w*|\w*_from_disk|export\w*"
)
_FUNCTION_MODULES: Final = re.compile(r"\.(?:activations|losses|metrics)(?:\.\w+)?")
_PATHS: Final = ("vocabulary", "filepath", "idf_weights")
_FAR: Final = re.compile(r"/|\\|~|[A-Za-z][A-Za-z0-9+.-]*:|(?:.*[/\\])?\.\.(?:[/\\]|\Z)", re.DOTALL)
# Names in a code object, as `marshal` writes short texts: a kind, a length, the text.
_CODE_NAMES: Final = (
    "__import__", "__builtins__", "__globals__", "__subclasses__", "eval", "exec", "execfile", "compile", "open",
    "os", "posix", "nt", "system", "popen", "spawnl", "spawnv", "execv", "execve", "subprocess", "Popen",
    "check_output", "check_call", "getoutput", "socket", "urllib", "urlopen", "urlretrieve", "requests", "importlib",
    "import_module", "ctypes", "pickle", "marshal", "shutil", "pty", "builtins", "py_function", "numpy_function",
    "py_func", "write_file", "read_file",
)  # fmt: skip
_DANGER: Final = re.compile(
    b"|".join(
        rb"[zZ\xfa\xda]%b(?:%b)|[aAstu\xe1\xc1\xf3\xf4\xf5]%b(?:%b)"
        % (re.escape(bytes([size])), names, re.escape(size.to_bytes(4, "little")), names)
        for size in sorted({len(name) for name in _CODE_NAMES})
        for names in ["|".join(name for name in _CODE_NAMES if len(name) == size).encode()]
    )
)
_LENGTH: Final = bytes(range(32))
Found = Iterator[tuple[Rule, str]]


def objects_in(members: Mapping[str, Any]) -> Found:
    """What one JSON object asks Keras for, if it is a serialised object: rules that apply, and what exactly it is."""
    name, config = members.get("class_name"), members.get("config")
    if not isinstance(name, str) or "config" not in members or name in _VALUES:
        return
    module = members.get("module")
    module = module if isinstance(module, str) else ""
    if name in _LAMBDAS:
        yield LAMBDA, shown(name)
        yield from _serialised(config)
        yield from _operation(config)
    elif name == "function":
        yield from _function(module, config)
    elif name == "__typespec__":
        name = str(members.get("spec_name"))
        if not (module.startswith("tensorflow.") and name.endswith("Spec")):
            yield _foreign(module, name)
    else:
        yield from _class(module, name, members.get("registered_name"))
    if isinstance(config, dict):
        yield from _files(name, config)


def _class(module: str, name: str, registered: Any) -> Found:
    if name in _LOADERS:
        yield LOADS, shown(name)
    elif not _is_ours(module):
        yield _foreign(module, name)
    elif name not in CLASSES or (isinstance(registered, str) and registered not in ("", name, f"Custom>{name}")):
        yield CUSTOM, shown(f"{module}.{name}" if module else name)


def _function(module: str, name: Any) -> Found:
    if not isinstance(name, str):
        yield CUSTOM, "a function without a name"
    elif not module or module == "builtins":
        if is_dangerous(f"builtins.{name}"):
            yield GADGET, shown(f"{module}.{name}")
        elif name not in FUNCTIONS:
            yield CUSTOM, shown(name)
    elif not _is_ours(module):
        yield _foreign(module, name)
    elif _REACHING.fullmatch(name.rpartition(".")[2]) or ".config" in module:
        yield GADGET, shown(f"{module}.{name}")
    elif name not in FUNCTIONS or not _FUNCTION_MODULES.search(module):
        yield CUSTOM, shown(f"{module}.{name}")


def _foreign(module: str, name: str) -> tuple[Rule, str]:
    """What belongs to Python itself is no part of any model; what does not may be somebody's own layer."""
    full = f"{module}.{name}"
    is_python = module.partition(".")[0] in sys.stdlib_module_names
    return GADGET if is_python or is_dangerous(full) else CUSTOM, shown(full)


def _is_ours(module: str) -> bool:
    """Whether a module is one of Keras's; no module at all is what Keras 2 wrote."""
    if any(part in ("os", "subprocess", "builtins", "importlib", "sys") for part in module.split(".")):
        return False
    return not module or any(module == root or module.startswith(f"{root}.") for root in _OURS)


def _operation(config: Any) -> Found:
    """An operation of TensorFlow as a layer, which Keras 2 looks up by its name."""
    name = config.get("function") if isinstance(config, dict) else None
    if isinstance(name, str) and re.match(r"(?:\w+\.)*(?:io|py_function|numpy_function|py_func|load_\w+)\b", name):
        yield GADGET, shown(name)


def _serialised(config: Any) -> Found:
    """Code objects within the configuration of a Lambda, however it is written."""
    waiting, steps = [config], 0
    while waiting and (steps := steps + 1) < 1000:
        each = waiting.pop()
        if isinstance(each, str):
            if match := _DANGER.search(_decoded(each)):
                yield ATTACK, shown(match[0][1:].lstrip(_LENGTH).decode())
                return
        elif isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each[:1000])


def _decoded(text: str) -> bytes:
    """What Keras makes of a text that should be a code object: base64, or in old versions an escaped text."""
    raw = text.encode("latin-1", "ignore")
    try:
        return base64.b64decode(raw) + b"\0" + raw
    except binascii.Error:
        return raw


def _files(name: str, config: Mapping[str, Any]) -> Found:
    for key in _PATHS:
        path = config.get(key)
        if isinstance(path, str) and path:
            yield (OUTSIDE if _FAR.match(path) else LOADS), f"{shown(name)} reads {shown(path)}"
