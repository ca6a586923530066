"""Room and pre-caching of a real node: what is fetched ahead is there when its upstream is gone, and no pull is harmed
by what is evicted for another."""

from __future__ import annotations

import base64
import http.client
import json
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from registry_shim.operations.admin.client import AdminClient
from tests.e2e.support.commands import BIN, run
from tests.e2e.support.mounts import tmpfs
from tests.e2e.support.registries import docker_registry
from tests.e2e.support.small_nodes import HOST, MIB, NoRoom, Running, Upstream, call, digest_of, node
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    (tmp_path / "upstream").mkdir()
    with Upstream(tmp_path / "upstream", ("--writable",)).on() as running:
        assert isinstance(running, Upstream)
        yield running


def test_what_was_fetched_ahead_is_there_when_the_upstream_is_gone(upstream: Upstream, tmp_path: Path) -> None:
    digest = upstream.push("acme/llm", 9 * MIB, 5 * MIB, seed=1)
    with node(tmp_path / "node", upstream).on() as shim:
        shim.ask("precache", f"{HOST}/acme/llm:v1", "--wait", "--pin")
        upstream.process.send_signal(signal.SIGKILL)
        upstream.process.wait()
        assert [len(blob) for blob in shim.pull("acme/llm")] == [2, 9 * MIB, 5 * MIB]
        (image,) = shim.state()["images"]
        assert (image["digest"], image["whole"], image["pinned"]) == (digest, True, True)


