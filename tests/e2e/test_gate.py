"""The gate of a node, with real processes: images that are built, signed and scanned by our commands, and pulled by
other people's programs through a shim that has to let them through or not."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from tests.e2e.shim_proof.node import NAME, Node
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.containerd import containerd
from tests.e2e.support.registries import embedded_registry
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.gate import EVIL
from tests.support.policies import as_file
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


class Bench:
    """An upstream with a person who builds and one who scans, and nodes in front of it."""

    def __init__(self, folder: Path, modelcar: Modelcar, stack: ExitStack) -> None:
        self.folder, self.modelcar = folder, modelcar
        self._upstream = stack.enter_context(ExitStack())
        self.upstream = self._upstream.enter_context(embedded_registry(folder / "upstream"))
        self._stack = stack
        self.digests: dict[str, str] = {}
        for name in ("alice", "mallory", "scanner", "node"):
            self.key(name)

    def key(self, name: str) -> Path:
        path = self.folder / name
        if not path.with_suffix(".key").exists():
            self.modelcar("keygen", "-o", path)
        return path.with_suffix(".key")

    def image(self, name: str, source: Path, *, signer: str | None = None) -> str:
        """Build, push and perhaps sign; returns its name at the upstream."""
        ref = f"{self.upstream}/models/{name}:v1"
        signing: list[str | Path] = ["--sign-key", self.key(signer)] if signer else []
        self.digests[name] = self.modelcar("build", source, "-t", ref, "--push", "--no-scan", *signing)["digest"]
        return ref

    def evil(self, name: str, *, tail: int = 0) -> str:
        """An image whose pickle runs a command; `tail` bytes of honest weights lie above it."""
        folder = make_checkpoint(self.folder / f"checkpoint-{name}", shards=1, elements=max(1, tail // 2), seed=name)
        (folder / "pytorch_model.bin").write_bytes(EVIL + bytes(70_000))
        return self.image(name, folder)

    def clean(self, name: str, *, signer: str | None = None) -> tuple[str, Path]:
        folder = make_checkpoint(self.folder / f"checkpoint-{name}", seed=name)
        return self.image(name, folder, signer=signer), folder

    def policy(self, name: str, *, scanner: bool = False, who: str = "alice") -> Path:
        """Signed by `who`; with `scanner`, and called clean by the scanner."""

        def authority(person: str) -> dict[str, Any]:
            return {"name": person, "key": {"data": (self.folder / f"{person}.pub").read_text()}}

        images = [{"glob": f"{NAME}/**"}]
        documents: list[dict[str, Any]] = [
            {
                "apiVersion": "policy.sigstore.dev/v1beta1",
                "kind": "ClusterImagePolicy",
                "metadata": {"name": "signed-by-ci"},
                "spec": {"images": images, "authorities": [authority(who)]},
            }
        ]
        if scanner:
            rules = {"name": "modelcar", "minVersion": "2026.11"}
            scan = {"maxAge": "7d", "ruleSet": rules, "authorities": [authority("scanner")]}
            documents = [
                {
                    "apiVersion": "policy.modelcar.dev/v1alpha1",
                    "kind": "ModelPolicy",
                    "metadata": {"name": "scanned"},
                    "spec": {"images": images, "scan": scan},
                }
            ]
        path = self.folder / f"{name}.yaml"
        path.write_bytes(as_file(*documents))
        return path

    def node(self, name: str, *rules: dict[str, Any], **gate: Any) -> Node:
        folder = self.folder / f"node-{name}"
        folder.mkdir()
        mirror = {
            "upstreams": [{"registry": NAME, "urls": [f"http://{self.upstream}"]}],
            "tag_seconds": 1,
        }
        settings = {
            "mirror": mirror,
            "gate": {"rules": list(rules), "reload_seconds": 0.2, "refused_seconds": 1, **gate},
        }
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        node = Node(folder, ["--config", str(config)])
        self._stack.callback(node.kill)
        node.start()
        return node

    def stop_upstream(self) -> None:
        self._upstream.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        modelcar = Modelcar(tmp_path / "home")
        modelcar.environment["COSIGN_PASSWORD"] = "correct horse"
        yield Bench(tmp_path, modelcar, stack)


def get(node: Node, path: str) -> tuple[int, bytes]:
    """Status and body; 0 for a pull that was cut, as those are that run while a deny-list changes."""
    connection = http.client.HTTPConnection(node.address, timeout=30)
    try:
        connection.request("GET", f"/v2/{NAME}/models/{path}", headers={"Accept": "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.IncompleteRead:
        return 0, b""
    finally:
        connection.close()


def refusal(node: Node, path: str) -> str:
    """The message of a refusal, which must be one in the specification's words."""
    status, body = get(node, path)
    assert status == 403, (status, body[:500])
    (error,) = json.loads(body)["errors"]
    assert error["code"] == "DENIED"
    assert error["detail"]
    message: str = error["message"]
    return message


