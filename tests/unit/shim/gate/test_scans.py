"""Scans in a process of their own: confined, ended when they should be, and never a verdict where something failed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.errors import NotFound, WorldError
from modelcar.oci import Descriptor
from modelcar.scanning.findings import Outcome
from registry_shim.gate.scans import Scan
from registry_shim.gate.settings import NodeScan
from registry_shim.gate.verdicts import NodeVerdict
from tests.support.gate import EVIL, LLM, Arrivals, Upstream
from tests.support.scanned_images import index_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def scan_of(upstream: Upstream, root: Descriptor, arrivals: Arrivals, folder: Path, **settings: float) -> Scan:
    folder.mkdir(exist_ok=True)
    return Scan(LLM, root, upstream.place, arrivals, NodeScan(**settings), folder)  # type: ignore[arg-type]  # settings by their names


def workers(folder: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "environ").read_bytes():
                yield int(process.name)
        except OSError:
            continue


def test_layers_of_other_images_cannot_be_named(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = upstream.image({"models/a.txt": b"a"}), upstream.image({"models/b.txt": b"b"})
    (ours,), (theirs,) = upstream.layers(root), upstream.layers(other)
    taken_over = {"outcome": "malicious", "reasons": ["it says so"], "layers": [str(theirs), str(ours)]}
    monkeypatch.setattr(Scan, "_follow", lambda *_: taken_over)
    verdict = scan_of(upstream, root, Arrivals(upstream.store.content), tmp_path / "spool").run()
    assert verdict.layers == (ours,)


def test_an_image_for_two_platforms_is_read_once(upstream: Upstream, tmp_path: Path) -> None:
    shared = upstream.layer({"models/shared.txt": b"hello"})
    root = index_of(upstream.store, upstream.image(None, shared), upstream.image({"models/b.txt": b"b"}, shared))
    arrivals = Arrivals(upstream.store.content)
    verdict = scan_of(upstream, root, arrivals, tmp_path / "spool").run()
    assert (verdict.outcome, verdict.reasons) == (Outcome.CLEAN, ())
    assert sorted(map(str, arrivals.leased)) == sorted(set(map(str, arrivals.leased)))
    assert verdict.size == sum(arrivals.store.size(digest) for digest in arrivals.leased)


def test_every_evil_layer_is_named_or_the_first_at_once(upstream: Upstream, tmp_path: Path) -> None:
    root = upstream.image({"models/a.bin": EVIL})
    verdict = scan_of(upstream, root, Arrivals(upstream.store.content), tmp_path / "spool").run()
    assert verdict.outcome is Outcome.MALICIOUS
    assert list(verdict.layers) == upstream.layers(root)
    assert "posix.system" in verdict.reasons[0]


def test_bytes_that_are_others_are_no_verdict(upstream: Upstream, tmp_path: Path) -> None:
    """A lease that hands over something else than the digest says, as a broken cache would."""
    root, other = upstream.image(), upstream.image({"models/model.safetensors": b"x" * 100})
    arrivals = Arrivals(upstream.store.content)
    (wanted,), (wrong,) = upstream.layers(root), upstream.layers(other)
    lease = arrivals.lease

    def swapped(origin: object, descriptor: Descriptor, purpose: object) -> object:
        lying = descriptor if descriptor.digest != wanted else None
        return lease(LLM, lying or upstream.document(other).layers[0], purpose)  # type: ignore[union-attr,arg-type]  # an index

    assert wanted != wrong
    arrivals.lease = swapped  # type: ignore[assignment,method-assign]  # another's layer
    with pytest.raises(WorldError, match="came to no verdict"):
        scan_of(upstream, root, arrivals, tmp_path / "spool").run()


def test_what_cannot_be_had_fails_the_scan(upstream: Upstream, tmp_path: Path) -> None:
    root = upstream.image()
    arrivals = Arrivals(upstream.store.content, held=set(upstream.layers(root)))
    scan = scan_of(upstream, root, arrivals, tmp_path / "spool")
    outcome: list[BaseException] = []
    thread = threading.Thread(target=_run, args=(scan, outcome))
    thread.start()
    eventually(lambda: arrivals.leased)
    arrivals.release(upstream.layers(root)[0], NotFound("the blob is gone"))
    thread.join(20)
    assert [str(e) for e in outcome] == ["the blob is gone"]
    assert list(workers(tmp_path / "spool")) == []


def test_a_scan_can_be_cancelled_and_leaves_no_process(upstream: Upstream, tmp_path: Path) -> None:
    root = upstream.image()
    arrivals = Arrivals(upstream.store.content, held=set(upstream.layers(root)))
    scan = scan_of(upstream, root, arrivals, tmp_path / "spool")
    outcome: list[BaseException] = []
    thread = threading.Thread(target=_run, args=(scan, outcome))
    thread.start()
    eventually(lambda: list(workers(tmp_path / "spool")))
    scan.cancel()
    thread.join(20)
    assert "given up" in str(outcome[0])
    assert list(workers(tmp_path / "spool")) == []


def test_a_process_that_is_killed_is_no_verdict(upstream: Upstream, tmp_path: Path) -> None:
    """As by the kernel, for want of memory."""
    root = upstream.image()
    arrivals = Arrivals(upstream.store.content, held=set(upstream.layers(root)))
    outcome: list[BaseException] = []
    thread = threading.Thread(target=_run, args=(scan_of(upstream, root, arrivals, tmp_path / "spool"), outcome))
    thread.start()
    eventually(lambda: list(workers(tmp_path / "spool")))
    for pid in workers(tmp_path / "spool"):
        os.kill(pid, signal.SIGKILL)
    thread.join(20)
    assert "its process was ended by SIGKILL" in str(outcome[0])


def test_a_scan_has_an_end(upstream: Upstream, tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="no verdict within"):
        scan_of(upstream, upstream.image(), Arrivals(upstream.store.content), tmp_path / "spool", seconds=0.001).run()


def test_the_process_is_confined_and_knows_no_secret(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELCAR_TOKEN", "hunter2")
    root = upstream.image()
    arrivals = Arrivals(upstream.store.content, held=set(upstream.layers(root)))
    scan = scan_of(upstream, root, arrivals, tmp_path / "spool", niceness=7, memory=1 << 30)
    thread = threading.Thread(target=_run, args=(scan, []))
    thread.start()
    try:
        eventually(lambda: any(_is_nice(pid) for pid in workers(tmp_path / "spool")))
        (pid,) = workers(tmp_path / "spool")
        assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert str(1 << 30) in next(line for line in limits.splitlines() if line.startswith("Max address space"))
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
        if os.geteuid() == 0:  # others may not make namespaces everywhere
            eventually(lambda: Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink())
    finally:
        scan.cancel()
        thread.join(20)


def _is_nice(pid: int) -> bool:
    """Confining is the last thing that it does before it asks for layers, and nice the last but a few."""
    try:
        return os.getpriority(os.PRIO_PROCESS, pid) >= 7 and "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _run(scan: Scan, outcome: list[BaseException]) -> None:
    try:
        found: NodeVerdict = scan.run()
    except BaseException as e:
        outcome.append(e)
    else:
        outcome.append(AssertionError(f"a verdict: {found.outcome}"))
