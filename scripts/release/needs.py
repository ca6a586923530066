"""Whether the wheels of an image are what `modelcar` needs there: none missing, none too many.

`pip download` reads conditions such as `python_version < "3.14"` as of the Python that runs it, and not of the one that
it downloads for; an image without a package would start, and fail later.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from packaging.requirements import Requirement

from modelcar.errors import SourceError
from scripts.release.base import Python
from scripts.release.wheels import MACHINES, Wheel

__all__ = ["check_needs"]

_LAST_PATCH: Final = 99  # conditions about patches ask for what was mended since


def check_needs(ours: Wheel, extras: Collection[str], wheels: Sequence[Wheel], python: Python, machine: str) -> None:
    """Raises `SourceError` naming a package that `ours` with `extras` needs and `wheels` lack, or the other way round.

    Args:
        machine: an architecture, `amd64` or `arm64`.
    """
    target = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": MACHINES[machine],
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python.version}.{_LAST_PATCH}",
        "python_version": python.version,
        "sys_platform": "linux",
    }
    there = {_normal(wheel.name): wheel for wheel in (*wheels, ours)}
    todo = [(_normal(ours.name), frozenset(extras))]
    done = set()
    while todo:
        done.add(current := todo.pop())
        name, wanted = current
        for needed in _requirements(there[name], wanted, target):
            if (other := _normal(needed.name)) not in there:
                raise SourceError(f"{name} needs {needed.name} on linux/{machine}, and there is no wheel of it")
            if not needed.specifier.contains(there[other].version, prereleases=True):
                raise SourceError(f"{name} needs {needed.name}{needed.specifier}, and has {there[other].version}")
            todo += {(other, frozenset(needed.extras))} - done
    if idle := there.keys() - {name for name, _ in done}:
        raise SourceError(f"there is a wheel of {min(idle)}, which nothing needs on linux/{machine}")


def _requirements(wheel: Wheel, extras: Collection[str], target: dict[str, str]) -> Iterator[Requirement]:
    for text in wheel.requirements:
        requirement = Requirement(text)
        cases = [{**target, "extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(case) for case in cases):
            yield requirement


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
