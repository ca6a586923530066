"""The harness finds the bugs of a double, and nothing in one without."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.shim_proof import checks
from tests.e2e.shim_proof.clients import Defect, Download, blob_path, download
from tests.e2e.shim_proof.double import BUGS, command
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.node import Node, node
from tests.e2e.shim_proof.sizes import MIB
from tests.e2e.shim_proof.tokens import Auth, User
from tests.e2e.shim_proof.upstream import Upstream

REPOSITORY = "org/model"
ALICE = "Basic " + base64.b64encode(b"alice:hunter2").decode()


def crowd_is_served_once(double: Node, origin: Upstream) -> None:
    blob = origin.library.noise(4 * MIB, seed=1)
    origin.library.image(REPOSITORY, "v1", blob)
    checks.fetched_once(double, origin, REPOSITORY, blob, clients=8, seed=1, limit=1.01 * blob.size)


def wrong_bytes_are_kept_back(double: Node, origin: Upstream) -> None:
    blob = origin.library.noise(MIB, seed=1)
    origin.library.image(REPOSITORY, "v1", blob)
    origin.misbehave(Fault(wrong=Wrong.FLIP, after=1000))
    checks.never_serves(double, blob_path(REPOSITORY, blob.digest), truth=blob.content())


def rot_is_found(double: Node, origin: Upstream) -> None:
    blob = origin.library.noise(MIB, seed=1)
    origin.library.image(REPOSITORY, "v1", blob)
    want = Download(path=blob_path(REPOSITORY, blob.digest), blob=blob)
    download(double.address, want)
    kept = double.root / blob.digest
    kept.write_bytes(b"rot" + kept.read_bytes()[3:])
    download(double.address, want)


def restart_costs_nothing(double: Node, origin: Upstream) -> None:
    blob = origin.library.noise(MIB, seed=1)
    origin.library.image(REPOSITORY, "v1", blob)
    checks.kept_over_a_restart(double, origin, REPOSITORY, blob)


def private_stays_private(double: Node, origin: Upstream) -> None:
    blob = origin.library.noise(1000, seed=1)
    origin.library.image("org/private", "v1", blob, private=True)
    origin.guard(Auth(users={"alice": User(password="hunter2", repositories=["org/private"])}))
    token = checks.token_for(origin, "org/private", ALICE)
    path = blob_path("org/private", blob.digest)
    download(double.address, Download(path=path, blob=blob, headers={"Authorization": token}))
    checks.refused(double, path)
    checks.refused(double, path, headers={"Authorization": checks.token_for(origin, REPOSITORY)})
    checks.nobody_learns([token.removeprefix("Bearer ")], double.log.read_text())


def files_stay_where_they_are(double: Node, origin: Upstream) -> None:
    secret = double.folder / "secret"
    secret.write_text("of this machine")
    for path in ("../secret", "%2e%2e/secret", "..%2fsecret"):
        checks.refused(double, blob_path(REPOSITORY, path), secret=secret.read_bytes())


def only_upstreams_are_asked(double: Node, origin: Upstream) -> None:
    before = len(origin.journal())
    with suppress(Defect):
        checks.refused(double, f"/v2/org/model/manifests/v1?ns={origin.cdn}")
    if len(origin.journal()) > before:
        raise Defect("an address that a client chose was asked")


CHECKS: list[Callable[[Node, Upstream], None]] = [
    crowd_is_served_once,
    wrong_bytes_are_kept_back,
    rot_is_found,
    restart_costs_nothing,
    private_stays_private,
    files_stay_where_they_are,
    only_upstreams_are_asked,
]
FOUND_BY = {
    "fetches-for-everyone": crowd_is_served_once,
    "ignores-ranges": crowd_is_served_once,
    "believes-the-upstream": wrong_bytes_are_kept_back,
    "serves-rot": rot_is_found,
    "forgets": restart_costs_nothing,
    "leaks-secrets": private_stays_private,
    "serves-everyone": private_stays_private,
    "opens-any-file": files_stay_where_they_are,
    "fetches-anything": only_upstreams_are_asked,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nothing_is_found_where_nothing_is(
    check: Callable[[Node, Upstream], None], origin: Upstream, tmp_path: Path
) -> None:
    with node(tmp_path / "double", origin.address, program=command()) as double:
        check(double, origin)


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(bug: str, origin: Upstream, tmp_path: Path) -> None:
    with node(tmp_path / "double", origin.address, program=command(bug)) as double, pytest.raises(Defect):
        FOUND_BY[bug](double, origin)
