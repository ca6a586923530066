"""What the image stands on: the base by its digest, and the Python that its layers have, at the place where they have
it. Nothing about that Python is written down here or in a lock: it would be wrong one day, and the image not start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from modelcar.admission.resolve.tars import Bounds, entries
from modelcar.errors import UsageError
from modelcar.oci import Platform
from modelcar.packaging.base import Base, foreign_bases
from modelcar.store.base import Store
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names

__all__ = ["BaseLock", "Python", "base_of", "find_python", "python_of"]

_PROGRAM: Final = re.compile(r"(?P<prefix>.+)/bin/python(?P<version>3\.\d+)")
_STORED: Final = 1 << 30  # bytes of all layers
_UNPACKED: Final = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLock:
    """locks/base.json. `image`: the base by its digest. `tag`: what it was called when it was locked."""

    image: str
    tag: str

    @classmethod
    def read(cls, file: Path) -> Self:
        return cls(**json.loads(file.read_text()))

    @property
    def repository(self) -> str:
        return self.image.partition("@")[0]

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """`version`: major and minor, as `3.13`. `prefix`: the folder that has it, without a leading slash."""

    version: str
    prefix: str

    @property
    def program(self) -> str:
        """As the first line of a script has it."""
        return f"/{self.prefix}/bin/python{self.version}"

    @property
    def packages(self) -> str:
        """Where its packages go, without a leading slash; `programs` likewise."""
        return f"{self.prefix}/lib/python{self.version}/site-packages"

    @property
    def programs(self) -> str:
        return f"{self.prefix}/bin"


def base_of(layout: OciLayout, lock: BaseLock, architecture: str) -> Base:
    """The base for linux and `architecture`.

    Raises:
        UsageError: it has none, or is not the one that the lock names.
        NotFound: the layout lacks a layer of it.
    """
    root = Names(layout).only()
    if str(root.digest) != lock.digest:
        raise UsageError(f"the base is {root.digest}, and the lock names {lock.image}")
    (found,) = foreign_bases(layout, root, [Platform(os="linux", architecture=architecture)], lock.image)
    return found


def python_of(layout: OciLayout, lock: BaseLock, architectures: Sequence[str]) -> Python:
    """The Python of the base, for all of `architectures`. Raises as `base_of` and `find_python`."""
    found = {architecture: find_python(layout, base_of(layout, lock, architecture)) for architecture in architectures}
    if len(set(found.values())) != 1:
        said = ", ".join(f"{python.program} for {architecture}" for architecture, python in found.items())
        raise UsageError(f"the base is not the same everywhere: it has {said}")
    return found[architectures[0]]


def find_python(store: Store, base: Base) -> Python:
    """The first Python on the PATH of an image that has its library beside it.

    Raises:
        UsageError: there is none.
        InvalidContent: a layer is no tar.
    """
    there = frozenset(_paths(store, base))
    for folder in _search_path(base):
        for path in sorted(there):
            found = _PROGRAM.fullmatch(path)
            if found is None or path.rpartition("/")[0] != folder:
                continue
            if f"{found['prefix']}/lib/python{found['version']}/os.py" in there:
                return Python(version=found["version"], prefix=found["prefix"])
    raise UsageError("the base has no Python 3 in a folder of its PATH, with its library beside it")


def _paths(store: Store, base: Base) -> Iterator[str]:
    bounds = Bounds(stored=_STORED, unpacked=_UNPACKED)
    for layer in base.layers:
        with store.open(layer.digest) as reader:
            yield from (entry.path for entry in entries(reader, bounds))


def _search_path(base: Base) -> list[str]:
    variables = dict(text.partition("=")[::2] for text in base.config.runtime.get("Env", ()))
    return [folder.strip("/") for folder in variables.get("PATH", "").split(":")]