def layers(node: Node, name: str) -> list[dict[str, Any]]:
    """Of the first manifest of an image, smallest first."""
    status, body = get(node, f"{name}/manifests/v1")
    assert status == 200
    status, body = get(node, f"{name}/manifests/{json.loads(body)['manifests'][0]['digest']}")
    assert status == 200
    found: list[dict[str, Any]] = json.loads(body)["layers"]
    return sorted(found, key=lambda layer: int(layer["size"]))


def shim_ref(node: Node, name: str) -> str:
    return f"{node.address}/{NAME}/models/{name}:v1"


def enforce(**rule: Any) -> dict[str, Any]:
    return {"images": f"{NAME}/models/**", "mode": "enforce", **rule}


@pytest.mark.debian("skopeo")
def test_signed_images_pass_with_their_signatures_and_others_do_not(bench: Bench) -> None:
    _, folder = bench.clean("good", signer="alice")
    bench.clean("bare")
    bench.clean("wrong", signer="mallory")
    policy = bench.policy("policy")
    node = bench.node("signed", enforce(policies=[str(policy)]))

    bench.modelcar("pull", shim_ref(node, "good"), "--remote", "-o", bench.folder / "pulled")
    assert files_of(bench.folder / "pulled") == files_of(folder)
    verdict = bench.modelcar("verify", shim_ref(node, "good"), "--remote", "--key", bench.folder / "alice.pub")
    assert verdict["digest"] == bench.digests["good"]
    target = bench.folder / "oci"
    done = run("skopeo", "copy", "--src-tls-verify=false", f"docker://{shim_ref(node, 'good')}", f"oci:{target}:good")
    assert done.returncode == 0

    why = refusal(node, "bare/manifests/v1")
    assert f"{NAME}/models/bare@{bench.digests['bare']} is not served by this node" in why
    assert f"rule '{NAME}/models/**': ClusterImagePolicy signed-by-ci: authority alice" in why
    assert "ClusterImagePolicy signed-by-ci" in refusal(node, "wrong/manifests/v1")
    done = run(
        "skopeo", "copy", "--src-tls-verify=false", f"docker://{shim_ref(node, 'bare')}", f"oci:{target}:bare",
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ClusterImagePolicy signed-by-ci" in done.stderr


@pytest.mark.root
@pytest.mark.debian("containerd", "ctr")
def test_containerd_finds_no_way_around(bench: Bench) -> None:
    """The upstream, which would serve it, is there all the time."""
    bench.clean("good", signer="alice")
    bench.clean("bare")
    node = bench.node("containerd", enforce(policies=[str(bench.policy("policy"))]))
    hosts = bench.folder / "hosts"
    (hosts / NAME).mkdir(parents=True)
    capabilities = '  capabilities = ["pull", "resolve"]\n'
    shim = f"http://{node.address}"
    (hosts / NAME / "hosts.toml").write_text(f'server = "{shim}"\n[host."{shim}"]\n{capabilities}')
    with TemporaryDirectory(prefix="mc-") as short, containerd(Path(short) / "cd") as engine:
        good, bare = (f"{NAME}/models/{name}:v1" for name in ("good", "bare"))
        refused = engine.ctr("images", "pull", "--hosts-dir", hosts, bare, check=False)
        assert refused.returncode != 0
        assert "403 Forbidden" in refused.stderr
        assert engine.content() == set()
        engine.ctr("images", "pull", "--hosts-dir", hosts, good)
        assert bench.digests["good"] in engine.content()


def test_a_node_scans_for_itself_and_its_verdict_stays_here(bench: Bench) -> None:
    _, folder = bench.clean("good")
    bench.evil("evil")
    node = bench.node("scanning", enforce(scan="node", on_pending="hold", hold_seconds=60))
    bench.modelcar("pull", shim_ref(node, "good"), "--remote", "-o", bench.folder / "pulled")
    assert files_of(bench.folder / "pulled") == files_of(folder)
    assert "this node found it malicious: pytorch_model.bin" in refusal(node, "evil/manifests/v1")

    verdicts = sorted((node.root / "verdicts").glob("sha256-*.json"))
    assert {json.loads(file.read_text())["verdict"] for file in verdicts} == {"clean", "malicious"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in verdicts} == {0o600}
    assert stat.S_IMODE((node.root / "verdicts").stat().st_mode) == 0o700
    for name in ("good", "evil"):  # nothing was pushed
        digest = bench.digests[name]
        _, body = get_upstream(bench, f"models/{name}/referrers/{digest}")
        assert json.loads(body)["manifests"] == []

    node.restart()
    bench.stop_upstream()
    assert "malicious" in refusal(node, "evil/manifests/v1")
    status, _ = get(node, "good/manifests/v1")
    assert status == 200


def get_upstream(bench: Bench, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(bench.upstream, timeout=30)
    try:
        connection.request("GET", f"/v2/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_pending_is_refused_with_how_far_the_scan_is_and_passes_later(bench: Bench) -> None:
    _, folder = bench.clean("good")
    node = bench.node("refusing", enforce(scan="node"))
    assert "is not served by this node" in refusal(node, "good/manifests/v1")
    eventually(lambda: get(node, "good/manifests/v1")[0] == 200, "the scan ends", 60)
    bench.modelcar("pull", shim_ref(node, "good"), "--remote", "-o", bench.folder / "pulled")
    assert files_of(bench.folder / "pulled") == files_of(folder)


def test_a_stream_is_cut_once_the_scan_finds_something(bench: Bench) -> None:
    bench.evil("evil", tail=96 << 20)
    node = bench.node("streaming", enforce(scan="node", on_pending="stream"))
    largest = layers(node, "evil")[-1]
    host, port = node.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(f"GET /v2/{NAME}/models/evil/blobs/{largest['digest']} HTTP/1.1\r\nHost: shim\r\n\r\n".encode())
        received = len(client.recv(1 << 16))
        eventually(lambda: get(node, "evil/manifests/v1")[0] == 403, "the scan ends", 60)
        while piece := _recv(client):
            received += len(piece)
    assert received < largest["size"], "the whole of it was sent"
    assert "malicious" in refusal(node, "evil/manifests/v1")
    assert "malicious" in refusal(node, f"evil/blobs/{largest['digest']}")


def _recv(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 20)
    except ConnectionError:
        return b""


def test_kill_9_during_a_scan(bench: Bench) -> None:
    folder = make_checkpoint(bench.folder / "large", shards=2, elements=48 << 20, seed="large")
    bench.image("large", folder)
    node = bench.node("killed", enforce(scan="node"))
    refusal(node, "large/manifests/v1")
    eventually(lambda: workers(node), "the scan begins", 60)
    node.kill()
    eventually(lambda: not workers(node), "the scan ends with the shim", 10)
    assert list((node.root / "verdicts").glob("sha256-*.json")) == []
    node.start()
    eventually(lambda: get(node, "large/manifests/v1")[0] == 200, "the scan ends", 120)
    (verdict,) = (node.root / "verdicts").glob("sha256-*.json")
    assert json.loads(verdict.read_text())["verdict"] == "clean"


def workers(node: Node) -> list[int]:
    """The scanning processes of a node, by where they unpack things."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, command = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"registry_shim.gate.worker" in command and os.fsencode(node.root) in environment:
            found.append(int(process.name))
    return found


def test_policies_and_deny_lists_change_under_way(bench: Bench) -> None:
    bench.clean("good", signer="alice")
    policy, denied = bench.policy("policy"), bench.folder / "deny.yaml"

    def deny(*digests: str) -> None:
        entries = [{"digest": d, "reason": "CVE-2026-0001"} for d in ("sha256:" + 64 * "0", *digests)]
        document = {"apiVersion": "policy.modelcar.dev/v1alpha1", "kind": "DigestDenyList"}
        denied.write_bytes(as_file({**document, "metadata": {"name": "revoked"}, "spec": {"digests": entries}}))

    deny()
    node = bench.node("changing", enforce(policies=[str(policy)]), deny_lists=[str(denied)])
    layer = layers(node, "good")[-1]["digest"]
    assert get(node, f"good/blobs/{layer}")[0] == 200
    deny(layer)
    eventually(lambda: get(node, f"good/blobs/{layer}")[0] == 403, "the layer is denied", 30)
    assert "DigestDenyList revoked" in refusal(node, f"good/blobs/{layer}")
    assert f"a layer {layer} is revoked: CVE-2026-0001" in refusal(node, "good/manifests/v1")
    deny()
    eventually(lambda: get(node, f"good/blobs/{layer}")[0] == 200, "the layer is denied no more", 30)
    bench.policy("policy", who="mallory")
    eventually(lambda: get(node, "good/manifests/v1")[0] == 403, "the policy is read")
    assert get(node, f"good/blobs/{layer}")[0] == 403
    policy.write_text("kind: [")
    time.sleep(0.6)
    assert get(node, "good/manifests/v1")[0] == 403
    bench.policy("policy")
    eventually(lambda: get(node, "good/manifests/v1")[0] == 200, "the policy is read")


def test_what_was_verified_is_served_and_verified_without_the_upstream(bench: Bench) -> None:
    _, folder = bench.clean("good", signer="alice")
    policy = bench.policy("policy")
    node = bench.node("offline", enforce(policies=[str(policy)]), valid_seconds=1)
    bench.modelcar("pull", shim_ref(node, "good"), "--remote", "-o", bench.folder / "first")
    bench.stop_upstream()
    time.sleep(1.1)  # so that it is decided anew
    bench.modelcar("pull", shim_ref(node, "good"), "--remote", "-o", bench.folder / "second")
    node.restart()
    bench.modelcar("pull", shim_ref(node, "good"), "--remote", "-o", bench.folder / "third")
    assert files_of(bench.folder / "third") == files_of(folder)
    key = bench.folder / "alice.pub"
    assert bench.modelcar("verify", shim_ref(node, "good"), "--remote", "--key", key)["digest"] == bench.digests["good"]


def test_verdicts_count_by_whom_they_are_signed(bench: Bench) -> None:
    """A rooted node that signs a verdict for malware clears it for nobody."""
    ref, _ = bench.clean("good")
    evil = bench.evil("evil")
    bench.modelcar("scan", ref, "--remote", "--key", bench.key("scanner"))
    policy = bench.policy("policy", scanner=True)
    node = bench.node("attested", enforce(policies=[str(policy)], scan="attested"))
    assert get(node, "good/manifests/v1")[0] == 200
    forged = _forge(bench, evil)
    assert "ModelPolicy scanned: verdict by scanner" in refusal(node, "evil/manifests/v1")
    assert forged


def _forge(bench: Bench, ref: str) -> Any:
    predicate = bench.folder / "forged.json"
    clean = {"verdict": "clean", "ruleSet": {"name": "modelcar", "version": "2026.11.2"}}
    predicate.write_text(json.dumps({**clean, "scannedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}))
    return bench.modelcar(
        "attest", ref, "--type", "https://modelcar.dev/scan/v1", "--predicate", predicate,
        "--key", bench.key("node"),
    )  # fmt: skip
