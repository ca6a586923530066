"""Label and field selectors, as an API server takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from modelcar.errors import UsageError

__all__ = ["matches_fields", "matches_labels", "matches_selector"]

_SET: Final = re.compile(r"^(?P<key>\S+)\s+(?P<verb>in|notin)\s+\((?P<values>[^)]*)\)$")
_COMMAS: Final = re.compile(r",(?![^(]*\))")


def matches_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A selector as objects write it (`matchLabels`, `matchExpressions`); none or an empty one matches everything.

    Raises:
        UsageError: it has an operator that there is not.
    """
    given = selector or {}
    if any(labels.get(key) != value for key, value in (given.get("matchLabels") or {}).items()):
        return False
    return all(_matches_expression(each, labels) for each in given.get("matchExpressions") or ())


def matches_labels(selector: str | None, labels: Mapping[str, str]) -> bool:
    """A selector as the API takes it: `app=shim,tier!=test,zone in (a,b),!old`."""
    return all(_matches_term(term.strip(), labels) for term in _COMMAS.split(selector or "") if term.strip())


def matches_fields(selector: str | None, item: Mapping[str, Any]) -> bool:
    """`spec.nodeName=a,status.phase!=Succeeded`; what an object lacks reads as empty."""
    for term in (selector or "").split(","):
        name, sign, value = re.match(r"([^=!]*)(!=|==|=|)(.*)", term.strip(), re.DOTALL).groups()  # type: ignore[union-attr]  # it matches any text
        if name and (_field(item, name) == value) is (sign == "!="):
            return False
    return True


def _field(item: Mapping[str, Any], path: str) -> str:
    value: Any = item
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)


def _matches_term(term: str, labels: Mapping[str, str]) -> bool:
    if found := _SET.match(term):
        values = {value.strip() for value in found["values"].split(",")}
        return (labels.get(found["key"]) in values) is (found["verb"] == "in")
    if "!=" in term:
        key, _, value = term.partition("!=")
        return labels.get(key.strip()) != value.strip()
    if "=" in term:
        key, _, value = term.replace("==", "=", 1).partition("=")
        return labels.get(key.strip()) == value.strip()
    return (term.lstrip("!") in labels) is not term.startswith("!")


def _matches_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = str(expression.get("key")), list(expression.get("values") or ())
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise UsageError(f"a selector has the operator {other!r}", hint="In, NotIn, Exists or DoesNotExist")
