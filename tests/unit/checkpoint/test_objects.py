"""s3:// with the real client against an S3 server in another process."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from modelcar.backoff import Backoff
from modelcar.checkpoint import Checkpoint, HubOptions, open_checkpoint, pieces
from modelcar.checkpoint.objects.hedging import Hedge
from modelcar.checkpoint.objects.names import parse_location
from modelcar.checkpoint.objects.source import ObjectSource, open_objects
from modelcar.errors import EmptySource, ModelcarError, SourceChanged, SourceError, UsageError, WorldError
from tests.support.objects import KEY, SECRET, Door, ObjectServer, object_server, open_door
from tests.support.weights import safetensors_bytes

pytestmark = pytest.mark.slow

BIG = safetensors_bytes({"a": ("U8", (300_000,), bytes(range(250)) * 1200)})
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": BIG,
    "tokenizer.json": b"{}",
    "sub/a.txt": b"a",
    "sub/b ü+%.txt": b"b",
}
FOLDER = "s3://models/llm/v1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with object_server(tmp_path_factory.mktemp("objects")) as server:
        server.make_bucket("models")
        yield server


@pytest.fixture
def door(server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """The way to the bucket `models`, in which the model lies as `llm/v1`."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELCAR_OBJECTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("modelcar.checkpoint.objects.source._BACKOFF", Backoff(0.01, 0.01))
    monkeypatch.setattr(pieces, "PIECE", 65536)
    monkeypatch.setattr(pieces, "_LEAST_PIECE", 65536)
    server.put_all(
        "models/llm/v1",
        {
            path.replace("ü", "%C3%BC").replace("+%", "%2B%25").replace(" ", "%20"): content
            for path, content in MODEL.items()
        },
    )
    with open_door(server) as door:
        for name, value in server.environment(door.address).items():
            monkeypatch.setenv(name, value)
        yield door


def contents(checkpoint: Checkpoint) -> dict[str, bytes]:
    return {file.path: file.source.read_bytes() for file in checkpoint.files}


def opened(source: str = FOLDER) -> ObjectSource:
    return open_objects(parse_location(source), lambda _: True)


def refused(door: Door, status: int, body: str) -> None:
    """From now on the store says that."""

    def refuse(request: BaseHTTPRequestHandler) -> bool:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body.encode())
        return True

    door.trouble = refuse


def test_all_of_it_comes(door: Door) -> None:
    checkpoint = open_checkpoint(FOLDER)
    assert contents(checkpoint) == MODEL
    assert checkpoint.remote is None
    listings = [asked for asked in door.asked if "list-type" in asked.path]
    assert len(listings) == 2, "five objects are two pages"


def test_weights_stay_where_they_are_until_they_are_wanted(door: Door) -> None:
    checkpoint = open_checkpoint(FOLDER, lazy=True)
    assert [tensor.name for tensor in checkpoint.headers()["model.safetensors"].tensors] == ["a"]
    assert door.sent_of(".safetensors") < 2048
    assert checkpoint.provenance.repo is None
    assert contents(checkpoint.local()) == MODEL
    ranges = {asked.range for asked in door.asked if asked.path.endswith(".safetensors") and asked.sent > 30_000}
    assert len(ranges) == 5, "it came by ranges"


def test_what_was_brought_is_not_brought_again(door: Door) -> None:
    open_checkpoint(FOLDER)
    door.asked.clear()
    assert contents(open_checkpoint(f"{FOLDER}/")) == MODEL
    assert all("list-type" in asked.path for asked in door.asked)


def test_another_version_is_brought_anew(door: Door, server: ObjectServer) -> None:
    open_checkpoint(FOLDER)
    server.put("models/llm/v1/tokenizer.json", b"[]")
    assert contents(open_checkpoint(FOLDER)) == {**MODEL, "tokenizer.json": b"[]"}


def test_an_object_that_changes_under_our_hands(door: Door, server: ObjectServer) -> None:
    checkpoint = open_checkpoint(FOLDER, lazy=True)
    server.put("models/llm/v1/model.safetensors", BIG[:-1] + b"?")
    with pytest.raises(SourceChanged, match=r"model.safetensors of s3://models/llm/v1 is not what it was"):
        checkpoint.local()


