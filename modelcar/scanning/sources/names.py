"""What the names in a piece of Python stand for, as far as its text tells: imports, aliases, indirections."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["Names", "walk"]

_IMPORTERS = frozenset({"__import__", "importlib.import_module", "builtins.__import__"})
_GETTERS = frozenset({"getattr", "builtins.getattr"})


class Names:
    """Aliases of a module, whatever their scope."""

    def __init__(self, tree: ast.AST) -> None:
        self._aliases: dict[str, str] = {}
        for node in walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._aliases[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self._aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                known = self.of(node.value)
                if known is not None and known != node.targets[0].id:
                    self._aliases.setdefault(node.targets[0].id, known)

    def of(self, node: ast.AST, depth: int = 8) -> str | None:
        """The dotted name of what `node` stands for, or `None` where that is not plain."""
        if depth == 0:
            return None
        if isinstance(node, ast.Name):
            known = self._aliases.get(node.id, node.id)
            return "builtins" if known == "__builtins__" else known
        if isinstance(node, ast.Attribute):
            return self._joined(node.value, node.attr, depth)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self._joined(node.value, node.slice.value, depth)
        if isinstance(node, ast.Call):
            return self._of_call(node, depth)
        return None

    def _joined(self, holder: ast.AST, name: object, depth: int) -> str | None:
        outer = self.of(holder, depth - 1)
        return f"{outer.removesuffix('.__dict__')}.{name}" if outer and isinstance(name, str) else None

    def _of_call(self, node: ast.Call, depth: int) -> str | None:
        called = self.of(node.func, depth - 1)
        texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if called in _IMPORTERS and texts:
            return texts[0]
        if called in _GETTERS and len(node.args) >= 2 and texts:
            return self._joined(node.args[0], texts[0], depth)
        return None


def walk(root: ast.AST) -> Iterator[ast.AST]:
    """`root` and everything below it, in the order in which it stands there."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(list(ast.iter_child_nodes(node))))
