"""The text of a YAML document with other values in it: what does not change stays as it is, to the last blank.

Old and new value are compared along the nodes of the text. What is added goes behind what stands before it, what is
replaced takes its place. Where that cannot be done (an alias stands for what changes), `CannotEdit` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from modelcar.admission.files.aliases import shared
from modelcar.admission.files.meaning import composed, same
from modelcar.admission.files.render import Style, entry, inline, item

__all__ = ["CannotEdit", "edited", "style_of"]

_TO_ALIAS: Final = re.compile(r"\s*:\s+\*\S+")
_TO_DASH: Final = re.compile(r"(?:[&!]\S*\s+|#[^\r\n]*|\s+)*(?=-\s)")
_BREAK: Final = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]|\Z")


class CannotEdit(Exception):
    """The text has no place for what is to be changed."""


def edited(text: str, old: Any, new: Any) -> str:
    """`text`, whose value is `old`, so that its value is `new`. Raises `CannotEdit`."""
    root = composed(text)
    if root is None:
        raise CannotEdit
    editor = _Editor(text, root)
    editor.change(root, old, new)
    return editor.result()


class _Editor:
    def __init__(self, text: str, root: Node) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._style = style_of(root)
        self._shared = shared(root, _children)
        self._edits: list[tuple[int, int, str]] = []

    def result(self) -> str:
        """What is added at one place stays in the order in which it was added: what lies deeper first."""
        parts, at = [], 0
        for start, end, new in sorted(self._edits, key=lambda edit: edit[0]):
            if start < at:
                raise CannotEdit
            parts += [self._text[at:start], new]
            at = end
        text = "".join([*parts, self._text[at:]])
        is_open = at == len(self._text) and not text.endswith(("\n", "\r"))  # its last line is now one of ours
        return text + self._newline if is_open else text

    def change(self, node: Node, old: Any, new: Any) -> None:
        if same(old, new):
            return
        if id(node) in self._shared:
            raise CannotEdit
        if isinstance(node, MappingNode) and not node.flow_style and isinstance(new, dict) and new:
            self._mapping(node, old, new)
        elif isinstance(node, SequenceNode) and not node.flow_style and isinstance(new, list) and new:
            self._sequence(node, old, new)
        elif isinstance(node, ScalarNode) and node.style in ("|", ">"):
            raise CannotEdit
        elif node.flow_style if isinstance(node, MappingNode | SequenceNode) else not isinstance(new, dict | list):
            self._replace(node.start_mark.index, node.end_mark.index, inline(new))
        else:
            raise CannotEdit

    def _mapping(self, node: MappingNode, old: dict[str, Any], new: dict[str, Any]) -> None:
        entries = _entries(node)
        for name in old.keys() - new.keys():
            if name not in entries:
                raise CannotEdit  # it comes by a merge key
            self._delete(*entries[name])
        added = {}
        for name, value in new.items():
            if name in old and name in entries:
                self._change_entry(entries[name], self._column(node), old[name], value)
            elif name not in old or not same(old[name], value):
                added[name] = value
        lines = [line for name, value in added.items() for line in entry(name, value, self._style)]
        kept = [pair for name, pair in entries.items() if name in new or name not in old]
        if lines and not kept:
            raise CannotEdit
        self._insert_after(self._end_of_entry(*kept[-1]) if kept else 0, self._column(node), lines)

    def _change_entry(self, found: tuple[ScalarNode, Node], column: int, old: Any, new: Any) -> None:
        key, node = found
        into_block = isinstance(new, dict | list) and new and not old and not isinstance(old, str)
        if not into_block or same(old, new):
            self.change(node, old, new)
            return
        if id(node) in self._shared:
            raise CannotEdit
        # `volumes: []` or `volumes:` becomes a list below it.
        colon = self._text.index(":", key.end_mark.index) + 1
        lines = entry(key.value, new, self._style)[1:]
        self._replace(colon, max(colon, node.end_mark.index), "".join(self._lines(column, lines)))

    def _sequence(self, node: SequenceNode, old: list[Any], new: list[Any]) -> None:
        if len(node.value) != len(old):
            raise CannotEdit
        column, kept = self._column(node), -1
        matcher = SequenceMatcher(None, [_identity(v) for v in old], [_identity(v) for v in new], autojunk=False)
        for tag, i, j, k, m in matcher.get_opcodes():
            pairs = min(j - i, m - k) if tag in ("equal", "replace") else 0
            for n in range(pairs):
                self.change(node.value[i + n], old[i + n], new[k + n])
                kept = i + n
            for n in range(i + pairs, j):
                self._delete_item(node, n)
            lines = [line for value in new[k + pairs : m] for line in item(value, self._style)]
            if j < len(old):
                self._insert_before(self._line_of_item(node, j), column, lines)
            elif lines and kept < 0:
                raise CannotEdit
            else:
                self._insert_after(self._end(node.value[kept]), column, lines)

    def _insert_after(self, end: int, column: int, lines: list[str]) -> None:
        """Behind the line on which something ends; a comment there belongs to it."""
        if lines:
            found = _BREAK.search(self._text, self._content_end(end))
            assert found is not None  # noqa: S101  # the end of the text is one
            self._replace(found.start(), found.start(), "".join(self._lines(column, lines)))

    def _insert_before(self, start: int, column: int, lines: list[str]) -> None:
        """Before the line that begins at `start`, and before the comments right above it, which belong to it."""
        while start and (above := self._line_above(start)) is not None:
            start = above
        if lines:
            new = "".join(self._lines(column, lines)).removeprefix(self._newline) + self._newline
            self._replace(start, start, new)

    def _line_above(self, start: int) -> int | None:
        above = self._line_start(start - 1)
        return above if self._text[above:start].lstrip(" ").startswith("#") else None

    def _delete(self, key: ScalarNode, value: Node) -> None:
        start = self._line_start(key.start_mark.index)
        if self._text[start : key.start_mark.index].strip(" "):
            raise CannotEdit  # it stands behind a dash
        self._delete_lines(start, self._end_of_entry(key, value))

    def _delete_item(self, node: SequenceNode, number: int) -> None:
        self._delete_lines(self._line_of_item(node, number), self._end(node.value[number]))

    def _delete_lines(self, start: int, end: int) -> None:
        found = _BREAK.search(self._text, self._content_end(end))
        assert found is not None  # noqa: S101  # the end of the text is one
        self._replace(start, found.end(), "")

    def _line_of_item(self, node: SequenceNode, number: int) -> int:
        """Where the line with the item's dash begins."""
        column = self._column(node)
        start = self._line_start(node.value[number].start_mark.index)
        while start > 0 and self._text[start + column : start + column + 1] != "-":
            start = self._line_start(start - 1)
        if self._text[start : start + column].strip(" ") or self._text[start + column : start + column + 1] != "-":
            raise CannotEdit  # a list in a list
        return start

    def _column(self, node: MappingNode | SequenceNode) -> int:
        """Where the keys or dashes of a block stand. Its own mark may be at its anchor."""
        if isinstance(node, MappingNode):
            return int(node.value[0][0].start_mark.column)
        dash = _TO_DASH.match(self._text, node.start_mark.index)
        if dash is None:
            raise CannotEdit
        return dash.end() - self._line_start(dash.end())

    def _line_start(self, index: int) -> int:
        return max(self._text.rfind(mark, 0, index) for mark in "\n\r\x85\u2028\u2029") + 1

    def _content_end(self, end: int) -> int:
        return len(self._text[:end].rstrip())

    def _end(self, node: Node) -> int:
        """Where the content of a node ends; the marks of a block are behind the comments that follow it."""
        if isinstance(node, MappingNode) and not node.flow_style and node.value:
            return self._end_of_entry(*node.value[-1])
        if isinstance(node, SequenceNode) and not node.flow_style and node.value:
            if node.value[-1].start_mark.index < node.start_mark.index:
                raise CannotEdit  # an alias, and where it stands nobody says
            return self._end(node.value[-1])
        return int(node.end_mark.index)

    def _end_of_entry(self, key: Node, value: Node) -> int:
        if value.start_mark.index < key.start_mark.index:
            alias = _TO_ALIAS.match(self._text, key.end_mark.index)
            if alias is None:
                raise CannotEdit
            return alias.end()
        is_empty = value.start_mark.index == value.end_mark.index
        return int(key.end_mark.index) + 1 if is_empty else self._end(value)

    def _lines(self, column: int, lines: list[str]) -> Iterator[str]:
        for line in lines:
            yield self._newline + (" " * column + line if line else "")

    def _replace(self, start: int, end: int, new: str) -> None:
        self._edits.append((start, end, new))