def test_a_store_that_does_not_know_conditions(door: Door, server: ObjectServer) -> None:
    source = opened()
    file = next(file for file in source.files if file.path == "model.safetensors")
    server.put("models/llm/v1/model.safetensors", BIG[:-1] + b"?")

    def forget(request: BaseHTTPRequestHandler) -> bool:
        del request.headers["If-Match"]
        return False

    door.trouble = forget
    with pytest.raises(SourceChanged):
        source.read(file, 0, 10)


def test_one_object(door: Door) -> None:
    assert contents(open_checkpoint(f"{FOLDER}/model.safetensors")) == {"model.safetensors": BIG}


def test_a_folder_that_a_console_made(door: Door, server: ObjectServer) -> None:
    server.put_all("models/made", {"": b"", "in/": b"", "in/model.safetensors": BIG})
    assert [file.path for file in opened("s3://models/made").files] == ["in/model.safetensors"]


def test_patterns(door: Door) -> None:
    only = HubOptions(allow_patterns=("*.safetensors", "sub/*"), ignore_patterns=("*/b*.txt",))
    checkpoint = open_checkpoint(FOLDER, hub=only)
    assert [file.path for file in checkpoint.files] == ["model.safetensors", "sub/a.txt"]
    with pytest.raises(EmptySource, match="no file of s3://models/llm/v1 is wanted"):
        open_checkpoint(FOLDER, hub=HubOptions(allow_patterns=("*.gguf",)))


def test_a_straggler_is_asked_for_again(door: Door) -> None:
    source = opened()
    source._hedge = hedge = Hedge(at_first=0.2)
    file = next(file for file in source.files if file.path == "model.safetensors")
    over = threading.Event()
    stalled = threading.Lock()

    def stall(request: BaseHTTPRequestHandler) -> bool:
        if not stalled.acquire(blocking=False):
            return False
        over.wait(60)
        request.close_connection = True
        return True

    door.trouble = stall
    assert source.read(file, 1000, 2000) == BIG[1000:2000]
    assert not over.is_set()
    over.set()
    assert hedge.again == 1


