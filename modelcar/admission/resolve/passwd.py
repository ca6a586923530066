"""`/etc/passwd` of an image: who its USER is, read as runtimes read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from modelcar.admission.facts import User
from modelcar.errors import InvalidContent

__all__ = ["Passwd"]

_LARGEST_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwd:
    """Users by name, and primary groups by UID; of two lines the first counts."""

    users: Mapping[str, User] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, content: bytes) -> Passwd:
        """Lines that say no numbers are passed over."""
        users: dict[str, User] = {}
        groups: dict[int, int] = {}
        for line in content.decode("utf-8", "replace").splitlines():
            name, *rest = line.strip().split(":")
            if len(rest) >= 3 and (uid := _number(rest[1])) is not None and (gid := _number(rest[2])) is not None:
                users.setdefault(name, User(uid=uid, gid=gid))
                groups.setdefault(uid, gid)
        return cls(users=users, groups=groups)

    def find(self, user: str) -> User:
        """Who a USER is in Kubernetes, where its group does not count; the empty one is root.

        Raises:
            InvalidContent: nobody.
        """
        name = user.partition(":")[0]
        if not name:
            name = "0"
        if (uid := _number(name)) is not None:
            return User(uid=uid, gid=self.groups.get(uid, 0))
        if name not in self.users:
            raise InvalidContent(f"its USER is {name[:80]!r}, whom its /etc/passwd does not know")
        return self.users[name]


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if number <= _LARGEST_ID else None
