"""The status page without a browser: what it says, and what its headers forbid."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from modelcar.errors import StorageError
from modelcar.oci import Digest
from modelcar.serving.messages import Request, Response
from registry_shim.operations.sights import Sights
from registry_shim.operations.ui.data import snapshot
from registry_shim.operations.ui.page import StatusPage
from registry_shim.space.pushed import PushedImage
from tests.support.sights import arriving, sights

TOTALS = {"upstream": 1.0, "peer": 2.0, "mirror": 0.0, "sent": 3.0}


def shown(seen: Sights, problem: str | None = None) -> dict[str, Any]:
    document = snapshot(seen, totals=TOTALS, problem=problem, started=0.0)
    parsed: dict[str, Any] = json.loads(json.dumps(document))
    return parsed


def get(path: str, headers: Mapping[str, str] = {"host": "127.0.0.1:5000"}, subject: str | None = None) -> Response:
    page = StatusPage(lambda: TOTALS, lambda: None, sights())
    request = Request(method="GET", path=path, headers=headers, subject=subject)
    return asyncio.run(page.handle(request))


def test_an_empty_node() -> None:
    document = shown(Sights())
    assert (document["models"], document["space"], document["ready"]) == ([], None, True)


def test_what_was_pushed() -> None:
    assert shown(Sights())["pushed"] is None, "a node that takes no pushes says nothing of them"
    image = PushedImage(digest=Digest.of(b"m"), names=("acme/m:v1",), size=7)
    document = shown(Sights(pushed=lambda: [image], mirrors=False))
    assert document["pushed"] == [{"digest": str(Digest.of(b"m")), "names": ["acme/m:v1"], "size": 7}]
    assert document["mirrors"] is False


def test_models_are_what_all_parts_know_of_one_digest() -> None:
    models = {model["names"][0]: model for model in shown(sights())["models"]}
    assert [(name, m["readiness"]) for name, m in models.items()] == [
        ("ghcr.io/evil/backdoor", "refused"),
        ("ghcr.io/acme/mixtral-8x7b:v1", "pending"),
        ("ghcr.io/acme/gemma-27b:v1", "ready"),
        ("ghcr.io/acme/llama-70b:v1", "ready"),
        ("ghcr.io/acme/whisper-large:v1", "ready"),
    ]
    assert models["ghcr.io/acme/mixtral-8x7b:v1"]["precache"] == "fetching"
    assert models["ghcr.io/evil/backdoor"]["verdict"]["reasons"] == ["pickle.calls: os.system in pytorch_model.bin"]


def test_a_map_says_where_chunks_came_from() -> None:
    (blob,) = shown(Sights(blobs=lambda: [arriving("a", b"\0\1\2\3\4")]))["blobs"]
    assert blob["map"] == "01234"


def test_a_large_map_is_made_smaller_and_hides_no_gap() -> None:
    chunks = bytearray(b"\2" * 100_000)
    chunks[54_321] = 0
    (blob,) = shown(Sights(blobs=lambda: [arriving("a", bytes(chunks))]))["blobs"]
    assert len(blob["map"]) == 4096
    assert blob["map"].count("0") == 1
    assert blob["map"].index("0") / 4096 == pytest.approx(54_321 / 100_000, abs=1 / 4096)


def test_what_cannot_be_looked_at_is_said() -> None:
    def broken() -> list[Any]:
        raise StorageError("cannot read /x: Input/output error")

    document = shown(Sights(blobs=broken, connections=lambda: 3), problem="it is stopping")
    assert document["problems"] == ["it is stopping", "cannot read /x: Input/output error"]
    assert (document["ready"], document["connections"]) == (False, 3)


@pytest.mark.parametrize(
    "path", ["/ui", "/ui/", "/ui/app.js", "/ui/style.css", "/ui/data.json", "/ui/none", "/ui/../x"]
)
def test_nothing_else_may_be_loaded_or_run(path: str) -> None:
    response = get(path)
    assert response.status == (200 if path in ("/ui", "/ui/", "/ui/app.js", "/ui/style.css", "/ui/data.json") else 404)
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_it_needs_nothing_from_elsewhere() -> None:
    for path in ("/ui", "/ui/app.js", "/ui/style.css"):
        body = get(path).body
        assert isinstance(body, bytes)
        assert b"http://" not in body
        assert b"https://" not in body
        assert b"innerHTML" not in body
        assert b"style=" not in body, "the page's policy would refuse it"
        assert b"onclick" not in body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:5000", 200),
        ("[::1]:5000", 200),
        ("[::1]", 200),
        ("localhost:5000", 200),
        ("localhost", 200),
        ("", 200),
        ("evil.example:5000", 421),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:5000", 421),
    ],
)
def test_names_that_were_pointed_here_read_nothing(host: str, status: int) -> None:
    assert get("/ui/data.json", {"host": host}).status == status
    assert get("/ui/data.json", {"host": host}, subject="alice").status == 200
