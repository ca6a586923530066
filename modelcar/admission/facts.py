"""What a rewriting needs to know of images. Values alone: `resolve` finds them out, tests write them down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from modelcar.oci import Digest

__all__ = ["Facts", "ImageFact", "Publisher", "Trust", "User"]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who runs an image's process where nothing else is said: its USER, looked up in its passwd."""

    uid: int
    gid: int


class Publisher(StrEnum):
    """What in a model image can make the model appear in other containers."""

    HOLDER = "holder"
    """Our program, `/.modelcar/holder`."""
    SHELL = "shell"
    """`sh`, `ln`, `mv` and `sleep`, as in busybox: images of other tools."""
    NOTHING = "nothing"
    """Only an image volume will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the policies say of one image at one digest. Without `denied` and `unknown` it is verified."""

    denied: tuple[str, ...] = ()
    """Reasons for a no, the most important first."""
    unknown: str | None = None
    """Why it could not be decided: the registry does not answer, time is up."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFact:
    """One image of a pod.

    Attributes:
        digest: what its tag resolved to; `None` if that is not known.
        user: who runs it; `None` if that is not known.
        publisher: for model images.
        trust: `None` if no policies were asked.
        problem: why something above is not known, in words for the pod's author.
    """

    digest: Digest | None = None
    user: User | None = None
    publisher: Publisher = Publisher.HOLDER
    trust: Trust | None = None
    problem: str | None = None


Facts = Mapping[str, ImageFact]
"""By the image as the pod writes it, without `oci://`."""
