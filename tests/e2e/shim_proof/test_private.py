"""What is private at the upstream is private at the shim, and no secret is ever written."""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.shim_proof import checks
from tests.e2e.shim_proof.clients import Download, blob_path, download, get, manifest_path
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.library import Blob
from tests.e2e.shim_proof.node import NAME, Node
from tests.e2e.shim_proof.sizes import MIB, SEED
from tests.e2e.shim_proof.tokens import Auth, User
from tests.e2e.shim_proof.upstream import Upstream

pytestmark = pytest.mark.slow

PASSWORD = "correct-horse-battery"
ALICE = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
SECRETS = "org/secrets"
PUBLIC = "org/public"
USERS = {"alice": User(password=PASSWORD, repositories=[SECRETS]), "bob": User(password="bobs", repositories=["org/b"])}
BOB = "Basic " + base64.b64encode(b"bob:bobs").decode()


@pytest.fixture
def blob(origin: Upstream) -> Blob:
    """In a private repository that alice may read; a public one has another."""
    origin.guard(Auth(users=USERS))
    blob = origin.library.noise(MIB, SEED)
    origin.library.image(SECRETS, "v1", blob, private=True)
    origin.library.image("org/b", "v1", origin.library.noise(1000, SEED + 1), private=True)
    origin.library.image(PUBLIC, "v1", origin.library.noise(1000, SEED + 2))
    return blob


@pytest.fixture
def alices(shim: Node, origin: Upstream, blob: Blob) -> Iterator[str]:
    """Her token, with which all of the repository came into the cache. Afterwards nothing that is secret lies about."""
    token = checks.token_for(origin, SECRETS, ALICE)
    headers = {"Authorization": token}
    assert get(shim.address, manifest_path(SECRETS, "v1"), headers).status == 200
    download(shim.address, Download(path=blob_path(SECRETS, blob.digest), blob=blob, headers=headers))
    yield token
    everything = list(_small_files(shim.root))
    checks.nobody_learns([token.removeprefix("Bearer "), PASSWORD, ALICE[6:]], shim.log.read_text(), *everything)


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def doors(origin: Upstream, blob: Blob) -> list[str]:
    """Every way to something of the private repository."""
    manifest = next(iter(line for line in origin.journal() if "/manifests/" in line["path"]))["path"].rpartition("/")[2]
    return [
        blob_path(SECRETS, blob.digest),
        manifest_path(SECRETS, "v1"),
        manifest_path(SECRETS, manifest),
        f"/v2/{NAME}/{SECRETS}/tags/list",
        f"/v2/{SECRETS}/blobs/{blob.digest}?ns={NAME}",
        f"/v2/{SECRETS}/manifests/v1?ns={NAME}",
    ]


def test_the_challenge_is_the_upstreams(shim: Node, origin: Upstream, blob: Blob) -> None:
    reply = get(shim.address, manifest_path(SECRETS, "v1"))
    assert reply.status == 401
    assert f'realm="http://{origin.address}/token"' in reply.headers["www-authenticate"]
    assert f"repository:{SECRETS}:pull" in reply.headers["www-authenticate"]


def test_nobody_else_gets_it(shim: Node, origin: Upstream, blob: Blob, alices: str) -> None:
    others = {
        "nobody": {},
        "anyone": {"Authorization": checks.token_for(origin, PUBLIC)},
        "an anonymous scope": {"Authorization": checks.token_for(origin, SECRETS)},
        "bob": {"Authorization": checks.token_for(origin, "org/b", BOB)},
        "bob, who asks for it": {"Authorization": checks.token_for(origin, SECRETS, BOB)},
        "garbage": {"Authorization": "Bearer garbage"},
        "basic": {"Authorization": BOB},
        "empty": {"Authorization": "Bearer "},
        "hers, cut off": {"Authorization": alices[:-1]},
        "another case": {"Authorization": alices.swapcase()},
    }
    for who, headers in others.items():
        for path in doors(origin, blob):
            for extra in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": f'"{blob.digest}"'}):
                checks.refused(shim, path, secret=blob.content()[:32], headers={**headers, **extra})
            assert get(shim.address, path, headers, method="HEAD").status >= 400, (who, path)


def test_a_token_for_one_repository_does_not_open_another(
    shim: Node, origin: Upstream, blob: Blob, alices: str
) -> None:
    """Nor does a repository of one's own, though the cache has the blob."""
    bob = {"Authorization": checks.token_for(origin, "org/b", BOB)}
    for repository in ("org/b", PUBLIC):
        checks.refused(shim, blob_path(repository, blob.digest), secret=blob.content()[:32], headers=bob)
    checks.refused(shim, manifest_path("org/b", "v1"), headers={"Authorization": alices})


