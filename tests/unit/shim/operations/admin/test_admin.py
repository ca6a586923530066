"""The administration API, through its socket."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.errors import NotFound, StorageError, UsageError, WorldError
from modelcar.oci import Digest
from modelcar.serving.messages import BytesBody, Request, Response
from modelcar.signing.policy import load
from registry_shim.operations.admin.client import AdminClient
from registry_shim.operations.admin.control import control_listener
from registry_shim.operations.admin.revoked import Revoked
from registry_shim.operations.admin.tokens import RemoteAdmin
from tests.support.waiting import eventually
from tests.unit.shim.space.node import Node

from .node import Administered, listening

pytestmark = pytest.mark.slow

V1 = "r.example/org/m:v1"
TOKEN = "0123456789abcdef"


@pytest.fixture
def node(tmp_path: Path) -> Administered:
    return Administered(Node(tmp_path / "root"))


@pytest.fixture
def client(node: Administered) -> Iterator[AdminClient]:
    with node.admin() as admin, listening(node.node.root, admin.handle):
        yield AdminClient(node.node.root)


def test_status_tells_everything(node: Administered, client: AdminClient) -> None:
    layer = node.node.layer(1)
    manifest = node.node.image(V1, layer)
    client.post("pins", reference=V1)
    status = client.get("status")
    assert status["about"]["upstreams"] == ["r.example"]
    (image,) = status["images"]
    assert (image["names"], image["whole"], image["pinned"], image["verdict"]) == ([V1], True, True, None)
    assert status["pins"] == [{"reference": V1, "digest": str(manifest.digest)}]
    assert status["space"]["taken"] > 0
    assert status["precache"]["images"] == status["blobs"] == status["revoked"] == status["peers"] == []


def test_pins_and_eviction(node: Administered, client: AdminClient) -> None:
    layer = node.node.layer(1)
    node.node.image(V1, layer)
    client.post("pins", reference=V1)
    assert client.post("gc", free=1 << 40)["images"] == []
    client.delete("pins", reference=V1)
    assert client.post("gc", free=1 << 40, dry_run=True)["images"][0]["names"] == [V1]
    assert node.node.has(layer)
    done = client.post("gc", free=1 << 40)
    assert done["freed"] >= layer.size
    assert not node.node.has(layer)
    assert client.get("images") == {"images": []}


def test_precaching(node: Administered, client: AdminClient) -> None:
    node.upstream.images.add(V1, b"layer")
    held = node.upstream.images.hold(b"layer")
    assert client.post("precache", reference=V1, priority=2, pin=True)["sources"] == ["api"]
    eventually(lambda: client.get("precache", reference=V1)["phase"] == "fetching")
    node.upstream.images.let(held)
    eventually(lambda: client.get("precache", reference=V1)["phase"] == "ready")
    assert [image["reference"] for image in client.get("precache")["images"]] == [V1]
    client.post("precache/limit", rate=1000)
    assert node.upstream.rates[-1] == 1000.0
    client.delete("precache", reference=V1)
    with pytest.raises(NotFound, match="not among the images to pre-cache"):
        client.get("precache", reference=V1)


def test_revoking_is_written_down_before_the_gate_is_told(node: Administered, client: AdminClient) -> None:
    digest = Digest.of(b"evil")
    client.post("revoked", digest=str(digest), reason="CVE-2026-0001")
    assert node.calls == ["judge"]
    (list_of_the_gate,) = load([node.node.root / "revoked.yaml"]).deny_lists
    assert list_of_the_gate.digests[digest] == "CVE-2026-0001"
    assert client.get("revoked")["revoked"] == [{"digest": str(digest), "reason": "CVE-2026-0001"}]
    client.delete("revoked", digest=str(digest))
    assert digest not in load([node.node.root / "revoked.yaml"]).deny_lists[0].digests
    with pytest.raises(NotFound, match="was not revoked on this node"):
        client.delete("revoked", digest=str(digest))


def test_a_revocation_that_the_gate_cannot_take_over_is_said(node: Administered, client: AdminClient) -> None:
    node.readable = False
    with pytest.raises(StorageError, match="cannot read its policies"):
        client.post("revoked", digest=str(Digest.of(b"evil")))


def test_reload_and_drain(node: Administered, client: AdminClient) -> None:
    client.post("reload")
    client.post("drain")
    assert node.calls == ["reload", "drain"]
    node.readable = False
    with pytest.raises(UsageError, match="spase is not a setting"):
        client.post("reload")


@pytest.mark.parametrize(
    ("method", "path", "body", "problem"),
    [
        ("POST", "pins", {"reference": "::"}, "is not"),
        ("POST", "pins", {}, "reference is missing"),
        ("DELETE", "pins", None, "the parameter reference is missing"),
        ("POST", "gc", {"free": -1}, "free is missing or not a size"),
        ("POST", "gc", {"dry_run": "yes"}, "neither true nor false"),
        ("POST", "precache", {"reference": V1, "refresh": 0.5}, "refresh is in seconds"),
        ("POST", "precache", {"reference": V1, "source": "file:x"}, "source is command or api"),
        ("POST", "revoked", {"digest": "sha256:1"}, "sha256"),
        ("PUT", "pins", {}, "pins takes POST, DELETE"),
    ],
)
def test_what_makes_no_sense_is_refused(
    client: AdminClient, method: str, path: str, body: dict[str, object] | None, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        client.call(method, path, body=body)


def test_names_that_are_no_text_are_no_references(node: Administered, client: AdminClient) -> None:
    for ask in (client.post, client.delete):
        with pytest.raises(UsageError, match="is not an image reference"):
            ask("pins", reference="\udcff")


def test_unknown_paths(client: AdminClient) -> None:
    with pytest.raises(NotFound, match="not part of this API"):
        client.get("secrets")


def test_the_socket_is_its_owners_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    with control_listener(tmp_path):
        mode = (tmp_path / "control.sock").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert [path.name for path in tmp_path.iterdir()] == ["control.sock"]
    assert list(tmp_path.iterdir()) == []


def test_a_dead_shims_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(WorldError, match="no shim runs over"):
        AdminClient(tmp_path).get("status")
    with control_listener(tmp_path):
        assert stat.S_ISSOCK((tmp_path / "control.sock").stat().st_mode)
    (tmp_path / "control.sock").write_text("precious")
    with pytest.raises(StorageError, match="is in the way"), control_listener(tmp_path):
        raise AssertionError
    assert (tmp_path / "control.sock").read_text() == "precious"


def test_a_long_path_is_no_problem(tmp_path: Path) -> None:
    root = tmp_path / ("d" * 200)
    root.mkdir()

    async def answer(_: Request) -> Response:
        return Response(status=200, body=b'{"here": true}')

    with listening(root, answer):
        assert AdminClient(root).get("status") == {"here": True}


def test_without_a_shim_one_line_says_so(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(WorldError, match="no shim runs over") as e:
            AdminClient(root).get("status")
        assert "without upstreams" in (e.value.hint or "")


@pytest.mark.parametrize("nonsense", [b"hello", b"[" * 100_000])
def test_a_server_that_answers_nonsense_is_one_line(tmp_path: Path, nonsense: bytes) -> None:
    async def answer(_: Request) -> Response:
        return Response(status=200, body=nonsense)

    with listening(tmp_path, answer), pytest.raises(WorldError, match="does not answer"):
        AdminClient(tmp_path).get("status")


def test_a_shim_of_another_version_is_one_line(tmp_path: Path) -> None:
    async def answer(_: Request) -> Response:
        return Response(status=200, body=b'{"about": {}}')

    with listening(tmp_path, answer), pytest.raises(WorldError, match="lacks 'version'"):
        AdminClient(tmp_path).get("status")["about"]["version"]


@pytest.mark.parametrize("content", [b"{", b'{"spec":{"digests":[{"digest":"x","reason":"y"}]}}'])
def test_a_damaged_list_of_what_is_revoked_stops_the_shim(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "revoked.yaml").write_bytes(content)
    with pytest.raises(StorageError, match=r"revoked\.yaml is damaged"):
        Revoked(tmp_path / "revoked.yaml")


def secret(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


async def others(_: Request) -> Response:
    return Response(status=418)


def remote(node: Administered, tokens: Path, path: str, authorization: str | None, method: str = "GET") -> Response:
    headers = {} if authorization is None else {"authorization": authorization}
    body = b'{"reference": "r.example/org/m:v1"}' if method == "POST" else b""
    request = Request(method=method, path=f"/api/v1/{path}", headers=headers, body=BytesBody(body))
    with node.admin() as admin:
        remote = RemoteAdmin(tokens, others)
        remote.admin = admin
        return asyncio.run(remote.handle(request))


def test_what_is_not_of_the_api_goes_on_to_others(node: Administered, tmp_path: Path) -> None:
    tokens = secret(tmp_path / "tokens", f"pipeline:{TOKEN}\n")
    assert remote(node, tokens, "../../v2/", None).status == 401
    request = Request(method="GET", path="/v2/")
    assert asyncio.run(RemoteAdmin(tokens, others).handle(request)).status == 418


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Bearer # a comment, as long as a token", 401),
        (f"Basic {TOKEN}", 401),
    ],
)
def test_from_elsewhere_it_takes_a_token(
    node: Administered, tmp_path: Path, authorization: str | None, status: int
) -> None:
    tokens = secret(tmp_path / "tokens", f"# a comment, as long as a token\npipeline:{TOKEN}\n")
    assert remote(node, tokens, "precache", authorization).status == status


def test_from_elsewhere_only_precaching_can_be_asked_for(node: Administered, tmp_path: Path) -> None:
    tokens = secret(tmp_path / "tokens", f"pipeline:{TOKEN}\n")
    assert remote(node, tokens, "precache", f"Bearer {TOKEN}", "POST").status == 200
    for path in ("status", "pins", "gc", "revoked", "precache/../status"):
        assert remote(node, tokens, path, f"Bearer {TOKEN}").status == 404


@pytest.mark.parametrize(("content", "mode"), [("a:short\n", 0o600), (f"{TOKEN}\n", 0o600), (f"a:{TOKEN}\n", 0o644)])
def test_tokens_that_protect_nothing_are_refused(node: Administered, tmp_path: Path, content: str, mode: int) -> None:
    tokens = secret(tmp_path / "tokens", content)
    tokens.chmod(mode)
    with pytest.raises(UsageError, match=r"less than 16 characters|is not a name, a colon|read by everyone"):
        remote(node, tokens, "precache", "Bearer ")


def test_a_token_that_is_taken_out_ends_at_once(node: Administered, tmp_path: Path) -> None:
    tokens = secret(tmp_path / "tokens", f"a:{TOKEN}\nb:{TOKEN[::-1]}\n")

    async def main() -> list[int]:
        with node.admin() as admin:
            door = RemoteAdmin(tokens, others)
            door.admin = admin
            statuses = []
            for content in (None, f"a:{TOKEN}\nb", f"a:{TOKEN}\n", ""):
                if content is not None:
                    tokens.write_text(content)
                for token in (TOKEN, TOKEN[::-1]):
                    headers = {"authorization": f"Bearer {token}"}
                    request = Request(method="GET", path="/api/v1/precache", headers=headers)
                    statuses.append((await door.handle(request)).status)
            return statuses

    both, kept, one, none = [200, 200], [200, 200], [200, 401], [401, 401]
    assert asyncio.run(main()) == [*both, *kept, *one, *none]
