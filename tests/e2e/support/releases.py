"""What a release is built of, from what is installed here: wheels of others, and a base with this machine's Python."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Collection
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from modelcar.oci import Digest
from scripts.release.__main__ import main
from scripts.release.image import ARCHITECTURES
from scripts.release.lock import EXTRAS
from tests.e2e.support.python_base import VERSION

__all__ = ["IN_THE_IMAGE", "REPOSITORY", "SITE", "build", "closure", "make_parts", "make_wheels"]

IN_THE_IMAGE: Final = EXTRAS["image"]
REPOSITORY: Final = "docker.io/library/python"
SITE: Final = f"usr/local/lib/python{VERSION}/site-packages"


def make_parts(folder: Path, write_base: Callable[[Path], Digest]) -> Path:
    """The folders `base` and `wheels`, and the lock `base.json`; returns `folder`."""
    digest = write_base(folder / "base")
    make_wheels(folder / "wheels")
    (folder / "base.json").write_text(json.dumps({"image": f"{REPOSITORY}@{digest}", "tag": f"{VERSION}-slim"}))
    return folder


def make_wheels(folder: Path) -> None:
    """What `modelcar` and its extras in the image need, as it is installed here."""
    folder.mkdir()
    for name in sorted(closure("modelcar", IN_THE_IMAGE) - {"modelcar"}):
        installed = distribution(name)
        stem = f"{name.replace('-', '_')}-{installed.version}"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
            for file in sorted(map(str, installed.files or ())):
                if not file.startswith("..") and not file.endswith(
                    (".pyc", "/INSTALLER", "/REQUESTED", "direct_url.json")
                ):
                    archive.writestr(zipfile.ZipInfo(file), Path(str(installed.locate_file(file))).read_bytes())


def closure(name: str, extras: Collection[str] = ()) -> set[str]:
    """The names of a package and of all that it needs here."""
    found: set[str] = set()
    todo = [(name, frozenset(extras))]
    done = set()
    while todo:
        done.add(current := todo.pop())
        name, extras = current
        found.add(name)
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            wanted = [{"extra": extra} for extra in ("", *extras)]
            if requirement.marker is None or any(map(requirement.marker.evaluate, wanted)):
                needed = (re.sub(r"[-_.]+", "-", requirement.name).lower(), frozenset(requirement.extras))
                todo += {needed} - done
    return found


def build(parts: Path, out: Path, *more: str) -> int:
    wheels = [option for arch in ARCHITECTURES for option in ("--wheels", f"{arch}={parts / 'wheels'}")]
    base = ["--base", str(parts / "base"), "--base-lock", str(parts / "base.json")]
    return main(["build", str(out), *base, *wheels, *more])
