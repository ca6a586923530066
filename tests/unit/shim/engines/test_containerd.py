"""What containerd is told, and what it must be told besides."""

from __future__ import annotations

import tomllib
from pathlib import Path, PurePosixPath

import pytest

from modelcar.errors import UsageError
from registry_shim.engines.containerd import CONFIG, DROP_IN, ConfigFile, advise, hosts_folder, parse_version, plan
from registry_shim.engines.settings import Engine, WiringSettings

SETTINGS = WiringSettings(registries=("ghcr.io", "registry.example:5000"))
CA = Path("ca.pem")
IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'


def config(text: str, path: PurePosixPath = CONFIG) -> ConfigFile:
    return ConfigFile(path=path, text=text)


def test_the_shim_is_the_last_that_is_asked_and_the_only_one() -> None:
    files = {str(file.path): tomllib.loads(file.content.decode()) for file in plan(SETTINGS)}
    assert set(files) == {
        "/etc/containerd/certs.d/ghcr.io/hosts.toml",
        "/etc/containerd/certs.d/registry.example_5000_/hosts.toml",
    }
    for document in files.values():
        assert document["server"] == SETTINGS.shim
        assert set(document["host"]) == {SETTINGS.shim}  # without a table, 1.x takes the file for an absent one
        for table in (document, document["host"][SETTINGS.shim]):
            assert set(table["capabilities"]) == {"pull", "resolve"}
            assert table["dial_timeout"] == "5s"


def test_no_file_is_for_every_registry() -> None:
    assert not any("_default" in str(file.path) for file in plan(SETTINGS))


def test_the_authority_lies_beside_the_file_that_names_it_and_is_there_first() -> None:
    settings = WiringSettings(registries=("ghcr.io",), shim="https://node:5000")
    with_ca = WiringSettings(registries=("ghcr.io",), shim="https://node:5000", ca=CA)
    files = plan(with_ca, ca=b"PEM")
    assert [file.path.name for file in files] == ["shim-ca.crt", "hosts.toml"]
    assert files[0].content == b"PEM"
    document = tomllib.loads(files[1].content.decode())
    assert document["ca"] == document["host"][with_ca.shim]["ca"] == "shim-ca.crt"
    assert "ca" not in tomllib.loads(plan(settings)[0].content.decode())


def test_a_port_is_written_as_containerd_looks_for_it_first() -> None:
    assert hosts_folder("registry.example:5000") == "registry.example_5000_"
    assert hosts_folder("ghcr.io") == "ghcr.io"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6)),
        ("containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4", (2, 1)),
        ("containerd containerd.io 1.7.27 05044ec0a9a7", (1, 7)),
        ("command not found", None),
    ],
)
def test_versions_as_distributions_print_them(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("plugin", "schema", "version"),
    [("io.containerd.grpc.v1.cri", 2, (1, 7)), ("io.containerd.cri.v1.images", 3, (2, 1))],
)
def test_a_containerd_that_reads_the_folder_needs_nothing(plugin: str, schema: int, version: tuple[int, int]) -> None:
    text = f'version = {schema}\n[plugins."{plugin}".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    assert advise(SETTINGS, (config(text),), version).reads


def test_from_2_1_on_a_list_is_not_read_and_is_the_default_from_2_2_on() -> None:
    table = '[plugins."io.containerd.grpc.v1.cri".registry]'
    text = f'version = 2\n{table}\nconfig_path = "/etc/containerd/certs.d:/etc/docker/certs.d"\n'
    assert advise(SETTINGS, (config(text),), (1, 7)).reads
    assert advise(SETTINGS, (config(text),), (2, 0)).reads
    for version in ((2, 1), (2, 3), None):
        advice = advise(SETTINGS, (config(text),), version)
        assert not advice.reads
        assert "a list" in advice.problem
        assert 'config_path = "/etc/containerd/certs.d"' in advice.remedy
    assert not advise(SETTINGS, (config("version = 3\n"),), (2, 2)).reads


