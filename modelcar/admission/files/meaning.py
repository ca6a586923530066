"""What Kubernetes reads in a document: YAML 1.1, without times of day and dates, in which 0644 is octal."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml
from yaml.nodes import Node

from modelcar.errors import UsageError

__all__ = ["composed", "is_plain", "meant", "same"]

_MAX_DEPTH: Final = 200
_MAX_VALUES: Final = 500_000  # aliases can make few bytes many values
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_INT: Final = "tag:yaml.org,2002:int"
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # one of two
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own way
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }


def _int(loader: Any, node: Any) -> Any:
    """`12:30` is a number in base sixty to YAML 1.1, and text to Kubernetes."""
    return node.value if ":" in node.value else loader.construct_yaml_int(node)


_Loader.add_constructor(_INT, _int)


def composed(text: str, *, name: str = "document", line: int = 1) -> Node | None:
    """The nodes of a document, with where they stand; `None` for one without content.

    Raises:
        UsageError: it is not YAML, or nested too deeply.
    """
    try:
        _check_depth(text, name, line)
        node: Node | None = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as e:
        raise UsageError(f"{_where(name, line, e)}: {_problem(e)}", hint="templates are rendered first") from None
    return node


def _check_depth(text: str, name: str, line: int) -> None:
    """Recursion in C has no other end than the process's; events come without."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            at = event.start_mark.line if event.start_mark else 0
            raise UsageError(f"{name}:{line + at}: it is nested more than {_MAX_DEPTH} levels deep")


def _where(name: str, line: int, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{name}:{line + (mark.line if mark else 0)}"


def _problem(error: Exception) -> str:
    return f"it is not YAML that Kubernetes reads: {getattr(error, 'problem', None) or 'it makes no sense'}"


def meant(text: str, *, name: str = "document", line: int = 1) -> Any:
    """The value of a document, as JSON could say it.

    Raises:
        UsageError: it is not YAML, or something that JSON could not say.
    """
    try:
        _check_depth(text, name, line)
        value = yaml.load(text, Loader=_Loader)  # noqa: S506  # a safe one
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        raise UsageError(f"{_where(name, line, e)}: {_problem(e)}") from None
    _check(value, f"{name}:{line}")
    return value


def _check(value: Any, where: str) -> None:
    left, count = [value], 0
    while left:
        item = left.pop()
        count += 1
        if count > _MAX_VALUES:
            raise UsageError(f"{where}: it has more than {_MAX_VALUES} values, aliases counted as often as they stand")
        if isinstance(item, dict):
            left += item.values()
        elif isinstance(item, list):
            left += item
        elif not isinstance(item, str | int | float | None):
            raise UsageError(f"{where}: it has a {type(item).__name__}, which Kubernetes does not take")


def is_plain(text: str) -> bool:
    """Whether `text` may stand without quotes and still be text."""
    try:
        return bool(yaml.load(f"- {text}\n", Loader=_Loader) == [text])  # noqa: S506  # a safe one
    except (yaml.YAMLError, ValueError):
        return False


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON: `1`, `1.0` and `true` are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
