"""`--verbose`: what a report of a problem needs, on standard error, and no secret."""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from modelcar.cli.output import Output
from modelcar.cli.progress import progress
from modelcar.cli.verbosity import telling_all
from modelcar.registry.transport import Answer, Transport
from modelcar.testing.registry import Fault, Wrong, running
from tests.unit.cli.conftest import ModelcarCli
from tests.unit.cli.screens import MB, Screen

pytestmark = pytest.mark.slow

REQUEST = re.compile(
    r"modelcar: (?:GET|HEAD|POST|PUT|PATCH|DELETE) http://[^\s?#@]+(?:: [^=]+?)?"
    r"(?: status=\d{3})?(?: sent=\d+)?(?: bytes=\d+)? seconds=[\d.]+"
)
PASSWORD = "MARKED-password"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All that goes out in queries and `Authorization` headers."""
    found: set[str] = set()
    request = Transport.request

    def watched(self: Transport, method: str, url: str, headers: Any, *rest: Any, **named: Any) -> Answer:
        found.update(value for name, value in parse_qsl(urlsplit(url).query) if name.startswith(("X-", "_")))
        found.update(headers.get("Authorization", "").split(" ")[1:])
        return request(self, method, url, headers, *rest, **named)

    monkeypatch.setattr(Transport, "request", watched)
    return found


def test_every_request_retry_and_decision_and_no_secret(
    modelcar: ModelcarCli, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secrets: set[str]
) -> None:
    with running("acr") as registry:
        name = f"{registry.address}/org/model:v1"
        login = {"auth": base64.b64encode(f"somebody:{PASSWORD}".encode()).decode()}
        (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.address: login}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        modelcar("build", checkpoint, "-t", name)
        registry.misbehave(Fault(wrong=Wrong.STATUS, method="PUT", path="/manifests/"))
        status, out, pushed = modelcar.run("push", name, "--verbose")
        assert (status, out.startswith("pushed ")) == (0, True), pushed
        registry.misbehave(Fault(wrong=Wrong.CUT, method="GET", path="/blobs/", after=50_000))
        status, out, pulled = modelcar.run("pull", name, "-o", tmp_path / "out", "--remote", "-v")
        assert (status, out.startswith("pulled ")) == (0, True), pulled
    text = pushed + pulled
    lines = text.splitlines()
    assert all(line.startswith("modelcar: ") for line in lines)
    requests = [line for line in lines if re.match(r"modelcar: [A-Z]{3,6} ", line)]
    assert [line for line in requests if not REQUEST.fullmatch(line)] == []
    assert any(re.match(r"modelcar: (PUT|PATCH) .* sent=105472 ", line) for line in requests)
    assert any(" GET " in line and "status=307" in line for line in requests), "a redirect, and where it led to:"
    assert any(f" GET http://{registry.elsewhere}/blobs/" in line and "bytes=105472" in line for line in requests)
    assert any(f" GET http://{registry.elsewhere}/token status=200" in line for line in requests)
    assert re.search(r"writing manifest .*: the answer was 503: again in \d\.\d s$", pushed, re.MULTILINE)
    assert re.search(r"the connection was cut.*status=20[06]", pulled)
    assert re.search(r"^modelcar: push model-00001-of-00003\.safetensors \(105 kB\): ", pushed, re.MULTILINE)
    assert f"the login for org/model comes by way of {tmp_path / 'config.json'}" in pushed
    assert len(secrets) > 3
    assert [secret for secret in (*secrets, PASSWORD, "somebody") if secret in text] == []


def test_what_is_there_is_said(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> None:
    modelcar("build", checkpoint, "-t", ref, "--push")
    status, out, err = modelcar.run("build", checkpoint, "-t", ref, "-v")
    assert "modelcar: hash model-00001-of-00003.safetensors (105 kB): unchanged" in err
    status, out, err = modelcar.run("push", ref, "-v", "--json")
    assert status == 0
    assert json.loads(out)["sent"] == 0
    assert re.search(r"^modelcar: push model-00001-of-00003\.safetensors \(105 kB\): exists$", err, re.MULTILINE)


def test_it_ends_with_the_command(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> None:
    before = (logging.getLogger("modelcar").level, [*logging.getLogger().handlers])
    modelcar.run("build", checkpoint, "-t", ref, "--push", "-v")
    assert (logging.getLogger("modelcar").level, [*logging.getLogger().handlers]) == before
    assert modelcar("push", ref).startswith("pushed")


def test_a_failure_is_said_as_ever(modelcar: ModelcarCli) -> None:
    status, out, err = modelcar.run("inspect", "127.0.0.1:1/nobody/there:v1", "-v")
    assert (status, out) == (3, "")
    assert "modelcar: GET http://127.0.0.1:1/v2/: nothing listens at 127.0.0.1:1 seconds=" in err
    assert err.splitlines()[-2].startswith("modelcar: 127.0.0.1:1: ")


def test_quiet_and_verbose_exclude_each_other(modelcar: ModelcarCli, ref: str) -> None:
    assert modelcar.refusal(2, "push", ref, "-q", "-v").line == "--quiet and --verbose exclude each other"


def test_lines_appear_above_the_bars(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("modelcar.registry.transport")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen.stream)
        output = Output(as_json=False, quiet=False, verbose=True)
        with telling_all("modelcar"), progress(output, "push") as report:
            report.expect(4 * MB)
            report.start("a", "first.safetensors", 4 * MB)
            for number in range(5):
                report.advance("a", MB // 2)
                log.debug("GET http://localhost/%d", number, extra={"status": 200})
            report.finish("a", "exists")
    lines = [line.rstrip() for line in screen.text().splitlines()]
    assert [line for line in lines if "localhost" in line] == [
        f"modelcar: GET http://localhost/{number} status=200" for number in range(5)
    ]
    assert "modelcar: push first.safetensors (4.0 MB): exists" in lines
    assert any(line.startswith("first.safetensors ") and "exists" in line for line in lines)


def test_nobody_listens_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with telling_all("modelcar"):
        logging.getLogger("modelcar.registry.transport").debug("GET http://localhost/")
