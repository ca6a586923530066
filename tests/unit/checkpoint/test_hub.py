"""hf:// with the Hub's real client against a hub on loopback."""

from __future__ import annotations

import hashlib
import logging
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import http_backoff  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare

from modelcar.checkpoint import HubOptions, open_checkpoint
from modelcar.errors import ModelcarError, SourceError, WorldError
from tests.support.hub import COMMIT, Failure, FakeHub, Repo

from .conftest import Tree

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again at once, by us and by the library."""
    monkeypatch.setattr("modelcar.checkpoint.hub_source.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.utils.http_backoff", partial(http_backoff, base_wait_time=0.01))


@pytest.fixture
def repo(small_model: Tree) -> Repo:
    return Repo({path: c.encode() if isinstance(c, str) else c for path, c in small_model.items()})


def options(hub: FakeHub, tmp_path: Path, *, offline: bool = False) -> HubOptions:
    return HubOptions(endpoint=hub.endpoint, cache=tmp_path / "cache", token="hf_test", offline=offline)


def test_download(hub: FakeHub, repo: Repo, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hub.repos["org/name"] = repo
    checkpoint = open_checkpoint("hf://org/name", hub=options(hub, tmp_path))
    assert {file.path: file.source.read_bytes() for file in checkpoint.files} == repo.files
    weights = checkpoint.file("model.safetensors")
    assert weights is not None
    assert weights.known_sha256 == hashlib.sha256(weights.source.read_bytes()).hexdigest()
    assert checkpoint.provenance.repo == "org/name"
    assert checkpoint.provenance.revision == COMMIT
    assert checkpoint.provenance.endpoint == hub.endpoint
    assert capfd.readouterr() == ("", "")
    again = open_checkpoint(str(tmp_path / "cache" / "models--org--name"))
    assert again.facts() == checkpoint.facts(), "both doors give the same image"
    assert hub.endpoint not in str(checkpoint.facts())


def test_the_log_tells_of_requests_and_of_no_secret(
    hub: FakeHub, repo: Repo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.repos["org/name"], hub.signed = repo, "MARKED"
    with caplog.at_level(logging.DEBUG, "modelcar"):
        open_checkpoint("hf://org/name", hub=options(hub, tmp_path))
    ours = [record for record in caplog.records if record.name.startswith("modelcar.")]
    told = [record.getMessage() for record in ours]
    assert f"GET {hub.endpoint}/api/models/org/name/revision/main" in told
    weights = [record for record in ours if record.getMessage().endswith("/storage/org/name/model.safetensors")]
    assert {vars(record)["status"] for record in weights} == {206}
    assert all(vars(record)["bytes"] > 0 for record in weights)
    assert not [text for text in told if hub.signed in text or "hf_test" in text or "?" in text]


def test_the_librarys_headers_are_made_once(
    hub: FakeHub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.utils as library

    made: list[object] = []
    build = library.build_hf_headers  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare

    def noted(**asked: Any) -> dict[str, str]:
        made.append(asked)
        headers: dict[str, str] = build(**asked)
        return headers

    monkeypatch.setattr(library, "build_hf_headers", noted)
    hub.repos["org/name"] = repo
    open_checkpoint("hf://org/name", hub=options(hub, tmp_path))
    assert len(made) == 1


@pytest.mark.parametrize("whole", [True, False])
def test_weights_that_were_brought_by_a_process_that_was_killed_before_it_linked_them(
    hub: FakeHub, repo: Repo, tmp_path: Path, whole: bool
) -> None:
    hub.repos["org/name"] = repo
    facts = open_checkpoint("hf://org/name", hub=options(hub, tmp_path)).facts()
    link = tmp_path / "cache" / "models--org--name" / "snapshots" / COMMIT / "model.safetensors"
    blob = link.resolve()
    link.unlink()
    if not whole:
        blob.write_bytes(b"")
    hub.requests.clear()
    again = open_checkpoint("hf://org/name", hub=options(hub, tmp_path))
    assert link.read_bytes() == repo.files["model.safetensors"]
    assert bool([r for r in hub.requests if "/storage/" in r]) is not whole
    assert again.facts() == facts


def test_everything_is_asked_of_one_commit(hub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    hub.repos["org/name"] = repo
    repo.branches = ("main", "v1.0")
    open_checkpoint("hf://org/name@v1.0", hub=options(hub, tmp_path))
    resolving = [request for request in hub.requests if "/v1.0" in request]
    assert len(resolving) == 1
    of_files = [request for request in hub.requests if request not in resolving and "/storage/" not in request]
    assert all(f"/{COMMIT}" in request for request in of_files)


def test_cache_serves_when_the_hub_is_away(hub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    hub.repos["org/name"] = repo
    first = open_checkpoint("hf://org/name", hub=options(hub, tmp_path))
    count = len(hub.requests)
    offline = open_checkpoint("hf://org/name", hub=options(hub, tmp_path, offline=True))
    assert offline.files == first.files
    assert len(hub.requests) == count


@pytest.mark.parametrize(
    ("failure", "kind", "said", "hint"),
    [
        (
            Failure(401, {"X-Error-Code": "RepoNotFound"}),
            SourceError,
            "there is no model hf://org/name, or",
            "hf auth login",
        ),
        (Failure(401), WorldError, r"to these credentials \(HTTP 401\)", "HF_TOKEN"),
        (Failure(403, {"X-Error-Code": "GatedRepo"}), WorldError, "hf://org/name is gated", "ask for access at"),
        (
            Failure(401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
            WorldError,
            r"refuses hf://org/name to these credentials \(HTTP 401\)",
            "HF_TOKEN",
        ),
        (Failure(403, {"X-Error-Message": "no"}), WorldError, r"to these credentials \(HTTP 403\)", "HF_TOKEN"),
        (
            Failure(403, {"X-Error-Message": "Access to this resource is disabled."}),
            WorldError,
            "the Hub has disabled hf://org/name",
            "page",
        ),
        (Failure(418), WorldError, r"does not serve hf://org/name \(HTTP 418\)", "later"),
        (Failure(404, {"X-Error-Code": "RevisionNotFound"}), SourceError, "org/name has no revision", "branch"),
    ],
)
def test_refusals(
    failure: Failure, kind: type[ModelcarError], said: str, hint: str, hub: FakeHub, tmp_path: Path
) -> None:
    hub.failures["org/name"] = failure
    with pytest.raises(kind, match=said) as caught:
        open_checkpoint("hf://org/name", hub=options(hub, tmp_path))
    assert isinstance(caught.value, kind)
    assert caught.value.hint is not None
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


def test_no_such_model_or_revision(hub: FakeHub, repo: Repo, tmp_path: Path) -> None:
    hub.repos["org/name"] = repo
    with pytest.raises(SourceError, match="there is no model hf://org/other, or it is private"):
        open_checkpoint("hf://org/other", hub=options(hub, tmp_path))
    with pytest.raises(SourceError, match="org/name has no revision v9"):
        open_checkpoint("hf://org/name@v9", hub=options(hub, tmp_path))


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    options = HubOptions(endpoint="http://user:secret@127.0.0.1:9", token="hf_secret", cache=tmp_path)
    with pytest.raises(WorldError) as caught:
        open_checkpoint("hf://org/name", hub=options)
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert "hf_secret" not in repr(options)


def test_offline_without_cache(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="hf://org/name is not in the Hub's cache, or not all of it") as caught:
        open_checkpoint("hf://org/name", hub=options(hub, tmp_path, offline=True))
    assert caught.value.hint is not None
    assert "HF_HUB_OFFLINE" in caught.value.hint


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(WorldError, match=f"cannot download hf://org/name from {endpoint}"):
            open_checkpoint("hf://org/name", hub=HubOptions(endpoint=endpoint, cache=tmp_path))


@pytest.mark.parametrize(
    "source",
    ["hf://", "hf://name", "hf://a/b/c", "hf://org/name@", "hf://../name", "hf://org/na me", "hf://org/name@../x",
     "hf://o--g/name", "hf://org/name@-x", "hf://org/.name"],
)  # fmt: skip
def test_names_of_no_model(source: str) -> None:
    with pytest.raises(SourceError, match="names no model") as caught:
        open_checkpoint(source)
    assert caught.value.hint == "write hf://org/name or hf://org/name@revision"


@pytest.mark.parametrize("source", ["hf://user:secret@org/name", "hf://secret@org/name"])
def test_passwords_in_names_are_not_shown(source: str) -> None:
    with pytest.raises(SourceError, match=r"^hf:// takes no credentials in its name$"):
        open_checkpoint(source)


def test_a_password_in_the_name_of_nothing_is_not_shown() -> None:
    with pytest.raises(SourceError, match=r"^there is no 'https://hub/name'$"):
        open_checkpoint("https://user:secret@hub/name")


def test_the_library_says_nothing_of_urls_that_fail() -> None:
    code = """
from modelcar.checkpoint.hub import HubOptions, parse_hub_name
parse_hub_name("org/name", HubOptions())
from huggingface_hub.utils import logging
assert logging.get_verbosity() == logging.ERROR
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_client_is_not_loaded_for_a_folder() -> None:
    code = "import sys, modelcar.checkpoint; print({'huggingface_hub', 'yaml', 'httpx2'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
