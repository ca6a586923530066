"""The text of a YAML document with other values in it, where it cannot be edited in place.

ruamel.yaml reads it with its comments, quotes and anchors, and writes it anew: a line that it would indent or break in
another way does change. What an alias stands for is copied where it becomes different.
"""

from __future__ import annotations

import copy
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from modelcar.admission.files.aliases import shared
from modelcar.admission.files.meaning import is_plain, same

__all__ = ["rewritten"]

_NO_WIDTH = 1 << 20


def rewritten(text: str, new: Any, *, mapping: int, sequence: int) -> str | None:
    """`text` so that its value is `new`, or `None` if that cannot be done. Columns of indentation as in `render`."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _NO_WIDTH
    yaml.indent(mapping=mapping, sequence=sequence + 2, offset=sequence)
    try:
        tree = yaml.load(text)
        tree = _Changes(tree).made(tree, new)
        stream = StringIO()
        yaml.dump(tree, stream)
    except (YAMLError, RecursionError, AttributeError, TypeError, ValueError):  # not all that it meets is its own
        return None
    return stream.getvalue()


class _Changes:
    """Makes a tree mean something else, in place. `shared` are the nodes that aliases stand for."""

    def __init__(self, tree: Any) -> None:
        self._shared = shared(tree, _children)

    def made(self, old: Any, new: Any) -> Any:
        """`new`, with all that `old` has beside its values."""
        if _is(old, new):
            return old
        if isinstance(old, CommentedMap) and isinstance(new, dict):
            return self._map(self._own(old), new)
        if isinstance(old, CommentedSeq) and isinstance(new, list):
            return self._list(self._own(old), new)
        return _made(new)

    def _own(self, node: Any) -> Any:
        if id(node) not in self._shared:
            return node
        own = copy.deepcopy(node)
        own.yaml_set_anchor(None)
        return own

    def _map(self, node: CommentedMap, new: dict[str, Any]) -> CommentedMap:
        gone = [name for name in node if name not in new]
        if gone and node.merge:  # what a merge key brings cannot be taken away
            node = CommentedMap((name, value) for name, value in node.items() if name in new)
            gone = []
        for name in gone:
            del node[name]
        for name, value in new.items():
            if name not in node:
                node[name] = _made(value)
            elif not _is(node[name], value):
                node[name] = self.made(node[name], value)
        return node

    def _list(self, node: CommentedSeq, new: list[Any]) -> CommentedSeq:
        old, named = list(node), {item["name"]: item for item in node if _is_named(item)}
        items = []
        for number, value in enumerate(new):
            found = named.get(value["name"]) if _is_named(value) else old[number] if number < len(old) else None
            items.append(_made(value) if found is None else self.made(found, value))
        while len(node) > len(items):
            node.pop()
        for number, item in enumerate(items):
            if number == len(node):
                node.append(item)
            elif item is not node[number]:
                node[number] = item
        return node


def _is_named(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def _children(node: Any) -> list[Any]:
    """Scalars left out: two that are one object are no alias."""
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [inner for inner in below if isinstance(inner, dict | list)]


def _is(old: Any, new: Any) -> bool:
    try:
        return same(old, new)
    except TypeError:  # a date, which Kubernetes takes for text
        return False


def _made(value: Any) -> Any:
    if isinstance(value, dict):
        return CommentedMap((name, _made(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return CommentedSeq([_made(inner) for inner in value])
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value)
    if isinstance(value, str) and not is_plain(value):
        return DoubleQuotedScalarString(value)
    return value
