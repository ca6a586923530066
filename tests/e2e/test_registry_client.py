"""The registry client against Debian's docker-registry: round trips, logins, deletion, and memory that stays flat."""

from __future__ import annotations

import base64
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelcar.errors import RemoteNotFound, Unauthorized
from modelcar.layers.bytemap import ByteMap, FileRange, Literal
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference, media_types
from modelcar.registry import ClientSettings, Registry
from modelcar.store.base import write_document
from modelcar.store.memory import MemoryStore
from tests.e2e.support.commands import run, serving
from tests.support.images import describe
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.debian("docker-registry", "openssl")]

TWO_GIB_OF_ZEROS = "sha256:a7c744c13cc101ed66c29f672f92455547889cc586ce6d44fe76ae824958ea51"
PASSWORD = "wonder-land"
BCRYPT = "$2y$05$abcdefghijklmnopqrstuuQAxP.4EvgFrN7KwEDh/4qWFUMuO1Wni"  # of the same


@contextmanager
def docker_registry(folder: Path, address: str = "", **settings: Any) -> Iterator[str]:
    """docker-registry with `settings` added to its configuration; yields HOST:PORT."""
    folder.mkdir(exist_ok=True)
    if not address:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            address = f"127.0.0.1:{sock.getsockname()[1]}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "root")}, "delete": {"enabled": True}},
        "http": {"addr": address, **settings.pop("http", {})},
        **settings,
    }
    (folder / "config.yml").write_text(json.dumps(config))  # which is YAML, too
    with serving(folder / "log", "docker-registry", "serve", folder / "config.yml") as process:
        eventually(lambda: _listens(address) or process.poll() is not None, "docker-registry starts")
        assert process.poll() is None, (folder / "log").read_text()
        yield address


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with docker_registry(tmp_path / "registry") as where:
        yield where


