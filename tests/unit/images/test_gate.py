"""The scan beside a build: nothing goes out before its verdict, nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread, current_thread

import pytest

from modelcar.checkpoint import Checkpoint, open_checkpoint
from modelcar.errors import Denied, SourceChanged, StorageError
from modelcar.images import building, operations
from modelcar.images import gate as gate_module
from modelcar.images.gate import ArrivalGate, ScanGate, Upload, gated
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, media_types
from modelcar.registry.cancel import current_scope
from modelcar.scanning.report import FileReport, Report
from modelcar.scanning.settings import ScanSettings
from modelcar.scanning.version import RULE_SET
from modelcar.store import LocalStore
from tests.support.checkpoints import make_checkpoint
from tests.support.scanning import findings_in

EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."
LAYER = Descriptor.of(media_types.LAYER_TAR, b"x")
CONTENT = ByteMap([])
PATIENCE = 20.0  # seconds, for what should take none


def report_on(data: bytes) -> Report:
    file = FileReport(path="a.bin", size=len(data), formats=("pickle",), findings=findings_in("a.bin", data))
    return Report(subject="x", files=(file,), rule_set=RULE_SET, scanners=(), scanned_at=datetime.now(UTC))


GOOD, BAD = report_on(b"\x80\x02K\x01."), report_on(EVIL)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(str(make_checkpoint(tmp_path / "model")))


def in_thread(step: Callable[[], object]) -> Thread:
    thread = Thread(target=step)
    thread.start()
    return thread


def test_whoever_has_the_verdict_knows_that_all_is_on_its_way() -> None:
    """Whoever uploads stops listening once the verdict is there: what comes later would be lost."""
    gate, going = ScanGate(), Event()
    sent: list[int] = []

    def slow(layer: Descriptor, content: ByteMap) -> None:
        assert going.wait(PATIENCE)
        sent.append(len(sent))

    for _ in range(3):
        gate.hold(slow)(LAYER, CONTENT)
    counted: list[int] = []

    def wait() -> None:
        gate.require()
        counted.append(len(sent))

    waiting = in_thread(wait)
    finishing = in_thread(lambda: gate.finish(GOOD))
    gate.hold(slow)(LAYER, CONTENT)  # from a layer that is done just now
    going.set()
    finishing.join(PATIENCE)
    waiting.join(PATIENCE)
    assert (counted, len(sent)) == ([4], 4)
    gate.hold(slow)(LAYER, CONTENT)
    assert len(sent) == 5


def test_of_what_is_malicious_nothing_goes_out() -> None:
    gate, sent = ScanGate(), list[object]()
    upload = gate.hold(lambda *layer: sent.append(layer))
    upload(LAYER, CONTENT)
    gate.finish(BAD)
    with pytest.raises(Denied, match="the scan says no"):
        upload(LAYER, CONTENT)
    with pytest.raises(Denied):
        gate.require()
    assert sent == []


def test_an_upload_that_fails_while_it_was_held_is_told() -> None:
    gate = ScanGate()

    def fail(layer: Descriptor, content: ByteMap) -> None:
        raise StorageError("the registry is full")

    gate.hold(fail)(LAYER, CONTENT)
    with pytest.raises(StorageError):
        gate.finish(GOOD)
    gate.fail(StorageError("the registry is full"))
    with pytest.raises(StorageError, match="the registry is full"):
        gate.require()


def test_a_scan_that_fails_is_no_yes(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Report:
        raise KeyError("x")

    monkeypatch.setattr(gate_module, "scan_checkpoint", broken)
    sent: list[object] = []

    def send(gate: ScanGate | ArrivalGate) -> None:
        gate.hold(lambda *layer: sent.append(layer))(LAYER, CONTENT)
        gate.require()

    with gated(checkpoint, ScanSettings()) as gate, pytest.raises(KeyError):
        send(gate)
    assert sent == []


def test_leaving_early_ends_the_scan(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = Event(), Event()

    def endless(*_: object, **__: object) -> Report:
        assert current_thread().name == "modelcar-scan"
        begun.set()
        scope = current_scope()
        assert scope is not None
        try:
            while True:
                scope.wait(PATIENCE)
        finally:
            ended.set()

    monkeypatch.setattr(gate_module, "scan_checkpoint", endless)

    def interrupted() -> None:
        assert begun.wait(PATIENCE)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), gated(checkpoint, ScanSettings()):
        interrupted()
    assert ended.is_set()


def test_a_scan_that_never_began(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"), gated(checkpoint, ScanSettings()):
        pass


def test_a_file_that_changes_before_it_is_scanned(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model")
    opened = open_checkpoint(str(folder))
    config = folder / "config.json"
    before = config.stat()
    config.write_bytes(config.read_bytes().replace(b'"', b'"', 1)[:-1] + b" ")
    os.utime(config, ns=(before.st_atime_ns, before.st_mtime_ns))
    with gated(opened, ScanSettings()) as gate, pytest.raises(SourceChanged):
        gate.require()


def test_a_build_by_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    folder = make_checkpoint(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(EVIL)
    store = LocalStore(tmp_path / "home")
    with pytest.raises(Denied, match="the scan says no"):
        operations.build(folder, "localhost:5000/x:v1", store=store)
    assert store.names.list() == {}
    operations.build(folder, "localhost:5000/x:v1", store=store, scan=False)
    assert list(store.names.list()) == ["localhost:5000/x:v1"]


def test_a_build_ends_with_the_first_layer_after_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to wait until hundreds of gigabytes are hashed."""
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    folder = make_checkpoint(tmp_path / "model")
    reached: list[str] = []
    finished = Event()

    def build(*_: object, upload: Upload, **__: object) -> None:
        assert finished.wait(PATIENCE)
        upload(LAYER, CONTENT)
        reached.append("the end")

    monkeypatch.setattr(gate_module, "scan_checkpoint", lambda *_, **__: BAD)
    monkeypatch.setattr(building, "build_image", build)
    monkeypatch.setattr(ScanGate, "finish", _then(ScanGate.finish, finished))
    with pytest.raises(Denied):
        operations.build(folder, "localhost:5000/x:v1", store=LocalStore(tmp_path / "home"))
    assert reached == []


def _then(step: Callable[[ScanGate, Report], None], done: Event) -> Callable[[ScanGate, Report], None]:
    def both(gate: ScanGate, report: Report) -> None:
        step(gate, report)
        done.set()

    return both
