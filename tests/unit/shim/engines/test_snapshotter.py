"""How containerd is made to use the snapshotter."""

from __future__ import annotations

import tomllib
from pathlib import PurePosixPath
from typing import Any

import pytest

from modelcar.errors import UsageError
from registry_shim.engines.containerd import CONFIG, ConfigFile
from registry_shim.engines.files import HEADER, PlannedFile
from registry_shim.engines.settings import Engine, WiringSettings
from registry_shim.engines.snapshotter import DROP_IN, plug_in

SOCKET = PurePosixPath("/run/modelcar-snapshotter/snapshotter.sock")
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'
CRI_1, CRI_2 = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
USED = {"snapshotter": "modelcar", "disable_snapshot_annotations": False}


def config(text: str, path: PurePosixPath = CONFIG) -> ConfigFile:
    return ConfigFile(path=path, text=text)


def written(file: PlannedFile | None) -> dict[str, Any]:
    assert file is not None
    return tomllib.loads(file.content.decode())


def test_a_drop_in_where_one_is_read() -> None:
    found = plug_in(SOCKET, (config(f"version = 3\n{IMPORTS}"),), (2, 2))
    assert found.drop_in is not None
    assert found.drop_in.path == DROP_IN
    assert written(found.drop_in) == {
        "version": 3,
        "proxy_plugins": {"modelcar": {"type": "snapshot", "address": str(SOCKET)}},
        "plugins": {CRI_2: USED},
    }
    assert "restart" in found.note


def test_the_whole_file_where_there_is_none() -> None:
    found = plug_in(SOCKET, (), (2, 0))
    assert found.drop_in is not None
    assert found.drop_in.path == CONFIG
    old = plug_in(SOCKET, (), (1, 7))
    assert written(old.drop_in)["plugins"] == {CRI_1: {"containerd": USED}}


def test_what_is_written_to_the_same_file_besides_stays_in_it() -> None:
    registry = f'{HEADER}version = 3\n[plugins."{CRI_2}".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    ours = PlannedFile(path=CONFIG, content=registry.encode(), owner="containerd")
    found = written(plug_in(SOCKET, (), (2, 1), ours).drop_in)
    assert found["plugins"][CRI_2] == {**USED, "registry": {"config_path": "/etc/containerd/certs.d"}}
    other = PlannedFile(path=PurePosixPath("/elsewhere"), content=b"x", owner="containerd")
    assert "registry" not in written(plug_in(SOCKET, (), (2, 1), other).drop_in)["plugins"][CRI_2]


@pytest.mark.parametrize("version", [(1, 6), (1, 7), None])
def test_words_for_a_person_where_a_drop_in_would_replace_the_gpus_runtime(version: tuple[int, int] | None) -> None:
    runtime = f'version = 2\n{IMPORTS}[plugins."{CRI_1}".containerd]\ndefault_runtime_name = "nvidia"\n'
    found = plug_in(SOCKET, (config(runtime),), version)
    assert found.drop_in is None
    for part in ("proxy_plugins.modelcar", str(SOCKET), 'snapshotter = "modelcar"', str(CONFIG)):
        assert part in found.note


@pytest.mark.parametrize("schema", [2, 3, 4])
def test_nothing_where_it_is_plugged_in_already(schema: int) -> None:
    table = f'plugins."{CRI_1}".containerd' if schema == 2 else f'plugins."{CRI_2}"'
    plugin = f'[proxy_plugins.modelcar]\ntype = "snapshot"\naddress = "{SOCKET}"\n'
    user = f'[{table}]\nsnapshotter = "modelcar"\ndisable_snapshot_annotations = false\n'
    first, second = config(f"version = {schema}\n{plugin}"), config(user, DROP_IN)
    found = plug_in(SOCKET, (first, second), (2, 2))
    assert (found.drop_in, found.note) == (None, "")
    elsewhere = plug_in(PurePosixPath("/other.sock"), (first, second), (2, 2))
    assert elsewhere.note
    blind = config(user.replace("false", "true"), DROP_IN)
    assert plug_in(SOCKET, (first, blind), (2, 2)).note


@pytest.mark.parametrize("text", ["version = 1\n", "version = 9\n", "[broken"])
def test_what_cannot_be_used_is_said(text: str) -> None:
    found = plug_in(SOCKET, (config(text),), (2, 2))
    assert found.drop_in is None
    assert found.note


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="absolute"):
        WiringSettings(registries=("ghcr.io",), snapshotter=PurePosixPath("x.sock"))
    with pytest.raises(UsageError, match="only containerd"):
        WiringSettings(registries=("ghcr.io",), engines=frozenset({Engine.PODMAN}), snapshotter=SOCKET)