@pytest.mark.parametrize(("version", "schema"), [((2, 2), 3), ((1, 7), 2), (None, 2)])
def test_a_containerd_without_configuration_gets_one(version: tuple[int, int] | None, schema: int) -> None:
    written = advise(SETTINGS, (), version).drop_in
    assert written is not None
    assert written.path == CONFIG  # nothing is imported as long as there is none
    assert tomllib.loads(written.content.decode())["version"] == schema
    assert advise(SETTINGS, (config(written.content.decode()),), version).reads


def test_our_own_drop_in_is_found_to_suffice() -> None:
    root = config(IMPORTS + "version = 3\n")
    drop_in = advise(SETTINGS, (root,), (2, 2)).drop_in
    assert drop_in is not None
    assert advise(SETTINGS, (root, config(drop_in.content.decode(), DROP_IN)), (2, 2)).reads


def test_the_last_import_decides() -> None:
    root = config(
        'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/etc/containerd/certs.d"'
    )
    other = config(
        '[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/elsewhere"', CONFIG.parent / "conf.d/x.toml"
    )
    advice = advise(SETTINGS, (root, other), (2, 1))
    assert not advice.reads
    assert "/elsewhere" in advice.problem
    assert advice.drop_in is None


def test_a_drop_in_where_settings_are_merged_and_it_is_imported() -> None:
    advice = advise(SETTINGS, (config(IMPORTS + "version = 3\n"),), (2, 1))
    assert advice.drop_in is not None
    assert advice.drop_in.path == DROP_IN
    document = tomllib.loads(advice.drop_in.content.decode())
    assert document["version"] == 3
    assert document["plugins"]["io.containerd.cri.v1.images"]["registry"] == {"config_path": "/etc/containerd/certs.d"}


def test_a_drop_in_is_never_of_a_higher_version_than_the_file_that_imports_it() -> None:
    advice = advise(SETTINGS, (config(IMPORTS + "version = 2\n"),), (2, 1))
    assert advice.drop_in is not None
    document = tomllib.loads(advice.drop_in.content.decode())
    assert document["version"] == 2
    assert "io.containerd.grpc.v1.cri" in document["plugins"]


@pytest.mark.parametrize("version", [(1, 7), None])
def test_no_drop_in_where_it_would_replace_the_settings_of_the_gpu_runtime(version: tuple[int, int] | None) -> None:
    advice = advise(SETTINGS, (config(IMPORTS + "version = 2\n"),), version)
    assert advice.drop_in is None
    assert 'config_path = "/etc/containerd/certs.d"' in advice.remedy
    assert "io.containerd.grpc.v1.cri" in advice.remedy


def test_no_drop_in_that_nobody_imports() -> None:
    assert advise(SETTINGS, (config("version = 3\n"),), (2, 1)).drop_in is None


def test_the_old_way_of_naming_mirrors_excludes_the_folder_and_is_reported() -> None:
    text = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://m"]\n'
    advice = advise(SETTINGS, (config(IMPORTS + text),), (2, 1))
    assert advice.drop_in is None
    assert "mirrors" in advice.problem


@pytest.mark.parametrize("text", ["version = 1\n", "", "version = 9\n", "version = [\n"])
def test_a_configuration_that_is_not_understood_is_not_guessed_at(text: str) -> None:
    advice = advise(SETTINGS, (config(IMPORTS + text),), (2, 1))
    assert not advice.reads
    assert advice.drop_in is None
    assert advice.problem
    assert advice.remedy


def test_one_repository_of_a_registry_cannot_be_left_out() -> None:
    with pytest.raises(UsageError, match="whole registry"):
        WiringSettings(registries=("ghcr.io",), excluded=("ghcr.io/acme/shim",))
    WiringSettings(registries=("ghcr.io",), excluded=("quay.io/acme/shim",))
    WiringSettings(registries=("ghcr.io",), excluded=("ghcr.io/acme/shim",), engines=frozenset({Engine.PODMAN}))
