"""Sessions of layers that are given up because of another one: deleted where nobody would go on with them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelcar.errors import Denied, Forbidden, StorageError, Unreachable
from modelcar.registry import Registry
from tests.support.scripted_registry import DROP, Default, Reply, Request, ScriptedRegistry, error

from .conftest import Client, blob, literal, reference

pytestmark = pytest.mark.slow

SIZE = 1 << 20


class Standing:
    """An upload of a layer that a registry does not answer until the test ends it."""

    def __init__(self, server: ScriptedRegistry) -> None:
        self.server, self.begun, self.ended = server, threading.Event(), threading.Event()
        server.on("PUT", "/uploads/", self._stand)

    def _stand(self, request: Request, _default: Default) -> Reply:
        self.begun.set()
        self.ended.wait(30)
        return Reply(DROP)

    def fail_beside_it(self, registry: Registry, failure: BaseException | Reply) -> None:
        """Another layer is refused with this answer, or the block raises it."""
        try:
            with registry.uploading(reference(self.server)) as upload:
                upload(blob(SIZE, 1)[0], literal(blob(SIZE, 1)[1]))
                assert self.begun.wait(10)
                if isinstance(failure, BaseException):
                    raise failure
                self.server.on("POST", "/uploads/", failure, times=9)
                upload(blob(SIZE, 2)[0], literal(blob(SIZE, 2)[1]))
        finally:
            self.ended.set()


@pytest.fixture
def standing(server: ScriptedRegistry) -> Standing:
    return Standing(server)


def journal(state: Path) -> list[Path]:
    return list((state / "uploads").glob("*.json"))


def test_another_layer_is_denied(server: ScriptedRegistry, standing: Standing, client: Client, tmp_path: Path) -> None:
    with pytest.raises(Forbidden):
        standing.fail_beside_it(client(state=tmp_path), error(403, "DENIED", "no"))
    assert server.deleted_uploads == ["s0"]
    assert not server.uploads
    assert not journal(tmp_path)


@pytest.mark.parametrize("state", [True, False])
def test_the_scan_says_no(
    server: ScriptedRegistry, standing: Standing, client: Client, tmp_path: Path, state: bool
) -> None:
    with pytest.raises(Denied):
        standing.fail_beside_it(client(state=tmp_path if state else None), Denied("malicious"))
    assert server.deleted_uploads == ["s0"]
    assert not journal(tmp_path)


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt(), StorageError("the disk is full"), Unreachable("the line is down")]
)
def test_what_may_go_on_stays(
    server: ScriptedRegistry, standing: Standing, client: Client, tmp_path: Path, failure: BaseException
) -> None:
    with pytest.raises(type(failure)):
        standing.fail_beside_it(client(state=tmp_path), failure)
    assert not server.deleted_uploads
    assert len(journal(tmp_path)) == 1


def test_what_nobody_remembers_does_not_stay(server: ScriptedRegistry, standing: Standing, client: Client) -> None:
    with pytest.raises(KeyboardInterrupt):
        standing.fail_beside_it(client(), KeyboardInterrupt())
    assert server.deleted_uploads == ["s0"]


def test_a_registry_that_stands_still_is_not_waited_for(
    server: ScriptedRegistry, standing: Standing, client: Client, tmp_path: Path
) -> None:
    def never(_request: Request, _default: Default) -> Reply:
        server.closing.wait(60)
        return Reply(DROP)

    server.on("DELETE", "/uploads/", never)
    with pytest.raises(Forbidden):  # within the test's time: the DELETE alone would take a minute
        standing.fail_beside_it(client(state=tmp_path), error(403, "DENIED", "no"))
