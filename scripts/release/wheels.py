"""Wheels: ours, built, and those of others, unpacked as `pip install` would, without running anything of theirs."""

from __future__ import annotations

import configparser
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from functools import cached_property
from pathlib import Path
from typing import Final

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from modelcar.errors import SourceError
from modelcar.layers.bytemap import Literal
from modelcar.layers.tar import Entry
from scripts.release.base import Python
from scripts.release.source import Source

__all__ = ["MACHINES", "Wheel", "build_wheel", "check_wheels", "read_wheels", "site_entries"]

MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_SITE: Final = ("purelib", "platlib")
_INSTALLER: Final = b"modelcar-release\n"


class _EntryPoints(configparser.ConfigParser):
    """Names keep their case."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@dataclass(frozen=True)
class Wheel:
    """A wheel in a file."""

    path: Path

    @cached_property
    def _header(self) -> Message:
        with zipfile.ZipFile(self.path) as archive:
            (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1]
            return HeaderParser().parsestr(archive.read(name).decode())

    @property
    def metadata(self) -> Mapping[str, str]:
        """The header of its METADATA; of a field that is there several times the first."""
        return {key: str(self._header[key]) for key in self._header}

    @property
    def requirements(self) -> list[str]:
        """What it needs, each with its condition."""
        return [str(text) for text in self._header.get_all("Requires-Dist", [])]

    @property
    def name(self) -> str:
        return self.metadata["Name"]

    @property
    def version(self) -> str:
        return self.metadata["Version"]

    @property
    def tags(self) -> frozenset[Tag]:
        """What its name says that it is for. Raises `SourceError` if it is no wheel's name."""
        try:
            return parse_wheel_filename(self.path.name)[3]
        except InvalidWheelFilename as error:
            raise SourceError(str(error)) from None

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """What belongs into site-packages, by its path there. Programs of others are left out: nobody calls them.

        Raises:
            SourceError: it wants to put something elsewhere.
        """
        with zipfile.ZipFile(self.path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith("/"):
                    continue
                head, _, rest = name.partition("/")
                if not head.endswith(".data"):
                    yield name, archive.read(name)
                    continue
                kind, _, inner = rest.partition("/")
                if kind in _SITE:
                    yield inner, archive.read(name)
                elif kind not in ("scripts", "headers", "data"):
                    raise SourceError(f"{self.path.name} puts {name} nobody knows where")

    def programs(self) -> Mapping[str, str]:
        """Its console scripts: names to `module:function`."""
        parser = _EntryPoints(delimiters=("=",), interpolation=None)
        with zipfile.ZipFile(self.path) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/entry_points.txt") and name.count("/") == 1:
                    parser.read_string(archive.read(name).decode())
        return dict(parser["console_scripts"]) if "console_scripts" in parser else {}


def build_wheel(source: Source, folder: Path) -> Wheel:
    """Build our wheel from `source`: the same bytes for the same commit. Raises `SourceError`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder.resolve())]
    done = subprocess.run(
        command,
        cwd=source.folder,
        env=source.environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise SourceError(f"the wheel cannot be built: {(done.stderr or done.stdout).strip()[-2000:]}")
    (path,) = folder.glob("modelcar-*.whl")
    return Wheel(path)


def read_wheels(folder: Path) -> list[Wheel]:
    """All wheels in `folder`, by name. Raises `SourceError` if something else lies there."""
    foreign = [file.name for file in folder.iterdir() if file.suffix != ".whl"]
    if foreign:
        raise SourceError(f"{folder} holds {foreign[0]}, which is no wheel", hint="download with --only-binary :all:")
    return sorted((Wheel(file) for file in folder.iterdir()), key=lambda wheel: (wheel.name.lower(), wheel.path.name))


def check_wheels(wheels: Sequence[Wheel], python: Python, architecture: str) -> None:
    """Raises `SourceError` naming one that this Python on Debian for that architecture would not load."""
    major, minor = map(int, python.version.split("."))
    interpreter = f"cp{major}{minor}"
    known = [
        *cpython_tags((major, minor), [interpreter], ["linux"]),
        *compatible_tags((major, minor), interpreter, ["linux"]),
    ]
    languages = {(tag.interpreter, tag.abi) for tag in known}
    for wheel in wheels:
        if not any((tag.interpreter, tag.abi) in languages and _runs(tag.platform, architecture) for tag in wheel.tags):
            raise SourceError(f"{wheel.path.name} is not for Python {python.version} on linux/{architecture}")


def _runs(platform: str, architecture: str) -> bool:
    return platform == "any" or (platform.startswith("manylinux") and platform.endswith(f"_{MACHINES[architecture]}"))


def site_entries(wheels: Sequence[Wheel], ours: Wheel, python: Python) -> list[Entry]:
    """The files of an image: all wheels where `python` looks for packages, and the programs of `ours` beside it.

    Raises:
        SourceError: two wheels hold different bytes for one path, or two are one package.
    """
    files: dict[str, bytes] = {}
    names = [wheel.name.lower().replace("_", "-") for wheel in (*wheels, ours)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SourceError(f"there are two wheels of {min(twice)}")
    for wheel in (*wheels, ours):
        for name, content in wheel.files():
            if files.setdefault(name, content) != content:
                raise SourceError(f"{wheel.path.name} and another wheel hold different bytes for {name}")
            if name.endswith(".dist-info/METADATA"):
                files[name.removesuffix("METADATA") + "INSTALLER"] = _INSTALLER
    entries = [Entry(path=f"{python.packages}/{name}", content=Literal(content)) for name, content in files.items()]
    for name, target in ours.programs().items():
        module, _, function = target.partition(":")
        text = f"#!{python.program}\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        entries.append(Entry(path=f"{python.programs}/{name}", content=Literal(text.encode()), executable=True))
    return entries
