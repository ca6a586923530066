from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import NoSpace
from modelcar.oci import Digest
from modelcar.serving.messages import BytesBody, ClientGone, Request
from modelcar.store.base import Writer
from modelcar.store.memory import MemoryStore
from registry_shim.distribution import Distribution, Settings
from registry_shim.distribution.context import Context
from registry_shim.distribution.repositories import Repositories
from registry_shim.distribution.sessions import BusySession, Sessions, UnknownSession
from tests.unit.shim.api import Answer, Api

CONTENT = bytes(range(256)) * 16
DIGEST = Digest.of(CONTENT)
UPLOADS = "/v2/org/model/blobs/uploads/"


def start(api: Api) -> str:
    answer = api.call("POST", UPLOADS)
    assert answer.status == 202
    assert int(answer.headers["OCI-Chunk-Min-Length"]) > 0
    return answer.headers["Location"]


def patch(api: Api, location: str, first: int, content: bytes) -> Answer:
    range_ = f"{first}-{first + len(content) - 1}"
    return api.call("PATCH", location, content, {"Content-Range": range_})


def assert_stored(api: Api, digest: Digest = DIGEST) -> None:
    assert api.get(f"/v2/org/model/blobs/{digest}").body == CONTENT
    assert len(api.context.sessions) == 0


def test_post_then_put(api: Api) -> None:
    answer = api.call("PUT", f"{start(api)}?digest={DIGEST}", CONTENT)
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v2/org/model/blobs/{DIGEST}"
    assert answer.headers["Docker-Content-Digest"] == str(DIGEST)
    assert_stored(api)


def test_chunks(api: Api) -> None:
    location = start(api)
    first = patch(api, location, 0, CONTENT[:1000])
    assert (first.status, first.headers["Range"]) == (202, "0-999")
    second = patch(api, first.headers["Location"], 1000, CONTENT[1000:])
    assert (second.status, second.headers["Range"]) == (202, "0-4095")
    assert api.call("PUT", f"{location}?digest={DIGEST}").status == 201
    assert_stored(api)


def test_a_last_chunk_may_come_with_the_digest(api: Api) -> None:
    location = start(api)
    patch(api, location, 0, CONTENT[:1000])
    answer = api.call("PUT", f"{location}?digest={DIGEST}", CONTENT[1000:], {"Content-Range": "1000-4095"})
    assert answer.status == 201
    assert_stored(api)


def test_one_stream_without_ranges_under_sha512(api: Api) -> None:
    location = start(api)
    assert api.call("PATCH", location, CONTENT).status == 202
    digest = Digest.of(CONTENT, "sha512")
    assert api.call("PUT", f"{location}?digest={digest}").status == 201
    assert_stored(api, digest)


@pytest.mark.parametrize("first", [0, 999, 1001])
def test_a_chunk_out_of_order_changes_nothing_and_says_where_to_go_on(api: Api, first: int) -> None:
    location = start(api)
    patch(api, location, 0, CONTENT[:1000])
    answer = patch(api, location, first, CONTENT[1000:])
    assert (answer.status, answer.codes, answer.headers["Range"]) == (416, ["BLOB_UPLOAD_INVALID"], "0-999")
    status = api.get(location)
    assert (status.status, status.headers["Range"], status.headers["Location"]) == (204, "0-999", location)
    assert patch(api, location, 1000, CONTENT[1000:]).status == 202
    assert api.call("PUT", f"{location}?digest={DIGEST}").status == 201
    assert_stored(api)


def test_the_closing_chunk_can_be_out_of_order_too(api: Api) -> None:
    location = start(api)
    assert api.call("PUT", f"{location}?digest={DIGEST}", CONTENT, {"Content-Range": "5-4100"}).status == 416


def test_a_chunk_must_have_the_length_of_its_range(api: Api) -> None:
    answer = api.call("PATCH", start(api), CONTENT, {"Content-Range": "0-10"})
    assert (answer.status, answer.codes) == (400, ["SIZE_INVALID"])
    assert api.call("PATCH", start(api), CONTENT, {"Content-Range": "first"}).codes == ["BLOB_UPLOAD_INVALID"]


