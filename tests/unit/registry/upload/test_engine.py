"""Blobs on their way out: mounted, whole, in pieces; continued after a cut, and cleaned up after a failure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import (
    DigestMismatch,
    ProtocolViolation,
    RateLimited,
    RegistryError,
    Unauthorized,
    Unreachable,
)
from modelcar.layers.bytemap import ByteMap, FileRange, Literal, Zeros
from modelcar.oci import Descriptor, media_types
from tests.support.scripted_registry import DROP, Default, Reply, Request, ScriptedRegistry, changed, error
from tests.unit.registry.conftest import Client, Recorder, ask_for_login, blob, literal, reference

pytestmark = pytest.mark.slow

SIZE = 5_000_000


@pytest.fixture
def source(tmp_path: Path) -> tuple[Descriptor, ByteMap]:
    """A blob of all kinds of segments, most of it in a file."""
    _, content = blob(SIZE)
    file = tmp_path / "weights"
    file.write_bytes(content)
    whole = b"header" + bytes(70_000) + content
    descriptor = Descriptor.of(media_types.LAYER_TAR, whole)
    return descriptor, ByteMap([Literal(b"header"), Zeros(70_000), FileRange(path=file, offset=0, size=SIZE)])


Source = tuple[Descriptor, ByteMap]


def check_stored(server: ScriptedRegistry, source: Source) -> None:
    with source[1].open() as reader:
        assert server.blobs[str(source[0].digest)] == reader.read()
    assert not server.uploads


def test_one_request(server: ScriptedRegistry, client: Client, source: Source) -> None:
    progress = Recorder()
    client(progress).upload_blob(reference(server), *source)
    check_stored(server, source)
    assert [r.method for r in server.seen if r.path != "/v2/"] == ["HEAD", "POST", "PUT"]
    assert progress.done == progress.totals


def test_empty(server: ScriptedRegistry, client: Client) -> None:
    descriptor, content = blob(0)
    client().upload_blob(reference(server), descriptor, literal(content))
    assert server.blobs == {str(descriptor.digest): b""}


def test_existing(server: ScriptedRegistry, client: Client, source: Source) -> None:
    registry = client()
    registry.upload_blob(reference(server), *source)
    server.seen.clear()
    registry.upload_blob(reference(server), *source)
    assert [r.method for r in server.seen] == ["HEAD"]


def test_a_blob_of_the_wrong_size_is_uploaded_again(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.blobs[str(source[0].digest)] = b""
    client().upload_blob(reference(server), *source)
    check_stored(server, source)


def test_pieces(server: ScriptedRegistry, client: Client, source: Source) -> None:
    progress = Recorder()
    client(progress, chunk_size=2_000_000).upload_blob(reference(server), *source)
    check_stored(server, source)
    patches = server.requests("PATCH")
    assert [p.headers["Content-Range"] for p in patches] == ["0-1999999", "2000000-3999999", "4000000-5070005"]
    assert progress.done == progress.totals


def test_pieces_are_as_large_as_the_registry_asks(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.on("POST", "/uploads/", changed(headers={"OCI-Chunk-Min-Length": "3000000"}))
    client(chunk_size=1000).upload_blob(reference(server), *source)
    check_stored(server, source)
    assert len(server.requests("PATCH")) == 2


def test_pieces_go_on_where_the_registry_says(server: ScriptedRegistry, client: Client, source: Source) -> None:
    def keep_half(request: Request, default: Default) -> Reply:
        session = request.path.rpartition("/")[2]
        server.uploads[session] += request.body[: len(request.body) // 2]
        size = len(server.uploads[session])
        return Reply(202, {"Location": request.path, "Range": f"0-{size - 1}"})

    server.on("PATCH", "/uploads/", keep_half)
    client(chunk_size=2_000_000).upload_blob(reference(server), *source)
    check_stored(server, source)


def test_pieces_out_of_order_are_set_right(server: ScriptedRegistry, client: Client, source: Source) -> None:
    """416: the session has something else than we think. Ask it, and go on from there."""
    lost = changed(status=202)

    def forget(request: Request, default: Default) -> Reply:
        reply = lost(request, default)
        session = request.path.rpartition("/")[2]
        del server.uploads[session][1_000_000:]
        return replace(reply, headers={"Location": request.path})

    server.on("PATCH", "/uploads/", forget)
    progress = Recorder()
    client(progress, chunk_size=2_000_000).upload_blob(reference(server), *source)
    check_stored(server, source)
    assert any(step < 0 for step in progress.steps)
    assert progress.done == progress.totals


def test_ghcr_takes_only_small_pieces(server: ScriptedRegistry, client: Client, source: Source) -> None:
    def small_only(request: Request, default: Default) -> Reply:
        return error(416, "RANGE_INVALID") if len(request.body) > 4 << 20 else default()

    server.on("PATCH", "/uploads/", small_only, times=9)
    client(chunk_size=5 << 20).upload_blob(reference(server), *source)
    check_stored(server, source)


def test_ecr_takes_no_pieces(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.on("PATCH", "/uploads/", changed(status=201))
    client(chunk_size=1_000_000).upload_blob(reference(server), *source)
    check_stored(server, source)


@pytest.mark.parametrize("status", [400, 413, 405])
def test_registries_that_want_pieces_get_them(
    server: ScriptedRegistry, client: Client, source: Source, status: int
) -> None:
    server.on("PUT", "/uploads/", Reply(status), reads=1000)
    client().upload_blob(reference(server), *source)
    check_stored(server, source)
    assert server.requests("PATCH")


def test_a_proxy_with_a_body_limit(server: ScriptedRegistry, client: Client, source: Source) -> None:
    """nginx takes one mebibyte by default."""

    def limit(request: Request, default: Default) -> Reply:
        return Reply(413) if len(request.body) > 1 << 20 else default()

    server.on("PUT", "/uploads/", limit, times=99)
    server.on("PATCH", "/uploads/", limit, times=99)
    client(attempts=9).upload_blob(reference(server), *source)
    check_stored(server, source)


def test_a_proxy_that_takes_nothing(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.on("PUT", "/uploads/", Reply(413), times=99)
    server.on("PATCH", "/uploads/", Reply(413), times=99)
    with pytest.raises(RegistryError, match="413") as caught:
        client(attempts=9).upload_blob(reference(server), *source)
    assert "limits the size" in str(caught.value.hint)
    assert not server.uploads


def hang_up_after(server: ScriptedRegistry, method: str, n: int, *, keep: bool) -> None:
    """The connection breaks after `n` bytes of an upload, which the registry keeps or not. How much more the client has
    got rid of by then is up to the kernel."""

    def action(request: Request, _default: Default) -> Reply:
        session = request.path.rpartition("/")[2]
        if keep:
            server.uploads[session] += request.body
        return Reply(DROP)

    server.on(method, "/uploads/", action, reads=n)


@pytest.mark.parametrize("keep", [True, False])
def test_a_cut_upload_goes_on(server: ScriptedRegistry, client: Client, source: Source, keep: bool) -> None:
    hang_up_after(server, "PUT", 3_000_000, keep=keep)
    progress = Recorder()
    client(progress).upload_blob(reference(server), *source)
    check_stored(server, source)
    if keep:
        assert server.requests("PATCH")[0].headers["Content-Range"].startswith("3000000-")
    else:
        first, *again = [r for r in server.seen if r.method in ("PUT", "PATCH")]
        assert first.method == "PUT"
        assert len(first.body) == 3_000_000
        assert sum(len(r.body) for r in again) == source[0].size  # in one piece, or in pieces by now
        assert min(progress.steps) < 0
    assert progress.done == progress.totals


def test_a_cut_piece_goes_on(server: ScriptedRegistry, client: Client, source: Source) -> None:
    hang_up_after(server, "PATCH", 500_000, keep=True)
    client(chunk_size=2_000_000).upload_blob(reference(server), *source)
    check_stored(server, source)


def test_a_session_that_kept_damaged_bytes_is_not_trusted(
    server: ScriptedRegistry, client: Client, source: Source
) -> None:
    def damage(request: Request, _default: Default) -> Reply:
        server.uploads[request.path.rpartition("/")[2]] += bytes(len(request.body))
        return Reply(DROP)

    server.on("PUT", "/uploads/", damage, reads=3_000_000)
    client().upload_blob(reference(server), *source)
    check_stored(server, source)


def test_progress_makes_patience(server: ScriptedRegistry, client: Client, source: Source) -> None:
    hang_up_after(server, "PUT", 1_000_000, keep=True)
    for _ in range(4):
        hang_up_after(server, "PATCH", 500_000, keep=True)
    client(attempts=2).upload_blob(reference(server), *source)
    check_stored(server, source)


def test_a_session_that_vanishes_is_started_again(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.on("PUT", "/uploads/", error(404, "BLOB_UPLOAD_UNKNOWN"))
    client().upload_blob(reference(server), *source)
    check_stored(server, source)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_errors_that_pass(
    server: ScriptedRegistry, client: Client, source: Source, status: int, pauses: list[float]
) -> None:
    server.on("HEAD", "/blobs/", Reply(status))
    server.on("POST", "/uploads/", Reply(status))
    server.on("PUT", "/uploads/", Reply(status), times=2)
    client().upload_blob(reference(server), *source)
    check_stored(server, source)
    assert len(pauses) == 4


def test_errors_that_stay(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.on("PUT", "/uploads/", Reply(503), times=99)
    server.on("PATCH", "/uploads/", Reply(503), times=99)
    with pytest.raises(RegistryError, match="503 Service Unavailable") as caught:
        client().upload_blob(reference(server), *source)
    assert caught.value.exit_status == 3
    assert not server.uploads
    assert not server.blobs


def test_too_many_requests(server: ScriptedRegistry, client: Client, source: Source, pauses: list[float]) -> None:
    server.on("PUT", "/uploads/", Reply(429, {"Retry-After": "17"}))
    client().upload_blob(reference(server), *source)
    assert pauses == [17.0]
    server.blobs.clear()
    server.on("PUT", "/uploads/", Reply(429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimited) as caught:
        client().upload_blob(reference(server), *source)
    assert "try later" in str(caught.value.hint)


@pytest.mark.parametrize("status", [401, 403, 413, 507])
def test_an_answer_in_the_middle_is_read(server: ScriptedRegistry, client: Client, tmp_path: Path, status: int) -> None:
    """The registry refuses while we still send: its answer is reported, not the broken pipe."""
    size = 64 << 20
    file = tmp_path / "large"
    with file.open("wb") as f:
        f.truncate(size)
    descriptor = Descriptor(media_type="x", digest=blob(1)[0].digest, size=size)
    server.on("PUT", "/uploads/", error(status, "DENIED", "quota of 1 GB"), times=9, reads=1000)
    server.on("PATCH", "/uploads/", error(status, "DENIED", "quota of 1 GB"), times=9, reads=1000)
    with pytest.raises(RegistryError, match=rf"{status} .*quota of 1 GB"):
        client(timeout=30).upload_blob(reference(server), descriptor, ByteMap.of_file(file, size))
    assert not server.uploads


def test_a_registry_that_stops_reading(server: ScriptedRegistry, client: Client, tmp_path: Path) -> None:
    size = 64 << 20
    file = tmp_path / "large"
    with file.open("wb") as f:
        f.truncate(size)
    descriptor = Descriptor(media_type="x", digest=blob(1)[0].digest, size=size)

    def hang(_request: Request, _default: Default) -> Reply:
        server.closing.wait(60)
        return Reply(DROP)

    server.on("PUT", "/uploads/", hang, reads=1000)
    with pytest.raises(Unreachable, match="nothing moved"):
        client(timeout=0.3, attempts=1).upload_blob(reference(server), descriptor, ByteMap.of_file(file, size))


def test_a_digest_that_the_registry_denies(server: ScriptedRegistry, client: Client) -> None:
    descriptor, _ = blob(100)
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        client().upload_blob(reference(server), descriptor, literal(bytes(100)))
    assert not server.blobs
    assert server.deleted_uploads
    assert len(server.requests("PUT")) == 5  # it might have been damaged on its way
    assert not server.uploads


def test_a_registry_that_claims_another_digest(server: ScriptedRegistry, client: Client, source: Source) -> None:
    other = str(blob(1)[0].digest)
    server.on("PUT", "/uploads/", changed(headers={"Docker-Content-Digest": other}))
    with pytest.raises(DigestMismatch, match="stored it as"):
        client().upload_blob(reference(server), *source)


def test_a_session_without_a_place(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.on("POST", "/uploads/", Reply(202))
    with pytest.raises(ProtocolViolation, match="no upload session"):
        client().upload_blob(reference(server), *source)


def test_the_query_of_a_session_is_kept_and_never_shown(
    server: ScriptedRegistry, client: Client, source: Source
) -> None:
    server.location_query = "?_state=s3cret"
    client().upload_blob(reference(server), *source)
    assert server.requests("PUT")[0].query["_state"] == "s3cret"
    server.blobs.clear()
    server.on("PUT", "/uploads/", error(403, "DENIED", f"no: {server.url}/x?_state=s3cret"))
    with pytest.raises(RegistryError) as caught:
        client().upload_blob(reference(server), *source)
    assert "s3cret" not in str(caught.value)


def test_a_session_elsewhere_gets_no_login(
    server: ScriptedRegistry, other: ScriptedRegistry, client: Client, source: Source, tmp_path: Path
) -> None:
    login = ask_for_login(server, tmp_path)
    other.uploads["s"] = bytearray()
    elsewhere = Reply(202, {"Location": f"{other.url}/v2/org/model/blobs/uploads/s"})
    server.on("POST", "/uploads/", elsewhere)
    client(docker_config=login).upload_blob(reference(server), *source)
    check_stored(other, source)
    assert "Authorization" not in other.requests("PUT")[0].headers


def test_without_a_login(server: ScriptedRegistry, client: Client, source: Source) -> None:
    server.guard = lambda _: Reply(401, {"WWW-Authenticate": 'Basic realm="x"'})
    with pytest.raises(Unauthorized) as caught:
        client().upload_blob(reference(server), *source)
    assert f"docker login {server.name}" in str(caught.value.hint)