def _entries(node: MappingNode) -> dict[str, tuple[ScalarNode, Node]]:
    entries: dict[str, tuple[ScalarNode, Node]] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or key.value in entries:
            raise CannotEdit
        entries[key.value] = (key, value)
    return entries


def _identity(value: Any) -> str:
    """By which an item of a list is the same as another: its name, its path, or itself."""
    if isinstance(value, dict):
        for name in ("name", "mountPath", "key"):
            if isinstance(value.get(name), str):
                return f"{name} {value[name]} {value.get('mountPath', '')}"
    return repr(value)


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def style_of(root: Node | None) -> Style:
    """What most of the document does."""
    mappings: list[int] = []
    sequences: list[int] = []
    seen: set[int] = set()
    left = [root] if root is not None else []
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        left += _children(node)
        for key, value in node.value if isinstance(node, MappingNode) and not node.flow_style else ():
            if value.start_mark.line <= key.end_mark.line:
                continue  # on the line of its key, as what has an anchor
            columns = value.start_mark.column - key.start_mark.column
            if isinstance(value, MappingNode) and not value.flow_style and columns > 0:
                mappings.append(columns)
            elif isinstance(value, SequenceNode) and not value.flow_style and columns >= 0:
                sequences.append(columns)
    return Style(
        mapping=max(dict.fromkeys(mappings), key=mappings.count, default=2),
        sequence=max(dict.fromkeys(sequences), key=sequences.count, default=2 if not mappings else 0),
    )
