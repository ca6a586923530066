"""Real clients pull through `registry-shim serve --upstream`: from Debian's registry, private ones, and none at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Published
from tests.e2e.support.commands import BIN, Modelcar, run, serving
from tests.e2e.support.containerd import Containerd
from tests.e2e.support.podman import Podman
from tests.e2e.support.registries import docker_registry, get
from tests.support.checkpoints import files_of
from tests.support.scripted_registry import ScriptedRegistry, TokenService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.debian("docker-registry", "skopeo")]

HOST, SECOND = "registry.example", "second.example"
NAME = "acme/tiny:v1"
USER, PASSWORD = "alice", "correct-horse"


@contextmanager
def mirror(folder: Path, *options: str | Path) -> Iterator[str]:
    """The command; yields HOST:PORT."""
    folder.mkdir(exist_ok=True)
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    command = (BIN / "registry-shim", "serve", "--root", folder / "root", "--listen", "127.0.0.1:0")
    with serving(folder / "log", *command, "--ready-file", ready, *options) as process:
        eventually(lambda: ready.exists() or process.poll() is not None, "the mirror starts")
        assert process.poll() is None, (folder / "log").read_text()
        yield ready.read_text().strip()
    assert PASSWORD not in (folder / "log").read_text()


def skopeo(*arguments: str | Path, check: bool = True) -> str:
    done = run("skopeo", *arguments, check=check)
    return done.stdout if check else done.stderr


def copy(address: str, target: Path, *options: str, host: str = HOST, check: bool = True) -> str:
    """The image through the mirror, with everything in it, into a folder."""
    source = f"docker://{address}/{host}/{NAME}"
    arguments = ("--all", "--preserve-digests", "--src-tls-verify=false", *options)
    return skopeo("copy", *arguments, source, f"dir:{target}", check=check)


def publish(model: Published, address: str, *options: str) -> None:
    arguments = ("--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", *options)
    skopeo("copy", *arguments, f"docker://{model.ref}", f"docker://{address}/{NAME}")


def files(folder: Path) -> set[str]:
    """What `skopeo copy … dir:` wrote, by the digests of blobs."""
    return {path.name for path in folder.iterdir() if path.name not in ("version", "manifest.json")}


@dataclass(frozen=True)
class Upstream:
    """Debian's registry with the model in it; `stop` takes it away."""

    address: str
    lifetime: ExitStack

    def stop(self) -> None:
        self.lifetime.close()


@pytest.fixture
def upstream(tmp_path: Path, model: Published) -> Iterator[Upstream]:
    with ExitStack() as lifetime:
        address = lifetime.enter_context(docker_registry(tmp_path / "upstream"))
        publish(model, address)
        yield Upstream(address, lifetime)


def test_an_image_and_its_repetition_without_the_upstream(upstream: Upstream, tmp_path: Path) -> None:
    with mirror(tmp_path / "mirror", "--upstream", f"{HOST}=http://{upstream.address}") as address:
        copy(address, tmp_path / "first")
        upstream.stop()
        copy(address, tmp_path / "second")
        assert files(tmp_path / "first") == files(tmp_path / "second")
        assert len(files(tmp_path / "first")) > 5
    with mirror(tmp_path / "mirror", "--upstream", f"{HOST}=http://{upstream.address}") as address:
        copy(address, tmp_path / "third")
    assert files(tmp_path / "first") == files(tmp_path / "third")


def test_two_upstreams_and_repositories_of_ones_own(upstream: Upstream, embedded: str, tmp_path: Path) -> None:
    options = ("--upstream", f"{HOST}=http://{upstream.address}", "--upstream", f"{SECOND}=http://{embedded}")
    with mirror(tmp_path / "mirror", *options, "--writable") as address:
        copy(address, tmp_path / "first")
        copy(address, tmp_path / "second", host=SECOND)
        assert files(tmp_path / "first") == files(tmp_path / "second")
        own = f"docker://{address}/own/model:v1"
        skopeo("copy", "--all", "--dest-tls-verify=false", f"dir:{tmp_path}/first", own)
        assert "v1" in skopeo("list-tags", "--tls-verify=false", f"docker://{address}/own/model")
        refused = skopeo(
            "copy", "--all", "--dest-tls-verify=false", f"dir:{tmp_path}/first",
            f"docker://{address}/{HOST}/acme/pushed:v1", check=False,
        )  # fmt: skip
        assert "takes no pushes" in refused
        assert "no repository evil.example/" in copy(address, tmp_path / "none", host="evil.example", check=False)


