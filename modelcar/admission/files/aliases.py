"""What stands in several places of a document, because an alias (`*name`) says so: who edits one edits all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["shared"]


def shared(root: Any, children: Callable[[Any], Iterable[Any]]) -> set[int]:
    """The `id` of everything at or below `root` that is met more than once; `children` gives what can be met below."""
    seen: set[int] = set()
    found: set[int] = set()
    left = [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            found.add(id(node))
            continue
        seen.add(id(node))
        left += children(node)
    return found
