"""What `mount`, `status` and `gc` say around the process that fetches for mounts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelcar.cli import preparing
from modelcar.cli.output import Output
from modelcar.cli.preparing import FetchedFirst
from modelcar.errors import InvalidDocument, StorageError
from modelcar.mounts.keeper import Keeper
from modelcar.mounts.keeping import lazy_root, socket_of
from modelcar.mounts.link.asking import ask
from modelcar.mounts.link.server import LinkServer
from modelcar.mounts.served import ServedMount
from modelcar.store.layout import OciLayout
from tests.support.lazy_images import layout_of, lazy_image, mount_request
from tests.support.waiting import eventually
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow

LAYERS = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)


class NoMounts:
    def attach(self, _: str, /) -> ServedMount:
        raise StorageError("there are none")


@contextmanager
def host(root: Path, control: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Iterator[Path]:
    """One that answers as it is told to."""
    root.mkdir(parents=True, exist_ok=True)
    server = LinkServer(socket_of(root), NoMounts(), control)
    try:
        yield socket_of(root)
    finally:
        server.close()


def prepared(*present: int, target: str = "/mnt/llm") -> dict[str, Any]:
    layers = [{"digest": d, "size": 1000, "present": n} for d, n in zip(LAYERS, present, strict=True)]
    return {"mounts": [{"id": "m", "target": target, "reference": "example/llm:v1", "layers": layers}]}


class Told:
    """A `Progress` that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def expect(self, total: int) -> None:
        self.events.append(("expect", total))

    def start(self, key: str, label: str, total: int) -> None:
        self.events.append(("start", key, label, total))

    def advance(self, key: str, n: int) -> None:
        self.events.append(("advance", key, n))

    def finish(self, key: str, note: str = "") -> None:
        self.events.append(("finish", key))


def quiet() -> Output:
    return Output(as_json=False, quiet=True)


def test_what_is_fetched_before_a_mount_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcar.mounts.link.asking._STEP", 0.01)
    states = iter([prepared(0, 0), prepared(400, 0), prepared(400, 0), prepared(1000, 700)])
    fetched, told = threading.Event(), Told()

    def control(verb: str, _: dict[str, Any]) -> dict[str, Any]:
        if verb == "mount":
            fetched.wait(30)
            return {"plan": "x"}
        state = next(states, None)
        if state is None:
            fetched.set()
        return state or {"mounts": []}

    with host(tmp_path / "lazy", control) as socket:
        first = FetchedFirst(socket, "m", told, quiet())
        assert ask(socket, "mount", {}, meanwhile=first) == {"plan": "x"}
        first.end()
    one, two = LAYERS
    assert told.events == [
        ("expect", 2000),
        ("start", one, "a" * 12, 1000), ("advance", one, 400), ("advance", one, 600), ("finish", one),
        ("start", two, "b" * 12, 1000), ("advance", two, 700),
        ("advance", two, 300), ("finish", two),
    ]  # fmt: skip


def test_a_host_of_an_older_version_tells_nothing(tmp_path: Path) -> None:
    def control(verb: str, _: dict[str, Any]) -> dict[str, Any]:
        raise InvalidDocument(f"a keeper does not know {verb!r}")

    told = Told()
    with host(tmp_path / "lazy", control) as socket:
        first = FetchedFirst(socket, "m", told, quiet())
        first()
        first.end()
    assert told.events == [("expect", 0)]


def test_a_host_that_hangs_is_said_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preparing, "_SLOW", 0.05)
    monkeypatch.setattr(preparing, "_PATIENCE", 0.5)
    free = threading.Event()

    def control(*_: object) -> dict[str, Any]:
        free.wait(30)
        return {}

    with host(tmp_path / "lazy", control) as socket:
        with pytest.raises(StorageError, match="does not answer") as error:
            FetchedFirst(socket, "m", Told(), Output(as_json=False, quiet=False))()
        free.set()
    assert error.value.hint is not None
    assert "end process" in error.value.hint
    assert capsys.readouterr().err == "waiting for the process that fetches for mounts: it does not answer\n"


def test_status_of_an_image_that_is_fetched_before_it_is_mounted(modelcar: ModelcarCli, tmp_path: Path) -> None:
    target = tmp_path / "llm"
    state = prepared(1000, 500, target=str(target))
    with host(lazy_root(modelcar.home), lambda *_: state):
        assert modelcar("status", target) == "not mounted yet: 1.5 kB of 2.0 kB that have to be here first\n"
        told = modelcar.json("status", target)
        assert (told["preparing"], told["present"], told["size"]) == (True, 1500, 2000)
        assert modelcar.json("status") == {
            "mounts": [],
            "preparing": [{"id": "m", "folder": str(target), "name": "example/llm:v1"}],
        }
        assert modelcar("status").splitlines()[1].split() == [str(target), "example/llm:v1", "not", "yet"]
        assert "not a mounted model" in modelcar.refusal(2, "status", tmp_path / "other").line


def test_a_mount_for_ranks_names_them(modelcar: ModelcarCli, tmp_path: Path) -> None:
    complaint = modelcar.refusal(2, "mount", "localhost:1/a:v1", tmp_path / "llm", "--tp", "4")
    assert (complaint.line, complaint.hint) == ("whose part is to come first is not said", "add --rank R")
    assert not (tmp_path / "llm").exists()


def test_gc_frees_what_mounts_have_fetched_and_none_uses(modelcar: ModelcarCli, tmp_path: Path) -> None:
    root = lazy_root(modelcar.home)
    image, other = lazy_image(), lazy_image(seed=2)

    def is_whole(name: str) -> bool:
        status = ask(socket_of(root), "status", {"id": name})
        return bool(status["present"] == status["size"])

    keeper = Keeper(root)
    try:
        for name, each in {"used": image, "unused": other}.items():
            ask(socket_of(root), "mount", mount_request(each, layout_of(each, tmp_path / name), name))
            eventually(partial(is_whole, name), "all of it comes")
        eventually(lambda: not any(files for *_, files in os.walk(root / "partial")), "and lies with whole blobs")
        ask(socket_of(root), "remove", {"id": "unused"})
        told = modelcar.json("gc")["mounts"]
        assert told["freed"] == 0
        assert sum(map(len, other.blobs.values())) <= told["unused"] < told["size"]
        assert modelcar("gc").splitlines()[1].endswith(": `modelcar gc --mounts` frees that")
        assert modelcar.json("gc", "--mounts", "--dry-run")["mounts"] == {**told, "freed": told["unused"]}
        assert modelcar.json("gc")["mounts"] == told, "nothing went"
        freed = modelcar.json("gc", "--mounts")["mounts"]["freed"]
        eventually(lambda: modelcar.json("gc", "--mounts")["mounts"]["unused"] == 0, "nobody holds it")
        assert freed <= told["unused"]
        kept = OciLayout(root)
        assert not [digest for digest in other.blobs if digest in kept]
        assert all(layer.digest in kept for layer in image.manifest.layers)
        assert modelcar("gc", "--mounts").splitlines()[1].startswith("freed 0 B of ")
        assert "of which" not in modelcar("gc")
    finally:
        keeper.close()
