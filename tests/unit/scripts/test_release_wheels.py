"""Unpacking wheels into an image: what belongs where, and what does not fit together."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelcar.errors import SourceError
from modelcar.layers.bytemap import Literal
from scripts.release.wheels import Wheel, read_wheels, site_entries

PLACES = {"packages": "site", "programs": "bin", "python": "/bin/python"}


def wheel(folder: Path, name: str, files: Mapping[str, str], version: str = "1.0") -> Wheel:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n\n")
        for file, text in files.items():
            archive.writestr(file, text)
    return Wheel(path)


def unpacked(ours: Wheel, *others: Wheel) -> dict[str, str]:
    entries = site_entries(list(others), ours, **PLACES)
    assert all(isinstance(entry.content, Literal) for entry in entries)
    return {entry.path: entry.content.data.decode() for entry in entries if isinstance(entry.content, Literal)}


def test_everything_lies_where_pip_would_put_it(tmp_path: Path) -> None:
    scripts = "[console_scripts]\nmodelcar = modelcar.__main__:run\n\n[modelcar.scanners]\nx = y:z\n"
    ours = wheel(tmp_path, "modelcar", {"modelcar/a.py": "1", "modelcar-1.0.dist-info/entry_points.txt": scripts})
    other = wheel(
        tmp_path,
        "other",
        {
            "other/b.py": "2",
            "other-1.0.data/platlib/other/c.so": "3",
            "other-1.0.data/purelib/d.py": "4",
            "other-1.0.data/scripts/other": "#!python",
            "other-1.0.data/data/share/man/other.1": "manual",
            "other-1.0.dist-info/entry_points.txt": "[console_scripts]\nother = other:main\n",
        },
    )
    files = unpacked(ours, other)
    found = {path for path in files if ".dist-info" not in path}
    assert found == {"site/modelcar/a.py", "site/other/b.py", "site/other/c.so", "site/d.py", "bin/modelcar"}
    assert files["bin/modelcar"].startswith("#!/bin/python\nimport sys\n\nfrom modelcar.__main__ import run\n")
    assert files["site/other-1.0.dist-info/INSTALLER"] == "modelcar-release\n"


def test_two_wheels_that_disagree(tmp_path: Path) -> None:
    ours = wheel(tmp_path, "modelcar", {"shared.py": "1"})
    assert unpacked(ours, wheel(tmp_path, "same", {"shared.py": "1"}))["site/shared.py"] == "1"
    with pytest.raises(SourceError, match=r"hold different bytes for shared\.py"):
        unpacked(ours, wheel(tmp_path, "other", {"shared.py": "2"}))


def test_a_package_twice(tmp_path: Path) -> None:
    first, second = (wheel(tmp_path, "other", {}, version) for version in ("1.0", "2.0"))
    with pytest.raises(SourceError, match="there are two wheels of other"):
        unpacked(wheel(tmp_path, "modelcar", {}), first, second)


def test_a_wheel_that_puts_things_elsewhere(tmp_path: Path) -> None:
    odd = wheel(tmp_path, "odd", {"odd-1.0.data/kernel/module.ko": "x"})
    with pytest.raises(SourceError, match=r"puts odd-1\.0\.data/kernel/module\.ko nobody knows where"):
        unpacked(wheel(tmp_path, "modelcar", {}), odd)


def test_what_is_no_wheel_is_named(tmp_path: Path) -> None:
    (tmp_path / "other-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(SourceError, match=r"holds other-1\.0\.tar\.gz, which is no wheel"):
        read_wheels(tmp_path)
