"""Python source: parsed, never run. What it does when it is imported, and whether that has the shape of an attack."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.sources.names import Names, walk
from modelcar.scanning.sources.shells import DOWNLOAD_AND_RUN

__all__ = ["MAX_SOURCE", "Sighting", "sightings"]

MAX_SOURCE: Final = 4 << 20  # bytes
_ENCODING: Final = re.compile(rb"^[ \t\f]*#[^\n]{0,200}?coding[:=][ \t]*([-\w.]{1,40})")
_USUAL_ENCODINGS: Final = frozenset({b"utf-8", b"utf8", b"ascii", b"us-ascii", b"latin-1", b"iso-8859-1"})

_RUN: Final = frozenset({"exec", "eval", "compile", "builtins.exec", "builtins.eval", "builtins.compile"})
_COMMANDS: Final = re.compile(
    r"(?:os|posix|nt)\.(?:system|popen|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?)|subprocess\.(?!PIPE|DEVNULL|STDOUT)\w+"
    r"|pty\.spawn|commands\.getoutput|asyncio\.create_subprocess_\w+"
)
_DECODERS: Final = re.compile(
    r"base64\.\w*decode\w*|(?:zlib|gzip|bz2|lzma)\.decompress|binascii\.(?:a2b_\w+|unhexlify)|bytes\.fromhex|marshal\.loads"
    r"|codecs\.decode|bytearray\.fromhex"
)
_DOWNLOADS: Final = re.compile(
    r"(?:urllib\.request|urllib2|urllib)\.(?:urlopen|urlretrieve)|(?:requests|httpx)\.(?:get|post|request)|wget\.download"
)
_NETWORK: Final = re.compile(r"socket\.(?:socket|create_connection)")
_OTHERS: Final = re.compile(
    r"(?:pickle|cPickle|_pickle|dill|cloudpickle|marshal)\.loads?|ctypes\.(?:CDLL|cdll\b.*|windll\b.*|WinDLL|PyDLL)"
    r"|importlib\.import_module|__import__|shutil\.rmtree|os\.(?:remove|unlink|setuid|fork)"
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that code does: `line` of the source, `what` for people, and whether it is a plain attack."""

    line: int
    what: str
    attack: bool = False


def sightings(source: bytes, check_time: Callable[[], None] = lambda: None) -> Iterator[Sighting]:
    """What `source` does at import, and the attacks anywhere in it. What cannot be parsed yields nothing."""
    encoding = next((m[1] for line in source.split(b"\n", 2)[:2] if (m := _ENCODING.match(line))), b"utf-8")
    if encoding.lower().replace(b"_", b"-") not in _USUAL_ENCODINGS:
        yield Sighting(1, f"it is written in the encoding {encoding.decode('ascii', 'replace')}")
        return
    if len(source) > MAX_SOURCE:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of literals that are not quite right
            tree = ast.parse(source)
        yield from _Reading(tree).sightings(check_time)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


