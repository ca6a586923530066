"""Loading into engines that are played: which one is meant, what it gets, and what its failures become."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from modelcar.engines import find
from modelcar.engines.api import ApiEngine
from modelcar.engines.find import open_engine
from modelcar.engines.load import load_image
from modelcar.engines.podman import PodmanCommand
from modelcar.errors import NotFound, SourceChanged, UsageError, WorldError
from modelcar.exchanges import tell_of_libraries
from modelcar.oci import Platform, Reference
from modelcar.store import OciLayout
from tests.support.images import RandomImage, put_image, random_image

pytestmark = pytest.mark.slow

NAME = Reference.parse("registry.example/acme/llm:v1")


class Played:
    """An engine that unpacks what it is given."""

    name = "played 1"

    def __init__(self, architecture: str = "amd64", identity: str | None = None) -> None:
        self.members: dict[str, bytes] = {}
        self.architecture, self.identity = architecture, identity

    def platform(self) -> Platform:
        return Platform(os="linux", architecture=self.architecture)

    def load(self, pieces: Iterable[bytes]) -> None:
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            for member in archive:
                if (file := archive.extractfile(member)) is not None:
                    self.members[member.name] = file.read()

    def image_id(self, reference: str) -> str | None:
        (saved,) = json.loads(self.members["manifest.json"])
        assert saved["RepoTags"] == [reference]
        return self.identity or "sha256:" + str(saved["Config"]).rpartition("/")[2]


@pytest.fixture
def image() -> RandomImage:
    return random_image(7)


@pytest.fixture
def layout(image: RandomImage, tmp_path: Path) -> OciLayout:
    layout = OciLayout(tmp_path / "layout")
    put_image(layout, image)
    return layout


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_an_engine_gets_one_image_in_both_forms(image: RandomImage, layout: OciLayout, architecture: str) -> None:
    engine = Played(architecture)
    loaded = load_image(engine, layout, image.root, NAME)
    (saved,) = json.loads(engine.members["manifest.json"])
    (entry,) = json.loads(engine.members["index.json"])["manifests"]
    assert json.loads(engine.members[saved["Config"]])["architecture"] == architecture
    assert entry["digest"] == str(loaded.manifest)
    assert entry["annotations"]["io.containerd.image.name"] == str(NAME)
    manifest = json.loads(engine.members[entry["digest"].replace("sha256:", "blobs/sha256/")])
    assert [f"blobs/{layer['digest'].replace(':', '/')}" for layer in manifest["layers"]] == saved["Layers"]
    for name, content in engine.members.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    assert loaded.size == 30_000


def test_another_platform_may_be_asked_for(image: RandomImage, layout: OciLayout) -> None:
    engine = Played("amd64")
    load_image(engine, layout, image.root, NAME, platform=Platform(os="linux", architecture="arm64"))
    (saved,) = json.loads(engine.members["manifest.json"])
    assert json.loads(engine.members[saved["Config"]])["architecture"] == "arm64"
    with pytest.raises(UsageError, match="linux/s390x"):
        load_image(Played("s390x"), layout, image.root, NAME)


def test_an_image_without_a_tag_has_no_name_there(image: RandomImage, layout: OciLayout) -> None:
    with pytest.raises(UsageError, match="no tag"):
        load_image(Played(), layout, image.root, Reference.parse(f"registry.example/a@{image.root.digest}"))


@pytest.mark.parametrize("identity", ["sha256:" + "0" * 64, ""])
def test_what_the_engine_has_then_is_looked_at(image: RandomImage, layout: OciLayout, identity: str) -> None:
    class Other(Played):
        def image_id(self, reference: str) -> str | None:
            return identity or None

    with pytest.raises(WorldError, match=identity or "has nothing as"):
        load_image(Other(), layout, image.root, NAME)


def script(folder: Path, body: str) -> None:
    (folder / "podman").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "podman").chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs, but for the shell's own."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(find, "_DOCKER", tmp_path / "docker.sock")
    monkeypatch.setattr(find, "_PODMAN", tmp_path / "podman.sock")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    return folder


VERSION = """[ "$1" = version ] && { echo '{"Client":{"Version":"5.0","OsArch":"linux/arm64/v8"}}'; exit; }"""


def test_podmans_command_takes_a_stream(bin_folder: Path, tmp_path: Path) -> None:
    script(bin_folder, f'{VERSION}\n[ "$1" != load ] || cat >{tmp_path}/got\n[ "$1" != image ] || echo abc')
    engine = PodmanCommand()
    assert (engine.name, str(engine.platform())) == ("podman 5.0", "linux/arm64")
    engine.load([b"one", b"two"])
    assert (tmp_path / "got").read_bytes() == b"onetwo"
    assert engine.image_id("a:v1") == "sha256:abc"


def test_podman_says_why_it_did_not(bin_folder: Path) -> None:
    script(bin_folder, f"{VERSION}\necho 'Storing' >&2; echo 'Error: no space left' >&2; exit 125")
    engine = PodmanCommand()
    with pytest.raises(WorldError, match="podman did not take the image: no space left"):
        engine.load([bytes(1 << 20)] * 8)  # it does not even read them
    assert engine.image_id("a:v1") is None


def test_podman_is_ended_when_the_weights_cannot_be_read(bin_folder: Path, tmp_path: Path) -> None:
    script(bin_folder, f"{VERSION}\ncat >/dev/null; touch {tmp_path}/loaded")

    def pieces() -> Iterator[bytes]:
        yield b"one"
        raise SourceChanged("the file is another")

    with pytest.raises(SourceChanged):
        PodmanCommand().load(pieces())
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize("body", ["echo 'cannot set up namespace' >&2; exit 125", "exit 1"])
def test_podman_does_not_work(bin_folder: Path, body: str) -> None:
    script(bin_folder, body)
    with pytest.raises(WorldError, match="podman does not work here"):
        PodmanCommand()


def test_which_engine_is_meant(bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bin_folder))
    with pytest.raises(NotFound, match="neither docker nor podman"), open_engine("auto", {}):
        pass
    with pytest.raises(NotFound, match="podman is not installed"), open_engine("podman", {}):
        pass
    monkeypatch.setenv("PATH", f"{bin_folder}:/bin:/usr/bin")
    script(bin_folder, VERSION)
    with open_engine("auto", {}) as engine:
        assert engine.name == "podman 5.0"
    nobody = f"unix://{tmp_path}/nobody.sock"
    monkeypatch.setenv("DOCKER_HOST", nobody)
    for choice, environment in (("auto", {"DOCKER_HOST": nobody}), ("docker", {})):
        with pytest.raises(WorldError, match="docker does not answer: No such file"), open_engine(choice, environment):  # type: ignore[arg-type]  # a text, and one of the choices
            pass
    with pytest.raises(WorldError, match="podman does not answer"), open_engine("podman", {"CONTAINER_HOST": nobody}):
        pass


@pytest.mark.parametrize("address", ["ssh://nobody@127.0.0.1:1", "tcp://127.0.0.1:1", "nonsense"])
def test_addresses_that_lead_nowhere(address: str) -> None:
    with pytest.raises(WorldError, match=r"^podman "):
        ApiEngine("podman", address)


class Docker(BaseHTTPRequestHandler):
    """As much of Docker's API as a load needs."""

    def answer(self) -> None:
        document = {"Version": "28", "ApiVersion": "1.45", "Os": "linux", "Arch": "amd64", "Id": "sha256:abc"}
        content = b"" if self.path.endswith("/images/load") else json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        self.rfile.readline()
        self.answer()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[str]:
    """The address of something that speaks Docker's API."""
    with ThreadingUnixStreamServer(str(tmp_path / "socket"), Docker) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"unix://{tmp_path}/socket"
        finally:
            server.shutdown()
            thread.join()


def test_its_requests_are_told_of(docker: str, caplog: pytest.LogCaptureFixture) -> None:
    tell_of_libraries(wanted=True)
    try:
        with ApiEngine("docker", docker) as engine:
            engine.load(iter([b"a", b"b"]))
            assert engine.image_id("a:b") == "sha256:abc"
    finally:
        tell_of_libraries(wanted=False)
    said = [record.getMessage() for record in caplog.records]
    assert [re.sub(r"/v1\.\d+", "", line) for line in said] == [
        "GET http://localhost/version",
        "GET http://localhost/version",
        "POST http://localhost/images/load",
        "GET http://localhost/images/a:b/json",
    ]