def test_a_cache_without_its_upstream_does_not_open(shim: Node, origin: Upstream, blob: Blob, alices: str) -> None:
    paths = doors(origin, blob)
    origin.misbehave(Fault(wrong=Wrong.STATUS, path="", method=""))
    for gone in (False, True):
        if gone:
            origin.kill()
        for path in paths:
            checks.refused(shim, path, secret=blob.content()[:32])
            checks.refused(shim, path, secret=blob.content()[:32], headers={"Authorization": "Bearer garbage"})


def test_other_users_of_the_machine_see_nothing(shim: Node, alices: str) -> None:
    """The folder that the shim makes is its own; what a person made beforehand stays as it is."""
    assert shim.root.stat().st_mode & 0o077 == 0


def test_a_restart_does_not_open(shim: Node, origin: Upstream, blob: Blob, alices: str) -> None:
    shim.restart()
    for path in doors(origin, blob):
        checks.refused(shim, path, secret=blob.content()[:32])


def test_a_token_ends(forgetful: Node, origin: Upstream, blob: Blob) -> None:
    """What was answered for it is remembered, but not for longer than is configured."""
    origin.guard(Auth(users=USERS, lifetime=1.0))

    def opened(path: str) -> dict[str, str]:
        """A token that was taken; on a machine that pauses, one may end on its way."""
        for _ in range(10):
            headers = {"Authorization": checks.token_for(origin, SECRETS, ALICE)}
            if get(forgetful.address, path, headers).status == 200:
                return headers
        pytest.fail(f"no token opened {path}")

    tokens = {path: opened(path) for path in (manifest_path(SECRETS, "v1"), blob_path(SECRETS, blob.digest))}
    time.sleep(2.5)
    for path, headers in tokens.items():
        checks.refused(forgetful, path, secret=blob.content()[:32], headers=headers)


@pytest.mark.soak
def test_a_long_transfer_outlives_its_token(shim: Node, origin: Upstream) -> None:
    """The client comes back with a fresh one; what was begun goes on."""
    blob = origin.library.noise(12 * MIB, SEED)
    origin.library.image(SECRETS, "v1", blob, private=True)
    origin.guard(Auth(users=USERS, lifetime=1.5))
    origin.misbehave(Fault(wrong=Wrong.SLOW, amount=2 * MIB))
    path, position = blob_path(SECRETS, blob.digest), 0
    deadline = time.monotonic() + 60
    while position < blob.size:
        assert time.monotonic() < deadline
        headers = {"Authorization": checks.token_for(origin, SECRETS, ALICE)}
        end = min(position + 4 * MIB, blob.size)
        download(shim.address, Download(path=path, blob=blob, offset=position, end=end, headers=headers), within=30)
        position = end
    assert origin.blob_bytes <= 1.2 * blob.size


def test_a_redirect_learns_nothing(shim: Node, origin: Upstream, blob: Blob) -> None:
    """The CDN gets no token, and its signature is not written anywhere."""
    origin.misbehave(Fault(wrong=Wrong.REDIRECT))
    headers = {"Authorization": checks.token_for(origin, SECRETS, ALICE)}
    download(shim.address, Download(path=blob_path(SECRETS, blob.digest), blob=blob, headers=headers))
    to_cdn = [line for line in origin.journal() if line["cdn"]]
    assert to_cdn
    assert all("authorization" not in line for line in to_cdn)
    everything = list(_small_files(shim.root))
    checks.nobody_learns(["CDN-SIGNATURE"], shim.log.read_text(), *everything)


@pytest.mark.soak
def test_errors_tell_no_secret(shim: Node, origin: Upstream, blob: Blob) -> None:
    origin.misbehave(Fault(wrong=Wrong.REDIRECT), Fault(wrong=Wrong.CUT, path="/cdn/", after=10))
    headers = {"Authorization": checks.token_for(origin, SECRETS, ALICE)}
    try:
        reply = get(shim.address, blob_path(SECRETS, blob.digest), headers, within=40)
        said = reply.body.decode("latin-1") if reply.status != 200 else ""
    except (OSError, http.client.HTTPException) as e:  # cut short is as good an answer
        said = str(e)
    checks.nobody_learns(["CDN-SIGNATURE", headers["Authorization"][7:]], said, shim.log.read_text())


def _small_files(root: Path) -> Iterator[str]:
    """Their content; what arrives is renamed and removed meanwhile."""
    for path in _files(root):
        with suppress(FileNotFoundError):
            if path.stat().st_size < MIB:
                yield path.read_bytes().decode("latin-1")
