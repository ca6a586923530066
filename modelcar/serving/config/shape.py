"""What a settings dataclass looks like: its fields, their types, units and documentation."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Final

from modelcar.units import Unit

__all__ = ["Setting", "is_settings", "members_of", "nested", "optional", "settings_of"]

_NOTHING: Final = dataclasses.MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One attribute of a settings dataclass. `kind` is its type without `| None`."""

    name: str
    kind: Any
    nullable: bool
    doc: str
    default: Any = _NOTHING

    @property
    def required(self) -> bool:
        return self.default is _NOTHING

    @property
    def unit(self) -> Unit:
        """What a number counts: its documentation says so."""
        if self._counted not in (int, float):
            return Unit.NONE
        doc = self.doc.lower()
        if re.search(r"\bbytes (a|per) second\b|^how fast\b", doc) or self.name == "rate":
            return Unit.RATE
        if self.name.endswith("_seconds") or re.search(r"\bseconds\b|^how (long|often|old)\b|\bso long\b", doc):
            return Unit.SECONDS if self._counted is float or "seconds" in doc + self.name else Unit.NONE
        if self._counted is int and re.search(r"\bbytes\b|^how much\b", doc):
            return Unit.BYTES
        return Unit.NONE

    @property
    def _counted(self) -> Any:
        """The type of the number, or of the numbers in a list or mapping."""
        arguments = typing.get_args(self.kind)
        if not arguments:
            return self.kind
        return optional(arguments[0] if typing.get_origin(self.kind) is tuple else arguments[1])[0]


def is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


@cache
def settings_of(cls: type) -> tuple[Setting, ...]:
    """The settings of a dataclass, in their order."""
    hints = typing.get_type_hints(cls)
    docs = _docs(cls)
    return tuple(
        Setting(name=field.name, kind=kind, nullable=nullable, doc=docs.get(field.name, ""), default=_default(field))
        for field in dataclasses.fields(cls)
        if field.init and not field.name.startswith("_")
        for kind, nullable in [optional(hints[field.name])]
    )


def optional(hint: Any) -> tuple[Any, bool]:
    """`T | None` as `T` and whether `None` is allowed."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if len(members) != 1:
        raise TypeError(f"{hint} is not a type of a setting")
    return members[0], True


@cache
def members_of(kind: type[Enum]) -> tuple[tuple[str, str], ...]:
    """The values of an enumeration, each with what is said about it (perhaps nothing)."""
    docs = _behind(kind)
    return tuple((str(member.value), docs.get(member.name, "")) for member in kind)


def nested(kind: Any) -> Iterator[type]:
    """The settings dataclasses that a type is made of."""
    if is_settings(kind):
        yield kind
    for argument in typing.get_args(kind):
        yield from nested(argument)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not _NOTHING:
        return field.default_factory()
    return field.default


def _docs(cls: type) -> Mapping[str, str]:
    """What is said about each attribute, on one line: behind it, or under `Attributes:` in the class's docstring."""
    docs: dict[str, str] = {}
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        docs |= {**dict(_listed(inspect.cleandoc(base.__doc__ or ""))), **_behind(base)}
    return docs


def _behind(cls: type) -> dict[str, str]:
    """The strings that stand behind attributes in the body of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for attribute, text in itertools.pairwise(body):
        target = attribute.target if isinstance(attribute, ast.AnnAssign) else None
        if isinstance(attribute, ast.Assign):
            target = attribute.targets[0] if isinstance(attribute.targets[0], ast.Name) else None
        if not isinstance(target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            docs[target.id] = " ".join(text.value.value.split())
    return docs


def _listed(docstring: str) -> Iterator[tuple[str, str]]:
    _, _, section = docstring.partition("\nAttributes:\n")
    section = re.split(r"\n(?=\S)", section, maxsplit=1)[0]
    for entry in re.split(r"\n(?=    \S)", "\n" + section):
        name, colon, text = entry.strip().partition(":")
        if colon:
            yield name, _sentence(text)


def _sentence(text: str) -> str:
    words = " ".join(text.split())
    return words[:1].upper() + words[1:]