def test_modelcar_pulls_and_verifies_without_the_upstream(
    modelcar: Modelcar, model: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", PASSWORD)
    modelcar("keygen", "-o", tmp_path / "key")
    with ExitStack() as stack:
        address = stack.enter_context(docker_registry(tmp_path / "upstream"))
        publish(model, address)
        modelcar("sign", f"{address}/{NAME}", "--remote", "--key", tmp_path / "key.key")
        with mirror(tmp_path / "mirror", "--upstream", f"{HOST}=http://{address}") as shim:
            ref = f"{shim}/{HOST}/{NAME}"
            arguments = ("verify", ref, "--remote", "--key", tmp_path / "key.pub")
            before = modelcar(*arguments)["verified"]
            stack.close()
            assert modelcar(*arguments)["verified"] == before
            assert "nothing listens" in modelcar.refusal(3, "verify", f"{address}/{NAME}", *arguments[2:])
    with mirror(tmp_path / "mirror", "--upstream", f"{HOST}=http://{address}") as shim:
        assert modelcar("verify", f"{shim}/{HOST}/{NAME}", *arguments[2:])["verified"]


def test_modelcar_pull(modelcar: Modelcar, model: Published, upstream: Upstream, tmp_path: Path) -> None:
    with mirror(tmp_path / "mirror", "--upstream", f"{HOST}=http://{upstream.address}") as address:
        modelcar("pull", f"{address}/{HOST}/{NAME}", "--remote", "-o", tmp_path / "pulled")
    assert files_of(tmp_path / "pulled") == model.files


@pytest.fixture
def private(tmp_path: Path, model: Published) -> Iterator[Upstream]:
    """Debian's registry, for Alice alone."""
    with ExitStack() as lifetime:
        address = lifetime.enter_context(docker_registry(tmp_path / "private", users={USER: PASSWORD}))
        publish(model, address, "--dest-creds", f"{USER}:{PASSWORD}")
        yield Upstream(address, lifetime)


def logins(folder: Path, *hosts: str) -> Path:
    """A login file with Alice's password."""
    path = folder / "auth.json"
    skopeo("login", "--authfile", path, "--tls-verify=false", "-u", USER, "-p", PASSWORD, hosts[0])
    auths = json.loads(path.read_text())["auths"]
    path.write_text(json.dumps({"auths": dict.fromkeys(hosts, auths[hosts[0]])}))
    return path


def hosts_folder(folder: Path, address: str) -> Path:
    """What makes containerd ask the mirror, and nobody else, for HOST."""
    (folder / HOST).mkdir(parents=True)
    server = f'server = "http://{address}"\n[host."http://{address}"]\n  capabilities = ["pull", "resolve"]\n'
    (folder / HOST / "hosts.toml").write_text(server)
    return folder


@pytest.mark.root
@pytest.mark.debian("containerd", "ctr")
def test_containerd_with_the_password_of_who_pulls(
    containerd_engine: Containerd, private: Upstream, tmp_path: Path
) -> None:
    def pull(*options: str | Path) -> bool:
        pulled = containerd_engine.ctr("image", "pull", "--hosts-dir", folder, *options, f"{HOST}/{NAME}", check=False)
        return pulled.returncode == 0

    with mirror(tmp_path / "mirror", "--upstream", f"{HOST}=http://{private.address}") as address:
        folder = hosts_folder(tmp_path / "hosts", address)
        assert not pull()
        assert not pull("--user", f"{USER}:wrong")
        assert pull("--user", f"{USER}:{PASSWORD}")
        containerd_engine.clear()
        assert not pull()  # although all of it is here now
        assert not pull("--user", f"{USER}:wrong")
        private.stop()
        assert pull("--user", f"{USER}:{PASSWORD}")  # still believed


@pytest.mark.root
@pytest.mark.debian("containerd", "ctr")
def test_containerd_gets_its_own_token(containerd_engine: Containerd, model: Published, tmp_path: Path) -> None:
    """The token server's challenge goes through, so containerd asks it for a token of its own."""
    registry, tokens = ScriptedRegistry(), ScriptedRegistry()
    try:
        fill(registry, model)
        service = TokenService(registry, tokens)
        service.users = {USER: PASSWORD, "": "nothing is for everybody"}
        with mirror(tmp_path / "mirror", "--upstream", f"{HOST}={registry.url}") as address:
            pull = ("image", "pull", "--hosts-dir", hosts_folder(tmp_path / "hosts", address))
            assert containerd_engine.ctr(*pull, f"{HOST}/{NAME}", check=False).returncode
            containerd_engine.ctr(*pull, "--user", f"{USER}:{PASSWORD}", f"{HOST}/{NAME}")
        asked = {request.query.get("scope") for request in service.asked}
        assert f"repository:{NAME.partition(':')[0]}:pull" in asked
    finally:
        registry.close()
        tokens.close()


def fill(registry: ScriptedRegistry, model: Published) -> None:
    address, _, name = model.ref.partition("/")
    repository = name.partition(":")[0]

    def manifest(reference: str) -> Any:
        content = get(address, f"{repository}/manifests/{reference}")
        document = json.loads(content)
        registry.manifests[repository, reference] = (document["mediaType"], content)
        return document

    index = manifest("v1")
    registry.manifests[repository, model.digest] = registry.manifests[repository, "v1"]
    for entry in index["manifests"]:
        image = manifest(entry["digest"])
        for blob in (image["config"], *image["layers"]):
            digest = blob["digest"]
            registry.blobs[digest] = get(address, f"{repository}/blobs/{digest}")


@pytest.mark.root
@pytest.mark.debian("podman")
def test_podman_by_the_nodes_own_login(podman_engine: Podman, private: Upstream, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        json.dumps(
            {
                "mirror": {
                    "upstreams": [
                        {
                            "registry": HOST,
                            "urls": [f"http://{private.address}"],
                            "access": "own",
                            "repositories": ["acme/tiny"],
                            "docker_config": str(logins(tmp_path, private.address, HOST)),
                        }
                    ]
                }
            }
        )
    )
    with mirror(tmp_path / "mirror", "--config", tmp_path / "config.yaml") as address:
        podman_engine.pull(f"{address}/{HOST}/{NAME}")
        podman_engine("image", "rm", "--force", f"{address}/{HOST}/{NAME}")
        refused = podman_engine("pull", "--tls-verify=false", f"{address}/{HOST}/acme/other:v1", check=False)
        assert "not among the repositories" in refused.stderr
        private.stop()
        podman_engine.pull(f"{address}/{HOST}/{NAME}")
        podman_engine("image", "rm", "--force", f"{address}/{HOST}/{NAME}")


@pytest.mark.root
@pytest.mark.debian("buildah")
def test_buildah_builds_on_what_is_mirrored(upstream: Upstream, tmp_path: Path) -> None:
    storage = ("--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    with mirror(tmp_path / "mirror", "--upstream", f"{HOST}=http://{upstream.address}") as address:
        source = f"docker://{address}/{HOST}/{NAME}"
        name = run("buildah", *storage, "from", "--tls-verify=false", source, within=120).stdout.strip()
        run("buildah", *storage, "rm", name)


def test_a_shim_in_front_of_a_shim(upstream: Upstream, tmp_path: Path) -> None:
    """The nearer one is asked by `?ns=`, the registry itself where that one cannot help."""
    with ExitStack() as stack:
        near = stack.enter_context(mirror(tmp_path / "near", "--upstream", f"{HOST}=http://{upstream.address}"))
        chain = f"{HOST}=http://{near},http://{upstream.address}"
        far = stack.enter_context(mirror(tmp_path / "far", "--upstream", chain))
        copy(far, tmp_path / "first")
        assert (tmp_path / "near" / "root" / "upstreams" / HOST).is_dir()
    with mirror(tmp_path / "far", "--upstream", chain) as far:
        copy(far, tmp_path / "second")  # the nearer one is gone
    assert files(tmp_path / "first") == files(tmp_path / "second")
