"""`modelcar load` into real engines: podman by its command and its socket, and Docker's daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Published
from tests.e2e.support.bases import HERE
from tests.e2e.support.commands import BIN, Done, Modelcar, run, serving
from tests.e2e.support.mounts import unmount_below
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]

_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""
_CONTAINERS = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
static_dir = "{folder}/static"
volume_path = "{folder}/volumes"
tmp_dir = "{folder}/tmp"
"""


class Engine:
    """A command with an environment that leads it, and modelcar, to storage of its own."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.command, self.folder, self.environment = command, folder, environment

    def __call__(self, *arguments: str | Path) -> str:
        return run(self.command, *arguments, environment=self.environment).stdout.strip()

    def ids(self) -> list[str]:
        return self("images", "--quiet", "--no-trunc").split()

    def modelcar(self, home: Path, *arguments: str | Path) -> Done:
        environment = {**self.environment, "MODELCAR_HOME": str(home)}
        program = BIN / "modelcar"
        return run(program, *arguments, environment=environment, check=False)


@pytest.fixture(scope="module")
def podman_home(workspace: Path) -> Iterator[Engine]:
    """podman as a user would have it, without a service."""
    folder = workspace / "load-podman"
    folder.mkdir()
    (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))
    (folder / "containers.conf").write_text(_CONTAINERS.format(folder=folder))
    environment = {
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "TMPDIR": str(folder),
    }
    yield Engine("podman", folder, environment)
    unmount_below(folder)


@pytest.fixture(scope="module")
def podman_service(podman_home: Engine, workspace: Path) -> Iterator[Engine]:
    """The same podman behind its socket."""
    socket = workspace / "load-podman.sock"
    environment = {**podman_home.environment, "CONTAINER_HOST": f"unix://{socket}"}
    command = ["podman", "system", "service", "--time", "0", f"unix://{socket}"]
    with serving(workspace / "load-podman.log", *command, environment=podman_home.environment):
        eventually(socket.is_socket, "podman listens")
        yield Engine("podman", podman_home.folder, environment)


@pytest.fixture(scope="module")
def docker(workspace: Path) -> Iterator[Engine]:
    """Docker's daemon, without networks."""
    folder = workspace / "load-docker"
    folder.mkdir()
    socket = workspace / "load-docker.sock"
    places = {"--data-root": folder / "root", "--exec-root": folder / "exec", "--pidfile": folder / "pid"}
    command = ["dockerd", *(str(word) for option in places.items() for word in option)]
    quiet = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false"]
    with serving(workspace / "load-docker.log", *command, *quiet, "-H", f"unix://{socket}"):
        engine = Engine("docker", folder, {"DOCKER_HOST": f"unix://{socket}"})
        eventually(lambda: run("docker", "version", check=False, environment=engine.environment).returncode == 0, "up")
        yield engine
    unmount_below(folder)


ENGINES = [
    pytest.param("podman_home", marks=pytest.mark.debian("podman")),
    pytest.param("podman_service", marks=pytest.mark.debian("podman")),
    pytest.param("docker", marks=pytest.mark.debian("docker", "dockerd")),
]


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine: Engine = request.getfixturevalue(request.param)
    yield engine
    if ids := sorted(set(engine.ids())):
        engine("rmi", "--force", *ids)


def config_digest(engine: Engine, ref: str) -> str:
    return "sha256:" + engine("image", "inspect", "--format", "{{.Id}}", ref).removeprefix("sha256:")


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_an_image_of_the_local_store_by_its_name(
    engine: Engine, model: Published, modelcar: Modelcar, tmp_path: Path
) -> None:
    kind = engine.command
    done = engine.modelcar(modelcar.home, "load", model.ref, "--engine", kind, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["name"], said["digest"]) == (model.ref, model.digest)
    assert said["engine"].startswith(kind)
    assert said["engineId"] == config_digest(engine, model.ref)
    assert json.loads(engine("image", "inspect", model.ref))[0]["Architecture"] == HERE
    archive = tmp_path / "saved.tar"
    engine("save", *(["--format", "oci-archive"] if kind == "podman" else []), "-o", archive, model.ref)
    if kind == "podman":
        modelcar("pull", f"oci-archive:{archive}", "-o", tmp_path / "copy")
        assert files_of(tmp_path / "copy") == model.files
    else:
        container = engine("create", model.ref)
        engine("cp", f"{container}:/models", tmp_path / "copy")
        engine("rm", container)
        assert files_of(tmp_path / "copy") == model.files
    again = engine.modelcar(modelcar.home, "load", model.ref, "--engine", kind)
    assert again.returncode == 0, again.stderr
    assert f"loaded {model.ref}" in again.stdout


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_an_archive_and_a_layout_under_the_name_that_they_carry_or_another(
    engine: Engine, model: Published, modelcar: Modelcar, tmp_path: Path
) -> None:
    archive, layout = tmp_path / "model.tar", tmp_path / "layout"
    modelcar("archive", model.ref, "-o", archive)
    modelcar("export", model.ref, "-o", layout)
    load = ["load", "--engine", engine.command]
    assert engine.modelcar(modelcar.home, *load, f"oci-archive:{archive}").returncode == 0
    config = config_digest(engine, model.ref)
    unnamed = engine.modelcar(modelcar.home, *load, f"oci:{layout}")
    assert unnamed.returncode == 2
    assert "--tag" in unnamed.stderr
    assert engine.modelcar(modelcar.home, *load, f"oci:{layout}", "-t", "other.example/llm:v2").returncode == 0
    assert config_digest(engine, "other.example/llm:v2") == config


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_an_engine_gets_nothing_when_a_weight_file_has_changed(
    engine: Engine, modelcar: Modelcar, tmp_path: Path
) -> None:
    folder = make_checkpoint(tmp_path / "model")
    modelcar("build", folder, "-t", "localhost/changed:v1")
    shard = next(folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[::-1])
    done = engine.modelcar(modelcar.home, "load", "localhost/changed:v1", "--engine", engine.command)
    assert done.returncode == 3, done.stderr
    assert shard.name in done.stderr
    assert "Traceback" not in done.stderr
    assert engine.ids() == []
    modelcar("rm", "localhost/changed:v1")


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_what_an_engine_refuses_is_its_own_words(
    engine: Engine, model: Published, modelcar: Modelcar, tmp_path: Path
) -> None:
    wrong = engine.modelcar(modelcar.home, "load", model.ref, "--engine", engine.command, "--platform", "linux/s390x")
    assert wrong.returncode == 2
    assert "linux/s390x" in wrong.stderr
    assert engine.ids() == []


@pytest.mark.debian("podman")
@pytest.mark.parametrize("engine", ["podman_home"], indirect=True)
def test_build_loads_what_it_has_built(engine: Engine, checkpoint: Path, modelcar: Modelcar) -> None:
    name = "localhost/built:v1"
    done = engine.modelcar(modelcar.home, "build", checkpoint, "-t", name, "--load", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["loaded"]["name"] == name
    assert said["loaded"]["engineId"] == config_digest(engine, name)


def test_no_engine_answers(model: Published, modelcar: Modelcar, tmp_path: Path) -> None:
    nobody = Engine("docker", tmp_path, {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    done = nobody.modelcar(modelcar.home, "load", model.ref)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "modelcar: docker does not answer: No such file or directory"
    empty = Engine("podman", tmp_path, {"PATH": str(tmp_path)})
    done = empty.modelcar(modelcar.home, "load", model.ref, "--engine", "podman")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "modelcar: podman is not installed")
