"""Closed objects: every field is known, or the document is refused with the path to the one that is not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelcar.errors import UsageError

__all__ = ["ClosedFields"]

_MAX_TEXT: Final = 64 << 10  # characters of one value; public keys and CUE bodies are the longest
_MAX_ITEMS: Final = 1000  # of one list
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class ClosedFields:
    """Typed access to a mapping. `path` begins with the file, so that an error says where to look.

    Go reads an absent field, `null` and an empty value alike; so do the optional accessors.
    """

    def __init__(self, data: object, path: str, known: Sequence[str]) -> None:
        if not isinstance(data, dict):
            raise UsageError(f"{path} is not a mapping")
        for name in data:
            if name not in known:
                raise UsageError(f"{path}.{name} is not a field", hint=f"known here: {', '.join(known)}")
        self._data: Mapping[str, Any] = data
        self.path = path

    def fail(self, name: str, problem: str, *, hint: str | None = None) -> UsageError:
        """An error about field `name`, to be raised."""
        return UsageError(f"{self.path}.{name} {problem}", hint=hint)

    def given(self, name: str) -> bool:
        """Whether the field is there with a value, be it an empty one."""
        return self._data.get(name) is not None

    def raw(self, name: str) -> object:
        return self._data.get(name)

    def text(self, name: str) -> str:
        if (value := self.optional_text(name)) is None:
            raise self.fail(name, "is missing")
        return value

    def optional_text(self, name: str) -> str | None:
        value = self._data.get(name)
        if value is not None and not isinstance(value, str):
            raise self.fail(name, "is not text", hint="put it in quotes")
        if value and len(value) > _MAX_TEXT:
            raise self.fail(name, f"has more than {_MAX_TEXT} characters")
        return value or None

    def name(self, name: str) -> str:
        """A name that Kubernetes accepts for an object."""
        value = self.text(name)
        if not _NAME.fullmatch(value):
            raise self.fail(name, f"is {value[:80]!r}, not a name", hint="lower-case letters, digits, - and .")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        value = self.text(name)
        if value not in choices:
            raise self.fail(name, f"is {value[:80]!r}", hint=f"one of: {', '.join(choices)}")
        return value

    def optional_choice(self, name: str, choices: Sequence[str]) -> str | None:
        return None if self.optional_text(name) is None else self.choice(name, choices)

    def flag(self, name: str) -> bool:
        value = self._data.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.fail(name, "is neither true nor false")
        return bool(value)

    def one_of(self, *names: str) -> str:
        """The one of these fields that is there."""
        there = [name for name in names if self.given(name)]
        if len(there) != 1:
            problem = "is missing" if not there else f"excludes {self.path}.{there[1]}"
            raise self.fail(" | ".join(names) if not there else there[0], problem, hint="exactly one of them")
        return there[0]

    def object(self, name: str, known: Sequence[str]) -> ClosedFields:
        return ClosedFields(self._data.get(name), f"{self.path}.{name}", known)

    def optional_object(self, name: str, known: Sequence[str]) -> ClosedFields | None:
        return self.object(name, known) if self.given(name) else None

    def objects(self, name: str, known: Sequence[str]) -> tuple[ClosedFields, ...]:
        """A list of mappings; absent reads as empty, but a list that is written down has entries."""
        return tuple(ClosedFields(item, f"{self.path}.{name}[{i}]", known) for i, item in enumerate(self._list(name)))

    def some_objects(self, name: str, known: Sequence[str]) -> tuple[ClosedFields, ...]:
        """A list of mappings that must not be empty."""
        if not (found := self.objects(name, known)):
            raise self.fail(name, "is missing")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts without empty or repeated ones; absent reads as empty."""
        values = self._list(name)
        for i, value in enumerate(values):
            if not isinstance(value, str) or not value or len(value) > _MAX_TEXT:
                raise self.fail(f"{name}[{i}]", "is not text")
        if len(set(values)) != len(values):
            raise self.fail(name, "has an entry twice")
        return tuple(values)

    def text_map(self, name: str) -> dict[str, str]:
        value = self._data.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise self.fail(name, "is not a mapping of texts")
        return dict(value)

    def _list(self, name: str) -> list[Any]:
        value = self._data.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.fail(name, "is not a list")
        if not value:
            raise self.fail(name, "is empty, which could be meant as all or as none", hint="leave it out, or fill it")
        if len(value) > _MAX_ITEMS:
            raise self.fail(name, f"has {len(value)} entries; {_MAX_ITEMS} are allowed")
        return value
