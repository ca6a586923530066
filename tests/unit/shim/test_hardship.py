"""What must not break it: kill -9 while clients push, a full disk, and more at once than memory would hold."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci import Descriptor, Digest
from modelcar.oci.media_types import CONFIG, MANIFEST
from tests.support.leaks import no_file_left_open

from .command import serving

pytestmark = pytest.mark.slow

EMPTY = Descriptor.of(CONFIG, b"{}")


class Client:
    """Pushes images; `acknowledged` are the tags that the registry said it has."""

    def __init__(self, address: str, repository: str) -> None:
        self._address = address
        self._repository = repository
        self.acknowledged: dict[str, Digest] = {}

    def call(self, method: str, url: str, body: bytes = b"", **headers: str) -> tuple[int, Any, bytes]:
        with closing(http.client.HTTPConnection(self._address, timeout=30)) as connection:
            connection.request(method, url, body, headers)
            with connection.getresponse() as response:
                return response.status, response.headers, response.read()

    def push(self, tag: str, layer: bytes, subject: Digest | None = None) -> Digest:
        for blob in (b"{}", layer):
            status, headers, _ = self.call("POST", f"/v2/{self._repository}/blobs/uploads/")
            assert status == 202
            status, _, _ = self.call("PUT", f"{headers['Location']}?digest={Digest.of(blob)}", blob)
            assert status == 201
        manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST, "config": EMPTY.to_dict()}
        manifest["layers"] = [Descriptor.of("application/octet-stream", layer).to_dict()]
        if subject is not None:
            manifest["subject"] = {"mediaType": MANIFEST, "digest": str(subject), "size": 1}
        content = json.dumps(manifest).encode()
        status, _, _ = self.call("PUT", f"/v2/{self._repository}/manifests/{tag}", content)
        assert status == 201
        self.acknowledged[tag] = Digest.of(content)
        return self.acknowledged[tag]

    def push_until_it_dies(self, start: int) -> None:
        """Images and, for every one, something that refers to it."""
        with suppress(OSError, http.client.HTTPException):
            for i in range(start, start + 1000):
                subject = self.push(f"image-{i}", os.urandom(100_000 + i % 7 * 300_000))
                self.push(f"signature-{i}", os.urandom(10), subject)

    def get(self, url: str) -> bytes:
        status, _, body = self.call("GET", url)
        assert status == 200, (url, status, body)
        return body


def check_everything(address: str) -> dict[str, dict[str, Digest]]:
    """Follow every name to its last byte; returns what the tags point to."""
    client = Client(address, "")
    found: dict[str, dict[str, Digest]] = {}
    for repository in json.loads(client.get("/v2/_catalog"))["repositories"]:
        found[repository] = {}
        for tag in json.loads(client.get(f"/v2/{repository}/tags/list"))["tags"]:
            content = client.get(f"/v2/{repository}/manifests/{tag}")
            manifest = json.loads(content)
            found[repository][tag] = Digest.of(content)
            for blob in (manifest["config"], *manifest["layers"]):
                descriptor = Descriptor.from_dict(blob)
                descriptor.check(client.get(f"/v2/{repository}/blobs/{descriptor.digest}"))
            if subject := manifest.get("subject"):
                referrers = json.loads(client.get(f"/v2/{repository}/referrers/{subject['digest']}"))["manifests"]
                assert str(Digest.of(content)) in [entry["digest"] for entry in referrers]
    return found


def test_killed_at_random_while_clients_push(tmp_path: Path) -> None:
    moment = random.Random(20)
    promised: dict[str, dict[str, Digest]] = {"one": {}, "two": {}}
    for attempt in range(5):
        with serving("--root", tmp_path, "--listen", "127.0.0.1:0", "--writable") as (process, line):
            address = line.removeprefix("listening on http://").strip()
            found = check_everything(address)
            for repository, tags in promised.items():
                assert tags.items() <= found.get(repository, {}).items()
            assert not list((tmp_path / "ingest").glob("*")), "what a dead server was writing is removed"

            clients = {repository: Client(address, repository) for repository in promised}
            threads = [
                threading.Thread(target=client.push_until_it_dies, args=(attempt * 1000,))
                for client in clients.values()
            ]
            for thread in threads:
                thread.start()
            while attempt == 0 and not all(client.acknowledged for client in clients.values()):
                assert any(thread.is_alive() for thread in threads), "nothing can be pushed"
                time.sleep(0.01)
            time.sleep(moment.uniform(0.02, 0.4))
            process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()
            for repository, client in clients.items():
                promised[repository].update(client.acknowledged)
    assert all(promised.values())


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.root
def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    content = os.urandom(12 << 20)
    with (
        small_disk(tmp_path / "disk", 8) as disk,
        serving("--root", disk, "--listen", "127.0.0.1:0", "--writable") as (process, line),
    ):
        address = line.removeprefix("listening on http://").strip()
        client = Client(address, "a")
        _, headers, _ = client.call("POST", "/v2/a/blobs/uploads/")
        location = headers["Location"]
        status, _, body = client.call("PATCH", location, content)
        assert status == 507
        assert "No space left" in json.loads(body)["errors"][0]["message"]
        assert client.call("GET", location)[0] == 404, "the upload is over"
        assert not list((disk / "ingest").glob("*")), "and its bytes are gone"
        client.push("small", content[: 1 << 20])
        assert check_everything(address)["a"].keys() == {"small"}
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert re.fullmatch(r"registry-shim: PATCH /v2/a/blobs/uploads/\S+: cannot write to .*No space left.*\n", errors)


def test_memory_does_not_grow_with_what_is_pushed(tmp_path: Path) -> None:
    content = bytes(64 << 20)
    digest = Digest.of(content)
    with serving("--root", tmp_path, "--listen", "127.0.0.1:0", "--writable") as (process, line):
        address = line.removeprefix("listening on http://").strip()
        results = []

        def push(repository: str) -> None:
            client = Client(address, repository)
            results.append(client.call("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)[0])

        threads = [threading.Thread(target=push, args=(f"r{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [201] * 4
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]  # Linux has it
    assert peak < 200 << 10


def test_nothing_is_left_open(tmp_path: Path) -> None:
    with serving("--root", tmp_path, "--listen", "127.0.0.1:0", "--writable") as (process, line):
        address = line.removeprefix("listening on http://").strip()
        Client(address, "a").push("v1", b"layer")
        with no_file_left_open(process.pid):
            for i in range(5):
                Client(address, "a").push(f"v{i}", os.urandom(1 << 20))
            check_everything(address)
