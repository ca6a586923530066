"""What a rewriting needs to know of images. Values alone: `resolve` finds them out, tests write them down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from modelcar.oci import Digest

__all__ = ["Facts", "ImageFact", "Publisher", "Trust", "User"]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who runs a process."""

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
    """What the policies say of one image at one digest. With warnings at most it is verified."""

    revoked: tuple[str, ...] = ()
    """Which deny-lists name it or something in it, and why: a no in every mode."""

    denied: tuple[str, ...] = ()
    """Reasons for a no, the most important first."""
    unknown: str | None = None
    """Why it could not be decided: the registry does not answer, time is up."""
    warnings: tuple[str, ...] = ()

    @property
    def is_verified(self) -> bool:
        return not (self.revoked or self.denied or self.unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFact:
    """One image of a pod.

    Attributes:
        digest: what its tag resolved to; `None` if that is not known.
        user: who runs it where the pod says nothing; `None` if that is not known.
        groups: primary groups by UID, as its passwd has them; `None` if that is not known.
        publisher: for model images.
        trust: `None` if no policies were asked.
        problem: why something above is not known, in words for the pod's author.
    """

    digest: Digest | None = None
    user: User | None = None
    groups: Mapping[int, int] | None = None
    publisher: Publisher = Publisher.HOLDER
    trust: Trust | None = None
    problem: str | None = None

    @classmethod
    def unknown(cls, problem: str, *, asked_policies: bool) -> ImageFact:
        """An image of which nothing is known."""
        return cls(problem=problem, trust=Trust(unknown=problem) if asked_policies else None)

    def run_as(self, uid: int | None, gid: int | None) -> User | None:
        """Who runs it where the pod's `runAsUser` and `runAsGroup` are these; `None` if that is not known.

        A kubelet takes from the image's USER the user alone, never the group (`USER 1000:2000` runs as 1000 and the
        group that passwd has for 1000), and a runtime gives a UID that passwd does not know the group 0.
        """
        if uid is not None and gid is not None:
            return User(uid=uid, gid=gid)
        if uid is not None:
            return User(uid=uid, gid=self.groups.get(uid, 0)) if self.groups is not None else None
        if self.user is None or gid is None:
            return self.user
        return User(uid=self.user.uid, gid=gid)


Facts = Mapping[str, ImageFact]
"""By the image as the pod writes it, without `oci://`."""