class _Reading:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._names = Names(tree)
        self._scopes = _scopes(tree)
        self._tainted = {"decoded": self._assigned_from(self._decodes), "downloaded": self._assigned_from(self._loads)}
        self._at_import = {id(node) for node in _at_import(tree)}

    def sightings(self, check_time: Callable[[], None]) -> Iterator[Sighting]:
        sockets = wires = 0
        for number, node in enumerate(walk(self._tree)):
            if number % 1000 == 0:
                check_time()
            if not isinstance(node, ast.Call):
                continue
            name = self._names.of(node.func)
            if name is None:
                continue
            runs = name in _RUN or _COMMANDS.fullmatch(name) is not None
            if runs:
                yield from self._run(node, name)
            sockets += _NETWORK.fullmatch(name) is not None
            wires += (
                name == "pty.spawn" or (runs and _has_descriptor(node)) or (name == "os.dup2" and _has_descriptor(node))
            )
            if sockets and wires:
                yield Sighting(node.lineno, "a shell on the network", attack=True)
                sockets = wires = 0
            if id(node) in self._at_import and (runs or self._worth_telling(name)):
                yield Sighting(node.lineno, f"{name} at import")

    def _run(self, node: ast.Call, name: str) -> Iterator[Sighting]:
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        for how, is_source in (("decoded", self._decodes), ("downloaded", self._loads)):
            if any(is_source(part) or self._names_of(part, how) for each in arguments for part in walk(each)):
                if how == "downloaded" and name not in _RUN and id(node) not in self._at_import:
                    continue  # a file name, mostly
                yield Sighting(node.lineno, f"{name} of what was {how}", attack=True)
        texts = [part.value for each in arguments for part in walk(each) if isinstance(part, ast.Constant)]
        fetching = any(isinstance(text, str) and DOWNLOAD_AND_RUN.search(text) for text in texts)
        if fetching and id(node) in self._at_import:
            yield Sighting(node.lineno, f"{name} of a download, at import", attack=True)

    def _decodes(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        name = self._names.of(node.func)
        return (name is not None and _DECODERS.fullmatch(name) is not None) or _joins_characters(node)

    def _loads(self, node: ast.AST) -> bool:
        name = self._names.of(node.func) if isinstance(node, ast.Call) else None
        return name is not None and _DOWNLOADS.fullmatch(name) is not None

    def _names_of(self, node: ast.AST, how: str) -> bool:
        return self._is_among(node, self._tainted[how])

    def _keys(self, name: ast.Name) -> set[tuple[int, str]]:
        """What `name` may be here: a variable of the function that it stands in, or of the module."""
        return {(self._scopes[id(name)], name.id), (id(self._tree), name.id)}

    def _assigned_from(self, is_source: Callable[[ast.AST], bool]) -> set[tuple[int, str]]:
        """Names, by the functions that they belong to, that hold what a source gave, directly or through others."""
        assigned: list[tuple[ast.Name, ast.AST]] = []
        for node in walk(self._tree):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                assigned += [(part, node.value) for t in targets for part in walk(t) if isinstance(part, ast.Name)]
        tainted: set[tuple[int, str]] = set()
        for _ in range(4):
            before = len(tainted)
            for target, value in assigned:
                if any(is_source(part) or self._is_among(part, tainted) for part in walk(value)):
                    tainted.add((self._scopes[id(target)], target.id))
            if len(tainted) == before:
                break
        return tainted

    def _is_among(self, node: ast.AST, tainted: set[tuple[int, str]]) -> bool:
        return isinstance(node, ast.Name) and not self._keys(node).isdisjoint(tainted)

    def _worth_telling(self, name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in (_OTHERS, _DOWNLOADS, _NETWORK))


def _scopes(tree: ast.Module) -> dict[int, int]:
    """For each node, the function or module that it stands in."""
    scopes: dict[int, int] = {}
    waiting: list[tuple[ast.AST, int]] = [(tree, id(tree))]
    while waiting:
        node, scope = waiting.pop()
        scopes[id(node)] = scope
        inner = id(node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else scope
        waiting.extend((child, inner) for child in ast.iter_child_nodes(node))
    return scopes


def _at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Everything that is evaluated when the module is imported: all but the bodies of functions."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend([*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)])
        elif not isinstance(node, ast.Lambda) and not _is_main_guard(node):
            waiting.extend(ast.iter_child_nodes(node))


def _is_main_guard(node: ast.AST) -> bool:
    test = node.test if isinstance(node, ast.If) else None
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _has_descriptor(node: ast.Call) -> bool:
    """Whether a file descriptor of something else is handed on: `s.fileno()`."""
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(
        isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "fileno"
        for each in arguments
        for part in walk(each)
    )


def _joins_characters(node: ast.Call) -> bool:
    """`''.join(chr(n) for n in …)` or `''.join(map(chr, …))`."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr != "join":
        return False
    return any(isinstance(part, ast.Name) and part.id == "chr" for each in node.args for part in walk(each))