def test_bytes_are_written_as_they_come(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """And never again once they are here: a straggler may end when their file has its name."""
    monkeypatch.setattr("modelcar.checkpoint.objects.source._PART", 10_000)
    source = opened()
    source._hedge = hedge = Hedge(at_first=0.2)
    file = next(file for file in source.files if file.path == "model.safetensors")
    over, late = threading.Event(), threading.Lock()
    written: list[tuple[int, bytes]] = []

    def stall(_: BaseHTTPRequestHandler) -> bool:
        if late.acquire(blocking=False):
            over.wait(60)
        return False

    door.trouble = stall
    source.copy(file, 1000, 200_000, lambda offset, data: written.append((offset, bytes(data))))
    assert hedge.again == 1
    assert b"".join(data for _, data in written) == BIG[1000:200_000]
    assert [offset for offset, _ in written] == [
        1000 + sum(len(d) for _, d in written[:n]) for n in range(len(written))
    ]
    parts = len(written)
    assert parts > 1
    over.set()
    for thread in threading.enumerate():
        if thread.name == "modelcar-objects":
            thread.join(60)
    assert len(written) == parts


def test_a_body_that_ends_early_goes_on(door: Door) -> None:
    source = opened()
    file = next(file for file in source.files if file.path == "model.safetensors")
    cut = threading.Lock()
    content = bytearray(len(BIG))

    def hang_up(request: BaseHTTPRequestHandler) -> bool:
        if not cut.acquire(blocking=False):
            return False
        request.send_response(206)
        request.send_header("Content-Range", f"bytes 0-{len(BIG) - 1}/{len(BIG)}")
        request.send_header("ETag", file.version)
        request.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        request.send_header("Content-Length", str(len(BIG)))
        request.end_headers()
        request.wfile.write(BIG[:1000])
        request.close_connection = True
        return True

    def write(offset: int, data: memoryview) -> None:
        content[offset : offset + len(data)] = data

    door.trouble = hang_up
    source.copy(file, 0, len(BIG), write)
    assert content == BIG
    assert door.asked[-1].range == f"bytes=1000-{len(BIG) - 1}"


def test_a_failure_that_passes(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened()
    file = next(file for file in source.files if file.path == "model.safetensors")
    failures = iter([True, True])

    def fail(request: BaseHTTPRequestHandler) -> bool:
        if next(failures, False):
            request.send_error(503)
            return True
        return False

    door.trouble = fail
    assert source.read(file, 5, 50) == BIG[5:50]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://no-such-bucket/llm", r"there is no bucket s3://no-such-bucket \(NoSuchBucket\)"),
        ("s3://models/llm/v2", "there is nothing at s3://models/llm/v2"),
        ("s3://models/llm/v", "there is nothing at s3://models/llm/v"),
        ("s3://", "names no bucket"),
        ("s3://Models!/x", "names no bucket"),
        ("s3://models/a//b", "a part of its path is empty"),
        ("s3://models/../b", "a part of its path is empty or made of dots"),
    ],
)
def test_what_is_not_there(door: Door, source: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_checkpoint(source)
    assert caught.value.hint
    assert caught.value.exit_status == 2


def test_a_bucket_that_vanishes(door: Door) -> None:
    checkpoint = open_checkpoint(FOLDER, lazy=True)
    refused(door, 404, "<Error><Code>NoSuchBucket</Code></Error>")
    with pytest.raises(ModelcarError, match="there is no bucket s3://models"):
        checkpoint.local()


@pytest.mark.parametrize(
    ("status", "code", "said", "hint"),
    [
        (403, "InvalidAccessKeyId", "to these credentials", "AWS_PROFILE"),
        (403, "SignatureDoesNotMatch", "to these credentials", "AWS_SECRET_ACCESS_KEY"),
        (401, "Strange", "to these credentials", "AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", "to these credentials", "AWS_SECRET_ACCESS_KEY"),
        (400, "AuthorizationHeaderMalformed", "in another region", "AWS_REGION"),
        (418, "Teapot", r"cannot read s3://models/llm/v1 \(Teapot\)", "try again"),
    ],
)
def test_refusals(door: Door, status: int, code: str, said: str, hint: str) -> None:
    refused(door, status, f"<Error><Code>{code}</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId>{SECRET}</Error>")
    with pytest.raises(WorldError, match=said) as caught:
        open_checkpoint(FOLDER)
    assert caught.value.exit_status == 3
    assert hint in (caught.value.hint or "")
    shown = f"{caught.value} {caught.value.hint}"
    assert KEY not in shown
    assert SECRET not in shown
    assert "\n" not in shown


def test_no_credentials(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{door.address}")
    with pytest.raises(WorldError, match="s3://models/llm/v1") as caught:
        open_checkpoint(FOLDER)
    assert "AWS_PROFILE" in (caught.value.hint or "")


def test_no_network(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(WorldError, match="cannot read s3://models/llm/v1") as caught:
            open_checkpoint(FOLDER)
    assert "AWS_ENDPOINT_URL" in (caught.value.hint or "")


def test_passwords_in_names_are_not_repeated() -> None:
    with pytest.raises(SourceError, match="takes no credentials") as caught:
        open_checkpoint(f"s3://{KEY}:{SECRET}@models/llm")
    assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UsageError, match="s3:// needs the library obstore") as caught:
        open_checkpoint("s3://models/llm")
    assert caught.value.hint == "pip install 'modelcar[s3]'"


@pytest.mark.parametrize("profile", [None, "work"])
def test_profiles(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str | None) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    (tmp_path / ".aws").mkdir()
    keys = f"aws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / ".aws" / "credentials").write_text(f"[{profile or 'default'}]\n{keys}")
    section = "default" if profile is None else f"profile {profile}"
    address = f"endpoint_url = http://{door.address}\nregion = eu-central-1\n"
    (tmp_path / ".aws" / "config").write_text(f"[{section}]\n{address}")
    if profile is not None:
        monkeypatch.setenv("AWS_PROFILE", profile)
    signed = []

    def note(request: BaseHTTPRequestHandler) -> bool:
        signed.append(request.headers["Authorization"])
        return False

    door.trouble = note
    assert contents(open_checkpoint(FOLDER)) == MODEL
    assert all(f"Credential={KEY}/" in each and "/eu-central-1/s3/" in each for each in signed)


@pytest.mark.parametrize(
    ("config", "said"),
    [("", "there is no profile 'sso'"), ("[profile sso]\nsso_session = x\n", "the profile 'sso' holds no access key")],
)
def test_profiles_without_keys(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, said: str
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(config)
    monkeypatch.setenv("AWS_PROFILE", "sso")
    with pytest.raises(UsageError, match=said):
        open_checkpoint(FOLDER)