def random_image(folder: Path, seed: int) -> tuple[MemoryStore, Index]:
    """Two platforms over the same layers, the largest of which lies in a file and begins with a header."""
    source, store, layers = random.Random(seed), MemoryStore(), []
    for size in (source.randrange(100), source.randrange(1 << 16), source.randrange(1 << 24)):
        content = source.randbytes(size)
        layer = Descriptor.of(media_types.LAYER_TAR, content)
        file = folder / f"{seed}-{size}"
        file.write_bytes(content)
        write_document(store, content[: size // 3])
        head = store.map(write_document(store, content[: size // 3]))
        rest = FileRange(path=file, offset=size // 3, size=size - size // 3)
        store._blobs[layer.digest] = ByteMap([*head.segments(), rest])
        layers.append(layer)
    documents = describe(layers)
    for content in documents.blobs.values():
        write_document(store, content)
    return store, documents.index


def check_round_trip(registry: Registry, ref: Reference, folder: Path, seed: int = 1) -> Index:
    store, index = random_image(folder, seed)
    registry.push(store, index.descriptor, ref)
    assert registry.resolve(ref) == index.descriptor
    back = MemoryStore()
    assert registry.pull(ref, back) == index.descriptor
    for manifest in (registry.manifest(ref, entry) for entry in index.manifests):
        assert isinstance(manifest, Manifest)
        for blob in manifest.blobs:
            assert back.open(blob.digest).read() == store.open(blob.digest).read()
    return index


@pytest.mark.parametrize("chunk_size", [None, 1_000_000])
def test_round_trips(address: str, tmp_path: Path, chunk_size: int | None) -> None:
    with Registry(ClientSettings(chunk_size=chunk_size)) as registry:
        for seed in range(3):
            check_round_trip(registry, Reference.parse(f"{address}/org/model:v{seed}"), tmp_path, seed)
        assert sorted(registry.tags(Reference.parse(f"{address}/org/model"))) == ["v0", "v1", "v2"]


def test_ranges_copies_referrers_and_deletion(address: str, tmp_path: Path) -> None:
    ref, copy = Reference.parse(f"{address}/org/model:v1"), Reference.parse(f"{address}/other/place:v2")
    with Registry() as registry:
        index = check_round_trip(registry, ref, tmp_path)
        manifest = registry.manifest(ref, index.manifests[0])
        assert isinstance(manifest, Manifest)
        layer = manifest.layers[2]
        with registry.open_blob(ref, layer) as whole, registry.open_blob(ref, layer, 1000, 70_000) as part:
            assert whole.read()[1000:71_000] == part.read()
        assert registry.copy(ref, copy) == index.descriptor
        assert registry.blob_size(copy, layer.digest) == layer.size

        empty = Descriptor.of(media_types.EMPTY, b"{}")
        registry.upload_blob(ref, empty, ByteMap([Literal(b"{}")]))
        signature = Manifest(config=empty, artifact_type="application/x.test", subject=index.descriptor)
        place = Reference(registry=ref.registry, repository=ref.repository, digest=signature.digest)
        registry.put_manifest(place, signature.content, signature.media_type)
        (found,) = registry.referrers(ref, index.digest, "application/x.test").manifests
        assert found.digest == signature.digest
        assert not registry.referrers(ref, index.digest, "application/x.other").manifests

        registry.delete_manifest(Reference(registry=ref.registry, repository=ref.repository, digest=index.digest))
        with pytest.raises(RemoteNotFound):
            registry.resolve(ref)


def test_basic_login(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(f"alice:{BCRYPT}\n")
    login = tmp_path / "config.json"
    settings = ClientSettings(docker_config=login)
    auth = {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}
    with docker_registry(tmp_path / "registry", auth=auth) as address:
        ref = Reference.parse(f"{address}/org/model:v1")
        with Registry(settings) as registry, pytest.raises(Unauthorized, match="401") as caught:
            registry.resolve(ref)
        assert f"docker login {address}" in str(caught.value.hint)
        login.write_text(json.dumps({"auths": {address: {"username": "alice", "password": PASSWORD}}}))
        with Registry(settings) as registry:
            check_round_trip(registry, ref, tmp_path)


def test_tls(tmp_path: Path) -> None:
    key, certificate = _certificate(tmp_path)
    tls = {"tls": {"certificate": str(certificate), "key": str(key)}}
    settings = ClientSettings(ca_file=certificate)
    with docker_registry(tmp_path / "registry", http=tls) as address, Registry(settings) as registry:
        check_round_trip(registry, Reference.parse(f"{address}/org/model:v1"), tmp_path)


def test_token_login(tmp_path: Path) -> None:
    """A token server whose tokens live for two seconds: the scopes are right, and renewed as they end."""
    key, certificate = _certificate(tmp_path)
    login = tmp_path / "config.json"
    with _token_server(key, certificate) as (realm, asked):
        token = {"realm": realm, "service": "test", "issuer": "test", "rootcertbundle": str(certificate)}
        with docker_registry(tmp_path / "registry", auth={"token": token}) as address:
            login.write_text(json.dumps({"auths": {address: {"username": "alice", "password": PASSWORD}}}))
            with Registry(ClientSettings(docker_config=login)) as registry:
                for seed in range(3):
                    check_round_trip(registry, Reference.parse(f"{address}/org/model:v{seed}"), tmp_path, seed)
                    time.sleep(1)
            login.unlink()
            with (
                Registry(ClientSettings(docker_config=login)) as registry,
                pytest.raises(Unauthorized, match="anonymous access is refused"),
            ):
                registry.resolve(Reference.parse(f"{address}/org/model:v1"))
    assert {scope for scopes in asked for scope in scopes} == {
        "repository:org/model:pull",
        "repository:org/model:pull,push",
    }
    assert len(asked) > 3


def _certificate(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *names)
    return key, certificate


@contextmanager
def _token_server(key: Path, certificate: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Signs tokens as the distribution project's token specification describes; yields its URL and the scopes asked."""
    asked: list[list[str]] = []
    chain = "".join(line for line in certificate.read_text().splitlines() if "-----" not in line)
    expected = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            good = self.headers.get("Authorization") == expected
            if good:
                asked.append(scopes)
            body = json.dumps({"token": _jwt(key, chain, scopes), "expires_in": 2}).encode() if good else b""
            self.send_response(200 if good else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _jwt(key: Path, chain: str, scopes: list[str]) -> str:
    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    now = int(time.time())
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    claims = {"iss": "test", "sub": "alice", "aud": "test", "nbf": now - 60, "exp": now + 2, "iat": now, "jti": "x"}
    head = encode(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [chain]}).encode())
    text = f"{head}.{encode(json.dumps({**claims, 'access': access}).encode())}"
    sign = ["openssl", "dgst", "-sha256", "-sign", str(key)]
    signature = subprocess.run(sign, input=text.encode(), check=True, capture_output=True).stdout
    return f"{text}.{encode(signature)}"


MEMORY = """
import sys
from pathlib import Path
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Digest, Reference
from modelcar.registry import Registry

class Nowhere:
    size = 0
    def write(self, data):
        self.size += len(data)

def peak():  # not ru_maxrss, which begins with that of the process that started this one
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

def move(registry, ref, digest, path, size):
    descriptor = Descriptor(media_type="application/x", digest=Digest.parse(digest), size=size)
    registry.upload_blob(ref, descriptor, ByteMap.of_file(path, size))
    writer = Nowhere()
    registry.fetch_blob(ref, descriptor, writer)
    assert writer.size == size

ref, folder = Reference.parse(sys.argv[1]), Path(sys.argv[2])
small = folder / "small"
small.write_bytes(bytes(16 << 20))
large = folder / "large"
with large.open("wb") as f:
    f.truncate(2 << 30)
with Registry() as registry:
    move(registry, ref, str(Digest.of(small.read_bytes())), small, 16 << 20)
    before = peak()
    move(registry, ref, sys.argv[3], large, 2 << 30)
print(before, peak())
"""


def test_memory_is_flat(address: str, tmp_path: Path) -> None:
    """2 GiB (a sparse file) up and down need no more memory than 16 MiB."""
    arguments = [f"{address}/org/model:v1", str(tmp_path), TWO_GIB_OF_ZEROS]
    done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    assert after - before < 8 << 10  # KiB
    assert after < 128 << 10


def test_a_registry_that_restarts(tmp_path: Path) -> None:
    """It goes away in the middle of an upload and comes back: the upload goes on."""
    file, size = tmp_path / "large", 1 << 28
    with file.open("wb") as f:
        f.truncate(size)
    content = ByteMap.of_file(file, size)
    with file.open("rb") as f:
        descriptor = Descriptor(media_type="application/x", digest=Digest.of_stream(f), size=size)
    moved = _Moved()
    with docker_registry(tmp_path / "registry") as address:
        ref = Reference.parse(f"{address}/org/model:v1")
        registry = Registry(progress=moved)
        thread = threading.Thread(target=registry.upload_blob, args=(ref, descriptor, content))
        thread.start()
        eventually(lambda: moved.done > size // 8, "the upload is on its way")
        assert moved.done < size
    with docker_registry(tmp_path / "registry", address):
        thread.join(60)
        assert registry.blob_size(ref, descriptor.digest) == size
    registry.close()
    assert moved.done == size


class _Moved:
    """A `Progress` that counts bytes."""

    def __init__(self) -> None:
        self.done = 0

    def expect(self, total: int) -> None:
        pass

    def start(self, key: str, label: str, total: int) -> None:
        pass

    def advance(self, key: str, n: int) -> None:
        self.done += n

    def finish(self, key: str, note: str = "") -> None:
        pass
