"""JSON documents whose bytes matter: parsed ones keep theirs, made ones are compact and in a fixed key order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from modelcar.errors import InvalidDocument

__all__ = ["MAX_DOCUMENT", "Fields", "compact_json", "parse_object"]

MAX_DOCUMENT = 4 << 20  # bytes; what registries must at least accept as a manifest
_MAX_DEPTH: Final = 200  # some tens are in use; where Python itself gives up differs by its version, and by who calls


def compact_json(value: Any) -> bytes:
    """UTF-8 JSON without spaces, keys in insertion order, as Go's encoder would write it.

    Go escapes `<`, `>`, `&`, U+2028 and U+2029, so that tools that re-encode a document reproduce its bytes.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        if character in text:
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def parse_object(raw: bytes, what: str, *, limit: int = MAX_DOCUMENT) -> dict[str, Any]:
    """Parse a JSON object of at most `limit` bytes strictly, so that whatever passes can be written again.

    UTF-8 without lone surrogates, no duplicate names, no NaN, no number too large for a float, at most 200 levels.

    Raises:
        InvalidDocument: naming `what`.
    """
    if len(raw) > limit:
        raise InvalidDocument(f"{what} has {len(raw)} bytes, more than the {limit} that are allowed")

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise InvalidDocument(f"{what} has a name twice in one object")
        return result

    def no_constant(name: str) -> Any:
        raise InvalidDocument(f"{what} holds {name}, which is not JSON")

    def finite(text: str) -> float:
        if math.isinf(number := float(text)):
            raise InvalidDocument(f"{what} holds {text}, which is too large a number")
        return number

    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=no_duplicates, parse_constant=no_constant, parse_float=finite
        )
        if b"\\u" in raw:
            compact_json(value)  # half of a surrogate pair can be escaped, but stands for no character
    except (ValueError, RecursionError) as e:
        raise InvalidDocument(f"{what} is not JSON: {_first_line(e)}") from None
    if not isinstance(value, dict):
        raise InvalidDocument(f"{what} is not a JSON object")
    if raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH and _is_deep(value):
        raise InvalidDocument(f"{what} is not JSON: it is nested too deeply")
    return value


def _is_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for children in inside for child in children if isinstance(child, (dict, list))]
    return bool(level)


def _first_line(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]


class Fields:
    """Typed access to one JSON object; errors name the path to the field (`manifests[2].size`)."""

    def __init__(self, data: Any, path: str) -> None:
        if not isinstance(data, dict):
            raise InvalidDocument(f"{path} is not an object")
        self._data: Mapping[str, Any] = data
        self.path = path

    def text(self, name: str) -> str:
        value = self._data.get(name)
        if not isinstance(value, str) or not value:
            raise InvalidDocument(f"{self.path}.{name} is missing or not a string")
        return value

    def optional_text(self, name: str) -> str | None:
        value = self._data.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise InvalidDocument(f"{self.path}.{name} is not a string")
        return value

    def size(self, name: str) -> int:
        value = self._data.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise InvalidDocument(f"{self.path}.{name} is missing or not a size in bytes")
        return value

    def integer(self, name: str) -> int:
        """An integer of any sign, within 64 bits."""
        value = self._data.get(name)
        if type(value) is not int or not -1 << 63 <= value < 1 << 64:
            raise InvalidDocument(f"{self.path}.{name} is missing or not an integer")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self._data.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidDocument(f"{self.path}.{name} is missing or not a number")
        return float(value)

    def flag(self, name: str) -> bool:
        """A boolean; absent reads as false."""
        value = self._data.get(name)
        if value is not None and not isinstance(value, bool):
            raise InvalidDocument(f"{self.path}.{name} is neither true nor false")
        return bool(value)

    def has(self, name: str) -> bool:
        return self._data.get(name) is not None

    def sizes(self, name: str) -> tuple[int, ...]:
        """An array of non-negative integers, such as a shape."""
        value = self._data.get(name)
        if not isinstance(value, list) or not all(type(v) is int and 0 <= v < 1 << 63 for v in value):
            raise InvalidDocument(f"{self.path}.{name} is missing or not an array of sizes")
        return tuple(value)

    def objects(self, name: str) -> list[Fields]:
        """An array of objects; absent and null read as empty, as Go writes them."""
        value = self._data.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidDocument(f"{self.path}.{name} is not an array")
        return [Fields(item, f"{self.path}.{name}[{i}]") for i, item in enumerate(value)]

    def optional_object(self, name: str) -> Fields | None:
        value = self._data.get(name)
        return None if value is None else Fields(value, f"{self.path}.{name}")

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._data.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidDocument(f"{self.path}.{name} is not an array of strings")
        return tuple(value)

    def text_map(self, name: str) -> dict[str, str]:
        value = self._data.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise InvalidDocument(f"{self.path}.{name} is not an object of strings")
        return dict(value)

    def rest(self, known: frozenset[str]) -> dict[str, Any]:
        """The members that we do not know, to be written back unchanged.

        Raises:
            InvalidDocument: one differs from a known name only in case. Go's decoder takes it for that name, so that
                another program would read other layers than those that were checked here.
        """
        unknown = {k: v for k, v in self._data.items() if k not in known}
        if unknown:
            folded = {name.casefold(): name for name in known}
            for name in unknown:
                if twin := folded.get(name.casefold()):
                    raise InvalidDocument(f"{self.path}.{name} differs from `{twin}` only in case")
        return unknown
