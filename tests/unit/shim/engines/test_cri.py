"""The kubelet's questions, put by hand."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.errors import WorldError
from registry_shim.engines.cri import Answer, Cri, Version
from tests.unit.shim.engines.fake_cri import PULL, REMOVE, VERSION, FakeCri, fake_cri, text_fields

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeCri]:
    with fake_cri(tmp_path / "socket") as found:
        yield found


def test_who_answers(engine: FakeCri) -> None:
    assert Cri(engine.path).version() == Version(engine="containerd", version="2.1.0")


def test_an_image_is_asked_for_by_its_name(engine: FakeCri) -> None:
    image = f"ghcr.io/acme/{'long' * 50}:v1"
    assert len(image) == 216  # so that lengths take two bytes
    assert Cri(engine.path).pull(image, seconds=10).refusal is None
    Cri(engine.path).remove(image)
    request = b"\x0a\xdb\x01" + b"\x0a\xd8\x01" + image.encode()
    assert engine.asked == [(PULL, request), (REMOVE, request)]


def test_a_no_is_told_in_the_engines_words_on_one_line(engine: FakeCri) -> None:
    engine.answers[PULL] = "403 Forbidden:\n ünsigned 100%"
    assert Cri(engine.path).pull("a/b:c", seconds=10) == Answer(refusal="403 Forbidden: ünsigned 100%")


def test_an_engine_without_cri(engine: FakeCri) -> None:
    engine.answers[VERSION] = "unknown service runtime.v1.RuntimeService"
    with pytest.raises(WorldError, match="unknown service"):
        Cri(engine.path).version()


@pytest.mark.parametrize("answer", [b"\x0a\x80", b"\x08\x01", b"\x80" * 20])
def test_an_answer_that_is_none(engine: FakeCri, answer: bytes) -> None:
    engine.answers[VERSION] = answer
    with pytest.raises(WorldError, match="engine's answer"):
        Cri(engine.path).version()


def test_an_answer_in_several_frames(engine: FakeCri) -> None:
    engine.answers[PULL] = b"x" * 40_000
    assert Cri(engine.path).pull("a/b:c", seconds=10).content == b"x" * 40_000


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot talk to"):
        Cri(tmp_path / "nothing").version()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_something_else_at_the_socket(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(WorldError):
            Cri(path).version()
        thread.join()


def test_an_engine_that_never_answers(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(WorldError, match="did not answer"):
            Cri(path).pull("a/b:c", seconds=0.05)


def test_fields_of_a_version() -> None:
    assert text_fields("a", "bc") == b"\x0a\x01a\x12\x02bc"


def test_calls_are_told_of(engine: FakeCri, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "registry_shim"):
        Cri(engine.path).version()
        with pytest.raises(WorldError):
            Cri(tmp_path / "nobody").version()
    method = "/runtime.v1.RuntimeService/Version"
    assert [record.getMessage() for record in caplog.records] == [
        f"POST unix://{engine.path}{method}",
        f"POST unix://{tmp_path}/nobody{method}: FileNotFoundError",
    ]
