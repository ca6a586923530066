"""The command: what it prints, how it ends, and every way in which it can refuse to start."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from modelcar.cli.output import ready_file
from modelcar.errors import StorageError, UsageError
from modelcar.oci import ImageConfig, Manifest
from modelcar.serving.address import Address
from registry_shim.cli import main
from registry_shim.testing import running_registry
from tests.support.waiting import eventually
from tests.unit.shim.command import COMMAND, ROOT, serving

pytestmark = pytest.mark.slow


Refused = Callable[..., None]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Check that `serve`, called in this process, refuses to start: with which status, and what it says."""

    def check(status: int, message: str, *arguments: str | Path) -> None:
        assert main(["serve", *map(str, arguments)]) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert re.search(message, err), err
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 2

    return check


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_quietly(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready"
    arguments = ("--root", tmp_path / "data", "--listen", "127.0.0.1:0", "--writable", "--ready-file", ready)
    with serving(*arguments) as (process, line):
        address = line.removeprefix("listening on http://").strip()
        assert ready.read_text() == f"{address}\n"
        with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
            process.send_signal(number)  # with a connection that is idle, as clients leave them
            output, errors = process.communicate(timeout=60)
        assert (process.returncode, output, errors) == (0, "", "")
        assert not ready.exists(), "who waits for the next one is not told too soon"


def test_its_page_shows_what_was_pushed(tmp_path: Path) -> None:
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=())
    manifest = Manifest(config=config.descriptor, layers=())
    with serving("--root", tmp_path, "--listen", "127.0.0.1:0", "--writable") as (_, line):
        address = line.removeprefix("listening on http://").strip()

        def ask(method: str, path: str, body: bytes = b"", media_type: str = "text/plain") -> bytes:
            with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
                connection.request(method, path, body, {"Content-Type": media_type})
                response = connection.getresponse()
                assert response.status in (200, 201)
                return response.read()

        ask("POST", f"/v2/acme/m/blobs/uploads/?digest={config.digest}", config.content, "application/octet-stream")
        ask("PUT", "/v2/acme/m/manifests/v1", manifest.content, manifest.media_type)
        page = json.loads(ask("GET", "/ui/data.json"))
    size = len(config.content)
    assert page["pushed"] == [{"digest": str(manifest.digest), "names": ["acme/m:v1"], "size": size}]
    assert (page["models"], page["mirrors"]) == ([], False)


def test_the_ready_file_of_another_is_left_alone(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    arguments = ("--listen", "127.0.0.1:0", "--writable", "--ready-file", ready)
    with serving("--root", tmp_path / "a", *arguments) as (first, _), serving("--root", tmp_path / "b", *arguments):
        later = ready.read_text()
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=60)
        assert ready.read_text() == later


def test_no_socket_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Or what libraries and programs that it starts have to say would be sent there."""
    ready = tmp_path / "ready"
    arguments = ["--root", tmp_path / "data", "--listen", "127.0.0.1:0", "--writable", "--ready-file", ready]
    script = 'exec "$@" <&- >&- 2>&-'
    with subprocess.Popen(["/bin/sh", "-c", script, "sh", *COMMAND, *map(str, arguments)], cwd=ROOT) as process:
        try:
            eventually(lambda: ready.is_file() and ready.read_text(), "it listens")
            assert {Path(f"/proc/{process.pid}/fd/{n}").readlink() for n in range(3)} == {Path(os.devnull)}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_json(tmp_path: Path) -> None:
    with serving("--root", tmp_path, "--listen", "localhost:0", "--writable", "--json") as (_, line):
        document = json.loads(line)
        assert document["url"] == f"http://{document['address']}"
        assert document["address"].startswith("127.0.0.1:")


def test_a_folder_has_one_registry(tmp_path: Path) -> None:
    command = [*COMMAND, "--root", str(tmp_path), "--listen", "127.0.0.1:0", "--writable"]
    with serving(*command[len(COMMAND) :]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "in use by another registry-shim" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_port_that_is_taken(tmp_path: Path, refused: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        message = f"cannot listen on {address}: the port is in use"
        refused(3, message, "--root", tmp_path, "--listen", address, "--writable")


@pytest.mark.parametrize("arguments", [["--writable"], []])
def test_a_root_that_is_a_file(tmp_path: Path, arguments: list[str], refused: Refused) -> None:
    (tmp_path / "file").write_text("")
    refused(3, "file", "--root", tmp_path / "file", "--listen", "127.0.0.1:0", *arguments)


def test_reading_needs_something_to_read(tmp_path: Path, refused: Refused) -> None:
    refused(3, "--writable", "--root", tmp_path / "none", "--listen", "127.0.0.1:0")
    refused(3, "not an OCI image layout", "--root", tmp_path, "--listen", "127.0.0.1:0")


def test_a_root_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # what root is never told
    with pytest.raises(StorageError, match="cannot write to"), running_registry(tmp_path):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_the_world_is_not_invited_by_accident(tmp_path: Path, host: str, refused: Refused) -> None:
    refused(2, "--insecure", "--root", tmp_path, "--listen", f"{host}:0", "--writable")


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
def test_a_host_that_cannot_be(tmp_path: Path, host: str, refused: Refused) -> None:
    refused(3, "cannot listen on .*host", "--root", tmp_path, "--listen", f"{host}:0", "--writable")


def test_nobody_reads_the_first_line(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "--root", str(tmp_path), "--listen", "127.0.0.1:0", "--writable"]
    with open(writer, "wb") as output:
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (141, "")


def test_insecure_means_it(tmp_path: Path) -> None:
    with serving("--root", tmp_path, "--listen", "0.0.0.0:0", "--writable", "--insecure") as (_, line):
        assert line.startswith("listening on http://0.0.0.0:")


@pytest.mark.parametrize("text", ["5000", ":5000", "host:", "host:http", "host:65536", "host:٣"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        Address.parse(text)


def test_an_address_of_ip_version_6() -> None:
    address = Address.parse("[::1]:5000")
    assert (address.host, str(address), address.is_local()) == ("::1", "[::1]:5000", True)


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve"]) == 2
    assert "--root" in capsys.readouterr().err


def test_help_is_quick() -> None:
    code = "import sys; from registry_shim.cli import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "serve" in done.stdout
    assert "aiohttp" not in done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("option", ["--root", "--config", "--ready-file"])
def test_an_empty_path_is_not_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--root", "data", "--writable", "--listen", "127.0.0.1:0", option, ""]) == 2
    assert "an empty path names nothing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_ready_file_without_a_name() -> None:
    with pytest.raises(UsageError, match="names no file"), ready_file(Path("/")):
        pass


@pytest.mark.parametrize("name", ["listen", "metrics_listen"])
def test_an_empty_address_is_none(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"root: {tmp_path / 'data'}\nwritable: true\n{name}: ''\n")
    assert main(["serve", "--config", str(config)]) == 2
    assert "'' is not an address" in capsys.readouterr().err


def test_one_problem_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("writable: perhaps\n")
    assert main(["serve", "--config", str(config)]) == 2
    assert capsys.readouterr().err.count("writable is true or false") == 1
