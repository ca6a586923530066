"""The base of the image: which Python it has, and where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from modelcar.errors import UsageError
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, media_types
from modelcar.packaging.base import Base
from modelcar.store.layout import OciLayout
from scripts.release.base import Python, find_python

PATH = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin"


def base(layout: OciLayout, *layers: Sequence[str], env: Sequence[str] = (PATH,)) -> Base:
    """An image whose layers have files of these names."""
    described = []
    for names in layers:
        with build_tar([Entry(path=name, content=Literal(b"")) for name in names]).content.open() as reader:
            tar = reader.read()
        layout.materialise(Digest.of(tar), ByteMap([Literal(tar)]))
        described.append(Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(tar), size=len(tar)))
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=(), runtime={"Env": list(env)})
    return Base(config=config, layers=tuple(described))


def files(prefix: str, version: str) -> list[str]:
    return [f"{prefix}/bin/python{version}", f"{prefix}/lib/python{version}/os.py"]


def test_the_first_on_the_path_is_found_in_any_layer(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    found = find_python(
        layout, base(layout, files("usr", "3.11"), ["usr/local/bin/python3"], files("usr/local", "3.14"))
    )
    assert found == Python(version="3.14", prefix="usr/local")
    assert found.program == "/usr/local/bin/python3.14"
    assert found.packages == "usr/local/lib/python3.14/site-packages"
    assert found.programs == "usr/local/bin"


def test_a_program_without_its_library_is_none(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path)
    found = find_python(layout, base(layout, ["usr/local/bin/python3.13"], files("usr", "3.11")))
    assert found == Python(version="3.11", prefix="usr")


@pytest.mark.parametrize("env", [(), ("PATH=/opt/bin",), ("PATH=",)])
def test_there_may_be_none(tmp_path: Path, env: Sequence[str]) -> None:
    layout = OciLayout(tmp_path)
    with pytest.raises(UsageError, match="no Python 3 in a folder of its PATH"):
        find_python(layout, base(layout, files("usr", "3.11"), env=env))