def test_a_killed_shim_goes_on_where_it_was(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/llm", 40 * MIB, seed=1)
    shim = node(tmp_path / "node", upstream)
    with shim.on():
        # Slow enough that it is not over before a busy machine has looked.
        shim.ask("precache", f"{HOST}/acme/llm:v1", "--limit-rate", "4MiB/s")
        eventually(lambda: image_of(shim)["progress"]["done"] > 8 * MIB, "some of it is here", within=60)
        assert image_of(shim)["phase"] == "fetching"
        shim.process.send_signal(signal.SIGKILL)
        shim.process.wait()
    with shim.on():
        eventually(lambda: image_of(shim)["progress"]["done"] > 8 * MIB, "what was here is here", within=60)
        eventually(lambda: image_of(shim)["phase"] == "ready", "it is ready", within=60)
        assert digest_of(shim.pull("acme/llm")[1]) == digest_of(random.Random(100).randbytes(40 * MIB))


def image_of(shim: Running) -> dict[str, Any]:
    """The one image to pre-cache; asked without a program, whose start takes seconds on a busy machine."""
    found: dict[str, Any] = AdminClient(shim.root).get("precache")["images"][0]
    return found


def test_a_list_in_the_nodes_folder_is_followed(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/llm", MIB, seed=1)
    shim = node(tmp_path / "node", upstream)
    (shim.root / "precache.d").mkdir(parents=True)
    with shim.on():
        (shim.root / "precache.d" / "models.yaml").write_text(
            f"images:\n  - reference: {HOST}/acme/llm:v1\n    pin: true\n    refresh: 1h\n"
        )
        eventually(lambda: [i["phase"] for i in shim.state()["precache"]["images"]] == ["ready"], "it is", within=30)
        assert shim.state()["images"][0]["pinned"]


@pytest.mark.root
def test_a_full_disk_is_emptied_for_what_is_pulled_and_not_of_what_is_pinned(
    upstream: Upstream, tmp_path: Path
) -> None:
    for seed, name in enumerate(("first", "second", "third")):
        upstream.push(f"acme/{name}", 24 * MIB, seed=seed)
    with tmpfs(tmp_path / "disk", 64 * MIB) as disk:
        shim = node(tmp_path / "node", upstream, grace="0s", high_percent=100, low_percent=100)
        (shim.folder / "root").symlink_to(disk)
        with shim.on():
            shim.pull("acme/first")
            shim.ask("precache", f"{HOST}/acme/second:v1", "--wait", "--pin")
            shim.pull("acme/third")
            names = [name for image in shim.state()["images"] for name in image["names"]]
            assert f"{HOST}/acme/first:v1" not in names
            assert {f"{HOST}/acme/second:v1", f"{HOST}/acme/third:v1"} <= set(names)
            shim.ask("pin", f"{HOST}/acme/third:v1")
            refused = shim.ask("precache", f"{HOST}/acme/first:v1", "--wait", status=3).stderr
            assert "no room for 24.0 MiB" in refused
            status, answer = call(shim.address, "GET", f"/v2/{HOST}/acme/first/manifests/v1")
            assert status == 200, "a manifest still fits"
            layer = json.loads(answer)["layers"][0]["digest"]
            status, answer = call(shim.address, "GET", f"/v2/{HOST}/acme/first/blobs/{layer}")
            assert status >= 500
            assert len(shim.pull("acme/second")[1]) == 24 * MIB, "others go on"


def test_eviction_under_load_harms_no_pull(upstream: Upstream, tmp_path: Path) -> None:
    """Room for three of six images, and eight clients who want any of them."""
    for seed in range(6):
        upstream.push(f"acme/m{seed}", 3 * MIB, 2 * MIB, seed=seed)
    shim = node(tmp_path / "node", upstream, budget="18MiB", budget_slack=0, grace="0s")
    with shim.on(), ThreadPoolExecutor(8) as clients:

        def pull(number: int) -> None:
            source = random.Random(number)
            for _ in range(6):
                patiently(shim, f"acme/m{source.randrange(6)}")

        for done in [clients.submit(pull, number) for number in range(8)]:
            done.result()
        assert len(shim.state()["images"]) < 6
        eventually(lambda: shim.state()["space"]["taken"] <= 18 * MIB, "the budget is kept", within=15)


def test_what_a_slow_client_reads_stays_until_it_is_done(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/slow", 24 * MIB, seed=9)
    for seed in range(4):
        upstream.push(f"acme/m{seed}", 6 * MIB, seed=seed)
    shim = node(tmp_path / "node", upstream, budget="36MiB", budget_slack=0, grace="0s")
    with shim.on():
        digest = digest_of(shim.pull("acme/slow")[1])
        path = shim.root / "blobs" / "sha256" / digest.removeprefix("sha256:")
        with closing(http.client.HTTPConnection(shim.address, timeout=60)) as connection:
            connection.request("GET", f"/v2/{HOST}/acme/slow/blobs/{digest}")
            with connection.getresponse() as response:
                content = response.read(1 << 16)
                for seed in range(4):
                    patiently(shim, f"acme/m{seed}")
                    assert path.exists()
                content += response.read()
        assert digest_of(content) == digest
        eventually(lambda: gone(shim, path), "once nobody reads it, it goes", within=30)


def gone(shim: Running, path: Path) -> bool:
    shim.ask("gc", "--free", "30MiB")
    return not path.exists()


def patiently(shim: Running, name: str) -> None:
    """Pull as engines do: what finds no room at the moment is tried again."""
    for attempt in range(30):
        with suppress(NoRoom):
            shim.pull(name)
            return
        time.sleep(0.1 * (attempt + 1))
    pytest.fail(f"there was never any room for {name}")


def test_gc_frees_what_nobody_needs(upstream: Upstream, tmp_path: Path) -> None:
    for seed in range(2):
        upstream.push(f"acme/m{seed}", 2 * MIB, seed=seed)
    with node(tmp_path / "node", upstream, grace="0s").on() as shim:
        shim.pull("acme/m0")
        shim.pull("acme/m1")
        shim.ask("pin", f"{HOST}/acme/m1:v1")
        said = shim.ask("gc", "--free", "1GB", "--dry-run").stdout
        assert f"{HOST}/acme/m0:v1" in said
        assert f"{HOST}/acme/m1:v1" not in said
        assert len(shim.state()["images"]) == 2
        shim.ask("gc", "--free", "1GB")
        assert [image["names"] for image in shim.state()["images"]] == [[f"{HOST}/acme/m1:v1"]]
        assert len(shim.pull("acme/m0")[1]) == 2 * MIB, "what went comes again"


def test_what_is_revoked_is_served_to_nobody_even_after_a_restart(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/m", 2 * MIB, seed=1)
    shim = node(tmp_path / "node", upstream)
    with shim.on():
        layer = digest_of(shim.pull("acme/m")[1])
        AdminClient(shim.root).post("revoked", digest=layer, reason="CVE-2026-0001")
        status, answer = call(shim.address, "GET", f"/v2/{HOST}/acme/m/blobs/{layer}")
        assert status == 403
        assert b"CVE-2026-0001" in answer
    with shim.on():
        assert call(shim.address, "GET", f"/v2/{HOST}/acme/m/blobs/{layer}")[0] == 403
        assert not (shim.root / "blobs" / "sha256" / layer.removeprefix("sha256:")).exists()
        refused = shim.ask("precache", f"{HOST}/acme/m:v1", "--wait", "--pin", status=1).stderr
        assert "CVE-2026-0001" in refused
        assert shim.state()["pins"] == []
        AdminClient(shim.root).delete("revoked", digest=layer)
        assert call(shim.address, "GET", f"/v2/{HOST}/acme/m/blobs/{layer}")[0] == 200


def test_two_shims_on_one_folder_are_refused(upstream: Upstream, tmp_path: Path) -> None:
    shim = node(tmp_path / "node", upstream)
    with shim.on():
        done = run(BIN / "registry-shim", "serve", "--root", shim.root, *shim.options, check=False)
        assert done.returncode == 3
        assert "is in use by another registry-shim" in done.stderr
        shim.ask("status")  # and the first one still has its socket


def test_a_controller_asks_for_images_by_a_token_and_for_nothing_else(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/llm", MIB, seed=1)
    tokens, token = tmp_path / "tokens", "0123456789abcdef0123456789abcdef"
    tokens.write_text(f"controller:{token}\n")
    tokens.chmod(0o600)
    shim = node(tmp_path / "node", upstream)
    with (shim.folder / "config.yaml").open("a") as file:
        file.write(f"admin:\n  tokens_file: {tokens}\n")
    bearing = {"Authorization": f"Bearer {token}"}
    with shim.on():
        body = json.dumps({"reference": f"{HOST}/acme/llm:v1", "priority": 3}).encode()
        assert call(shim.address, "POST", "/api/v1/precache", body)[0] == 401
        assert call(shim.address, "POST", "/api/v1/precache", body, bearing)[0] == 200
        eventually(lambda: phases(shim.address, bearing) == ["ready"], "it is ready", within=30)
        assert call(shim.address, "POST", "/api/v1/gc", b"{}", bearing)[0] == 404
        assert token not in (shim.folder / "log").read_text()


@pytest.mark.debian("docker-registry", "skopeo")
def test_fetching_a_private_image_ahead_opens_it_to_nobody(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push("acme/llm", MIB, seed=1)
    login = "alice:correct-horse"
    basic = base64.b64encode(login.encode()).decode()
    logins = tmp_path / "logins.json"
    logins.write_text(json.dumps({"auths": {HOST: {"auth": basic}}}))
    logins.chmod(0o600)
    with docker_registry(tmp_path / "private", users={"alice": "correct-horse"}) as private:
        target = f"docker://{private}/acme/llm:v1"
        insecure = ("--src-tls-verify=false", "--dest-tls-verify=false", "--dest-creds", login)
        run("skopeo", "copy", *insecure, f"docker://{upstream.address}/acme/llm:v1", target)
        shim = node(tmp_path / "node", upstream)
        shim.options = shim.options[:2]
        with (shim.folder / "config.yaml").open("a") as file:
            mirrored = {"registry": HOST, "urls": [f"http://{private}"], "docker_config": str(logins)}
            file.write(f"mirror:\n  upstreams: [{json.dumps(mirrored)}]\n")
        with shim.on():
            shim.ask("precache", f"{HOST}/acme/llm:v1", "--wait")
            paths = [f"/v2/{HOST}/acme/llm/manifests/v1"]
            (image,) = shim.state()["images"]
            paths.append(f"/v2/{HOST}/acme/llm/manifests/{image['digest']}")
            layer = digest_of(random.Random(100).randbytes(MIB))
            paths.append(f"/v2/{HOST}/acme/llm/blobs/{layer}")
            for path in paths:
                assert call(shim.address, "GET", path)[0] == 401
                assert call(shim.address, "GET", path, headers={"Authorization": f"Basic {basic}"})[0] == 200
        assert "correct-horse" not in (shim.folder / "log").read_text()


def phases(address: str, headers: dict[str, str]) -> list[str]:
    status, content = call(address, "GET", "/api/v1/precache", headers=headers)
    assert status == 200
    return [image["phase"] for image in json.loads(content)["images"]]