@pytest.mark.parametrize("url", ["{location}?digest={other}", "/v2/org/model/blobs/uploads/?digest={other}"])
def test_content_of_another_digest_is_refused_and_forgotten(api: Api, url: str) -> None:
    other = Digest.of(b"other")
    url = url.format(location=start(api) if "location" in url else "", other=other)
    answer = api.call("POST" if url.startswith(UPLOADS + "?") else "PUT", url, CONTENT)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert other not in api.context.store
    assert len(api.context.sessions) == 0


def test_a_digest_that_is_none(api: Api) -> None:
    location = start(api)
    for url in (location, f"{location}?digest=nonsense", f"{location}?digest=md5:{'0' * 32}"):
        answer = api.call("PUT", url, CONTENT)
        assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_cancel(api: Api) -> None:
    location = start(api)
    patch(api, location, 0, CONTENT)
    assert api.call("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        answer = api.call(method, location)
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert api.call("PUT", f"{location}?digest={DIGEST}").codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_an_upload_belongs_to_its_repository(api: Api) -> None:
    location = start(api).replace("/org/model/", "/org/other/")
    assert api.call("PATCH", location, CONTENT).codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_mount(api: Api) -> None:
    digest = api.push_blob(CONTENT, repo="source")
    answer = api.call("POST", f"{UPLOADS}?mount={digest}&from=source")
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/org/model/blobs/{digest}")
    assert_stored(api)


@pytest.mark.parametrize("source", ["&from=elsewhere", "&from=NoName", ""])
def test_what_cannot_be_mounted_is_to_be_uploaded(api: Api, source: str) -> None:
    api.push_blob(CONTENT, repo="source")
    answer = api.call("POST", f"{UPLOADS}?mount={DIGEST}{source}")
    assert answer.status == 202
    assert api.call("PUT", f"{answer.headers['Location']}?digest={DIGEST}", CONTENT).status == 201


class CutOff:
    """A client that hangs up after some bytes."""

    length: int | None = len(CONTENT)

    async def batches(self, size: int) -> AsyncIterator[Sequence[bytes]]:
        yield [CONTENT[:1000]]
        raise ClientGone


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_client_that_was_cut_off_goes_on_from_where_it_was(api: Api, method: str) -> None:
    location = start(api)
    query = {"digest": [str(DIGEST)]} if method == "PUT" else {}
    request = Request(method=method, path=location, query=query, body=CutOff())
    with pytest.raises(ClientGone):
        asyncio.run(Distribution(api.context).handle(request))
    assert api.get(location).headers["Range"] == "0-999"
    assert patch(api, location, 1000, CONTENT[1000:]).status == 202
    assert api.call("PUT", f"{location}?digest={DIGEST}").status == 201
    assert_stored(api)


def test_a_single_post_that_was_cut_off_leaves_nothing(api: Api) -> None:
    request = Request(method="POST", path=UPLOADS, query={"digest": [str(DIGEST)]}, body=CutOff())
    with pytest.raises(ClientGone):
        asyncio.run(Distribution(api.context).handle(request))
    assert len(api.context.sessions) == 0


class FullStore(MemoryStore):
    def begin(self, expected: Digest | None = None) -> Writer:  # type: ignore[override]  # what it raises is the point
        raise NoSpace("cannot write to /data: No space left on device", hint="free some space")


class _SlowWriter:
    """Writes and commits when it is let; notes whether it is aborted meanwhile."""

    size = 0

    def __init__(self, store: SlowStore) -> None:
        self._store = store

    def _work(self) -> None:
        self._store.began.set()
        self._store.go_on.wait(10)
        self._store.events.append("ended")

    def write(self, data: bytes) -> None:
        if self._store.slow == "write":
            self._work()

    def commit(self, digest: Digest) -> Digest:
        if self._store.slow == "commit":
            self._work()
        return digest

    def abort(self) -> None:
        self._store.events.append("aborted")


class SlowStore(MemoryStore):
    def __init__(self, slow: str) -> None:
        super().__init__()
        self.slow = slow
        self.events: list[str] = []
        self.began = threading.Event()
        self.go_on = threading.Event()

    def begin(self, expected: Digest | None = None) -> Any:
        return _SlowWriter(self)


@pytest.mark.parametrize("slow", ["write", "commit"])
def test_nothing_is_aborted_that_a_thread_still_works_on(tmp_path: Path, slow: str) -> None:
    """Its file would be closed under it, and the number be another file's by its next write."""
    store = SlowStore(slow)
    api = Api(Context(store, Repositories(tmp_path), Sessions(store), Settings(writable=True)))
    body = BytesBody(CONTENT)
    request = Request(method="POST", path=UPLOADS, query={"digest": [str(DIGEST)]}, body=body)

    async def main() -> None:
        pushing = asyncio.create_task(Distribution(api.context).handle(request))
        await asyncio.to_thread(store.began.wait, 10)
        for _ in range(3):  # a server that stops asks more than once
            pushing.cancel()
            await asyncio.sleep(0.02)
        store.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await pushing

    asyncio.run(main())
    assert store.events == ["ended", "aborted"]


class StuckStore(MemoryStore):
    """What was written cannot be removed."""

    def begin(self, expected: Digest | None = None) -> Any:
        writer = super().begin(expected)
        writer.abort = self._fail  # type: ignore[method-assign]  # it fails from now on
        return writer

    def _fail(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


def test_what_cannot_be_removed_is_forgotten_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = StuckStore()
    sessions = Sessions(store, idle_seconds=-1)
    api = Api(Context(store, Repositories(tmp_path), sessions, Settings(writable=True)))
    other = Digest.of(b"other")
    assert api.call("PUT", f"{start(api)}?digest={other}", CONTENT).codes == ["DIGEST_INVALID"]
    for _ in range(2):
        patch(api, start(api), 0, CONTENT)
    assert asyncio.run(sessions.reap()) == 2
    assert len(sessions) == 0
    assert "Input/output error" in caplog.text


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_full_disk_ends_the_upload_with_a_reason(
    tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = FullStore()
    api = Api(Context(store, Repositories(tmp_path), Sessions(store), Settings(writable=True)))
    answer = api.call(method, f"{start(api)}?digest={DIGEST}", CONTENT)
    assert (answer.status, answer.codes) == (507, ["UNKNOWN"])
    assert "No space left" in answer.json["errors"][0]["message"]
    assert "No space left" in caplog.text
    assert len(api.context.sessions) == 0


def test_idle_sessions_are_dropped_and_busy_ones_are_not() -> None:
    async def main() -> None:
        sessions = Sessions(MemoryStore(), idle_seconds=-1)
        idle, busy = sessions.open("a"), sessions.open("a")
        async with sessions.using("a", busy.id):
            assert await sessions.reap() == 1
        with pytest.raises(UnknownSession):
            sessions.find("a", idle.id)
        assert sessions.find("a", busy.id) is busy

    asyncio.run(main())


def test_one_request_at_a_time_works_on_an_upload() -> None:
    async def main() -> None:
        sessions = Sessions(MemoryStore(), patience=0.01)
        session = sessions.open("a")
        async with sessions.using("a", session.id):
            with pytest.raises(BusySession):
                async with sessions.using("a", session.id):
                    pass
        waiting = Sessions(MemoryStore())
        session = waiting.open("a")
        async with waiting.using("a", session.id):
            second = asyncio.create_task(_use(waiting, session.id))
            await asyncio.sleep(0)
            await waiting.discard(session)
        with pytest.raises(UnknownSession):
            await second

    async def _use(sessions: Sessions, session_id: str) -> None:
        async with sessions.using("a", session_id):
            pass

    asyncio.run(main())


def test_too_many_uploads(tmp_path: Path) -> None:
    store = MemoryStore()
    api = Api(Context(store, Repositories(tmp_path), Sessions(store, limit=1), Settings(writable=True)))
    start(api)
    answer = api.call("POST", UPLOADS)
    assert (answer.status, answer.codes, answer.headers["Retry-After"]) == (429, ["TOOMANYREQUESTS"], "1")


def test_closing_forgets_everything(api: Api) -> None:
    patch(api, start(api), 0, CONTENT)
    asyncio.run(api.context.sessions.close())
    assert len(api.context.sessions) == 0
