"""One model as somebody wrote it, before the pod and the settings say what was left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from modelcar.admission.settings import Link, Mode
from modelcar.admission.shape import shown
from modelcar.errors import Denied, InvalidReference
from modelcar.oci import Reference

__all__ = ["LONGEST_NAME", "PULL_POLICIES", "SCHEME", "Entry", "check_image", "check_name", "choice", "split_names"]

SCHEME: Final = "oci://"
LONGEST_NAME: Final = 40  # with `modelcar-check-` before it still a DNS label
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_RESERVED: Final = re.compile(r"(init|check)(-.*)?")  # containers of KServe's and of ours would be called the same
_LONGEST_IMAGE: Final = 512
_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model. `where` names it in errors; `containers` is `("*",)` for all; what was not said is `None`."""

    where: str
    name: str
    image: str
    path: str | None = None
    mode: Mode | None = None
    link: Link | None = None
    containers: tuple[str, ...] | None = None
    pull_policy: str | None = None
    found: bool = False


def check_name(name: str, where: str) -> str:
    """`name`, if containers and volumes can be called after it."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise Denied(
            f"{where}: {shown(name)} is not a name",
            hint=f"at most {LONGEST_NAME} lower-case letters, digits and - between them",
        )
    if _RESERVED.fullmatch(name):
        raise Denied(f"{where}: the name {name!r} is reserved", hint="choose another one")
    return name


def check_image(text: str, where: str) -> str:
    """`text`, which begins with `oci://`, without that."""
    if not text.startswith(SCHEME):
        raise Denied(f"{where} is {shown(text)}, and not an image", hint="it looks like oci://registry/repository:tag")
    image = text.removeprefix(SCHEME)
    if len(image) > _LONGEST_IMAGE:
        raise Denied(f"{where} has {len(image)} characters; an image has at most {_LONGEST_IMAGE}")
    try:
        Reference.parse(image)
    except InvalidReference as e:
        raise Denied(f"{where}: {e}", hint=e.hint) from None
    return image


def choice(kind: type[_Choice], text: str, where: str) -> _Choice:
    """The member of `kind` that is written `text`."""
    try:
        return kind(text)
    except ValueError:
        raise Denied(f"{where} is {shown(text)}", hint=f"it is one of {', '.join(kind)}") from None


def split_names(text: str, where: str) -> tuple[str, ...]:
    """Names of containers with commas between them, or `*`."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if "" in names or ("*" in names and len(names) > 1):
        raise Denied(f"{where} is {shown(text)}", hint="names of containers with commas between them, or * alone")
    return names
