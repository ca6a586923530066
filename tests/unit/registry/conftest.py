"""A registry per test, a client that does not really wait, and a certificate authority per session."""

from __future__ import annotations

import json
import random
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.oci import Descriptor, Index, Manifest, Reference, media_types
from modelcar.registry import ClientSettings, Registry
from modelcar.store.memory import MemoryStore
from tests.support import images
from tests.support.logins import without_logins
from tests.support.scripted_registry import Reply, Request, ScriptedRegistry


@pytest.fixture(autouse=True)
def _no_logins(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody's own logins or proxies take part in a test."""
    without_logins(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture
def server() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as registry:
        yield registry


@pytest.fixture
def other() -> Iterator[ScriptedRegistry]:
    """Another host: a CDN, a token server."""
    with ScriptedRegistry() as registry:
        yield registry


@pytest.fixture
def pauses() -> list[float]:
    """How long the client would have slept."""
    return []


Client = Callable[..., Registry]


@pytest.fixture
def client(pauses: list[float]) -> Iterator[Client]:
    clients: list[Registry] = []

    def make(progress: Recorder | None = None, **settings: object) -> Registry:
        chosen = ClientSettings(**{"timeout": 5, **settings})  # type: ignore[arg-type]  # settings by their names
        clients.append(Registry(chosen, progress or Recorder(), sleep=pauses.append))
        return clients[-1]

    yield make
    for registry in clients:
        registry.close()


class Recorder:
    """A `Progress` that keeps books."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.notes: dict[str, str] = {}
        self.steps: list[int] = []
        self.expected = 0

    def expect(self, total: int) -> None:
        self.expected += total

    def start(self, key: str, label: str, total: int) -> None:
        self.totals[key], self.done[key] = total, 0

    def advance(self, key: str, n: int) -> None:
        self.done[key] += n
        self.steps.append(n)

    def finish(self, key: str, note: str = "") -> None:
        self.notes[key] = note


@dataclass(frozen=True)
class Image:
    store: MemoryStore
    index: Index
    manifests: tuple[Manifest, ...]

    @property
    def descriptor(self) -> Descriptor:
        return self.index.descriptor


def random_image(seed: int = 1, sizes: tuple[int, ...] = (10, 100_000, 300_000), platforms: int = 2) -> Image:
    """An index with `platforms` manifests that share all layers, in a store of its own."""
    store, image = MemoryStore(), images.random_image(seed, sizes=sizes, platforms=platforms)
    images.put_image(store, image)
    return Image(store, image.documents.index, image.documents.manifests)


def blob(size: int, seed: int = 7) -> tuple[Descriptor, bytes]:
    content = random.Random(seed).randbytes(size)
    return Descriptor.of(media_types.LAYER_TAR, content), content


def literal(content: bytes) -> ByteMap:
    return ByteMap([Literal(content)])


def reference(server: ScriptedRegistry, name: str = "org/model:v1") -> Reference:
    return Reference.parse(f"{server.name}/{name}")


def ask_for_login(server: ScriptedRegistry, folder: Path) -> Path:
    """From now on `server` wants an account; returns a login file that has it."""

    def guard(request: Request) -> Reply | None:
        if request.headers.get("Authorization") == "Basic dTpw":
            return None
        return Reply(401, {"WWW-Authenticate": 'Basic realm="x"'})

    server.guard = guard
    logins = folder / "config.json"
    logins.write_text(json.dumps({"auths": {server.name: {"auth": "dTpw"}}}))
    return logins


@dataclass(frozen=True)
class Authority:
    """A certificate authority and a certificate of it for 127.0.0.1 and localhost."""

    ca: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca_extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", "-days", "1",
            *ca_extensions)  # fmt: skip
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
            "-extfile", "extensions", "-out", "server.pem")  # fmt: skip
    return Authority(folder / "ca.pem", folder / "server.pem", folder / "server.key")


@pytest.fixture
def secure_server(authority: Authority) -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry(tls=authority.context()) as registry:
        yield registry
