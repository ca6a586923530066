"""Unpacking wheels into an image: what belongs where, and what does not fit together."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from modelcar.errors import SourceError
from modelcar.layers.bytemap import Literal
from scripts.release.base import Python
from scripts.release.needs import check_needs
from scripts.release.wheels import Wheel, check_wheels, read_wheels, site_entries

PYTHON = Python(version="3.13", prefix="usr/local")
SITE = "usr/local/lib/python3.13/site-packages"


def wheel(
    folder: Path,
    name: str,
    files: Mapping[str, str] | None = None,
    version: str = "1.0",
    *,
    needs: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Wheel:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    header = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in needs)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(header) + "\n\n")
        for file, text in (files or {}).items():
            archive.writestr(file, text)
    return Wheel(path)


def unpacked(ours: Wheel, *others: Wheel) -> dict[str, str]:
    entries = site_entries(others, ours, PYTHON)
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
    assert found == {
        *(f"{SITE}/{name}" for name in ("modelcar/a.py", "other/b.py", "other/c.so", "d.py")),
        "usr/local/bin/modelcar",
    }
    script = files["usr/local/bin/modelcar"]
    assert script.startswith("#!/usr/local/bin/python3.13\nimport sys\n\nfrom modelcar.__main__ import run\n")
    assert files[f"{SITE}/other-1.0.dist-info/INSTALLER"] == "modelcar-release\n"


def test_two_wheels_that_disagree(tmp_path: Path) -> None:
    ours = wheel(tmp_path, "modelcar", {"shared.py": "1"})
    assert unpacked(ours, wheel(tmp_path, "same", {"shared.py": "1"}))[f"{SITE}/shared.py"] == "1"
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


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp38-abi3-manylinux_2_28_x86_64", True),
        ("cp312-cp312-manylinux_2_17_x86_64", False),
        ("cp314-abi3-manylinux_2_17_x86_64", False),
        ("cp313-cp313t-manylinux_2_17_x86_64", False),
        ("cp313-cp313-manylinux_2_17_aarch64", False),
        ("cp313-cp313-musllinux_1_2_x86_64", False),
        ("cp313-cp313-macosx_11_0_arm64", False),
    ],
)
def test_wheels_are_for_the_python_of_the_base(tmp_path: Path, tag: str, fits: bool) -> None:
    found = [wheel(tmp_path, "other", tag=tag)]
    if fits:
        check_wheels(found, PYTHON, "amd64")
    else:
        with pytest.raises(SourceError, match=r"^other-1\.0-.*\.whl is not for Python 3\.13 on linux/amd64$"):
            check_wheels(found, PYTHON, "amd64")


def test_what_is_called_a_wheel_and_is_none(tmp_path: Path) -> None:
    odd = wheel(tmp_path, "other", tag="any")
    with pytest.raises(SourceError, match=r"other-1\.0-any"):
        check_wheels([odd], PYTHON, "amd64")


NEEDS = ("a>=1", "b; extra == 'shim'", "c; extra == 'dev'", "d; python_version < '3.13'", "e; platform_machine == 'x'")


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"a": [], "b": ["F_g[h]"], "f-g": ["i; extra == 'h'"], "i": ["a"]}, None),
        ({"a": []}, "modelcar needs b on linux/arm64, and there is no wheel of it"),
        ({"a": [], "b": ["z"]}, "b needs z on linux/arm64, and there is no wheel of it"),
        ({"a": [], "b": [], "c": []}, "there is a wheel of c, which nothing needs on linux/arm64"),
        ({"a": ["b>=2"], "b": []}, "a needs b>=2, and has 1.0"),
    ],
)
def test_none_is_missing_and_none_is_too_many(tmp_path: Path, others: dict[str, list[str]], says: str | None) -> None:
    ours = wheel(tmp_path, "modelcar", needs=NEEDS)
    wheels = [wheel(tmp_path, name, needs=needs) for name, needs in others.items()]
    if says is None:
        check_needs(ours, ["shim"], wheels, PYTHON, "arm64")
    else:
        with pytest.raises(SourceError) as error:
            check_needs(ours, ["shim"], wheels, PYTHON, "arm64")
        assert str(error.value) == says
