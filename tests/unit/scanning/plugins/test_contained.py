"""A scanner in a process of its own: what it says comes back, and whatever else it does stays there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelcar.scanning.content import literal
from modelcar.scanning.findings import Finding
from modelcar.scanning.limits import Limits
from modelcar.scanning.plugins import FileUnderScan, Isolation
from tests.unit.scanning.plugins.conftest import AskContained

pytestmark = pytest.mark.slow  # a process for each


def said(findings: list[Finding]) -> list[str]:
    return [f"{finding.rule.id}: {finding.detail.removeprefix('fake: ')}" for finding in findings]


def test_findings_come_back(ask_contained: AskContained) -> None:
    findings = ask_contained(
        "yield note((file.path, file.name, file.size, file.formats, file.open().read(3)))\n"
        "with file.on_disk() as path:\n"
        "    text = path.read_text()\n"
        "yield PluginFinding(severity=Severity.MALICIOUS, title=text, detail='d', offset=3, member='m')",
        FileUnderScan(path="sub/model.bin", content=literal(b"0123456789"), formats=("a", "b")),
    )
    assert said(findings) == [
        "scanner.remark: ('sub/model.bin', 'model.bin', 10, ('a', 'b'), b'012')",
        "scanner.malicious: 0123456789: d",
    ]
    assert (findings[1].path, findings[1].offset) == ("sub/model.bin!m", 3)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise ScannerFailed('too large')\nyield", "too large"),
        ("raise OSError('no')\nyield", "OSError: no"),
        ("os._exit(3)\nyield", "its process ended with status 3"),
        ("os._exit(0)\nyield", "its process ended with status 0"),
        ("os.kill(os.getpid(), signal.SIGSEGV)\nyield", "its process was ended by SIGSEGV"),
        ("x = bytearray(1 << 31)\nyield", "it takes more than 1024 MiB of memory"),
        ("while True: yield note('x' * 10000)", "its findings have no end"),
        ("while True: yield note('x' * (1 << 20))", "its answer has no end"),
    ],
)
def test_whatever_goes_wrong_there_is_a_failure_here(ask_contained: AskContained, body: str, why: str) -> None:
    findings = ask_contained(body, limits=Limits(findings=3, plugin_memory=1 << 30))
    assert said([f for f in findings if f.rule.id == "scanner.failed"]) == [f"scanner.failed: {why}"]


def test_what_is_no_finding_is_a_failure(ask_contained: AskContained) -> None:
    (finding,) = ask_contained("return [42]")
    assert finding.rule.id == "scanner.failed"


def test_what_was_said_before_a_crash_counts(ask_contained: AskContained) -> None:
    findings = ask_contained("yield note('first')\nos.abort()")
    assert said(findings) == ["scanner.remark: first", "scanner.failed: its process was ended by SIGABRT"]


@pytest.mark.slow
def test_a_scanner_that_hangs_is_ended_with_all_that_it_started(ask_contained: AskContained, tmp_path: Path) -> None:
    findings = ask_contained(
        f"child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "yield note('waiting')\n"
        "time.sleep(600)",
        limits=Limits(seconds=5),
    )
    assert said(findings) == ["scanner.remark: waiting", "scanner.failed: it took too long"]
    assert _has_ended(int((tmp_path / "pid").read_text()))


def test_what_it_leaves_behind_is_ended_and_removed(ask_contained: AskContained, tmp_path: Path) -> None:
    findings = ask_contained(
        "import tempfile\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "yield note(tempfile.mkdtemp())"
    )
    assert not Path(findings[0].detail.removeprefix("fake: ")).exists()
    assert _has_ended(int((tmp_path / "pid").read_text()))


def _has_ended(pid: int) -> bool:
    """Whether a process that was killed is gone, or waits to be taken notice of."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_what_it_prints_is_no_answer(ask_contained: AskContained) -> None:
    findings = ask_contained("print('{\"done\": true}', flush=True)\nos.system('echo hello')\nyield note('last')")
    assert said(findings) == ["scanner.remark: last"]


def test_it_gets_no_secrets(ask_contained: AskContained, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COSIGN_PASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MODELCAR_SCANNER_MODE"):
        monkeypatch.setenv(name, "x")
    findings = ask_contained("yield note(sorted(n for n in os.environ if n[:3] in ('COS', 'HF_', 'AWS', 'MOD')))")
    assert said(findings) == ["scanner.remark: ['MODELCAR_SCANNER_MODE']"]


def test_nothing_is_imported_from_the_folder_of_the_model(
    ask_contained: AskContained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "checkpoint"
    hostile.mkdir()
    for name in ("json.py", "sitecustomize.py", "modelcar.py", "socket.py"):
        (hostile / name).write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("PYTHONPATH", "")
    assert said(ask_contained("yield note('fine')")) == ["scanner.remark: fine"]
    assert not (tmp_path / "owned").exists()


def test_there_is_no_network_where_that_can_be_had(ask_contained: AskContained) -> None:
    names = "yield note(len(socket.if_nameindex()))"
    (connected,) = said(ask_contained(names, isolation=Isolation.CONNECTED))
    assert connected == f"scanner.remark: {len(list(Path('/sys/class/net').iterdir()))}"
    (sealed,) = said(ask_contained("s = socket.socket()\nyield note(s.connect_ex(('127.0.0.1', 9)))"))
    if os.geteuid() == 0:
        assert sealed == "scanner.remark: 101"  # ENETUNREACH: not even the loopback device is up


@pytest.mark.parametrize("name", ["model.bin", "blob"])
def test_what_lies_on_disk_is_not_copied(ask_contained: AskContained, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"0123456789")
    file = FileUnderScan(path="sub/model.bin", content=literal(b"0123456789"), source=tmp_path / name)
    findings = ask_contained(
        "with file.on_disk() as path:\n    yield note((path.name, path.stat().st_ino, path.read_bytes()))", file
    )
    assert said(findings) == [f"scanner.remark: ('model.bin', {(tmp_path / name).stat().st_ino}, b'0123456789')"]


def test_names_that_no_file_can_have(ask_contained: AskContained) -> None:
    assert {FileUnderScan(path=p, content=literal(b"x")).name for p in ("..", "a/..", "a\0b", "", "x/")} == {"file"}
    findings = ask_contained("yield note(file.path == '..')", FileUnderScan(path="..", content=literal(b"x")))
    assert said(findings) == ["scanner.remark: True"]
    findings = ask_contained("yield note(1)", FileUnderScan(path="x" * 300, content=literal(b"x")))
    assert [f.rule.id for f in findings] == ["scanner.failed"]


def test_a_copy_goes_to_the_spool_folder_and_goes_away(ask_contained: AskContained, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    file = FileUnderScan(path="model.bin", content=literal(b"x" * 3_000_000), spool=spool)
    findings = ask_contained("with file.on_disk() as p:\n    yield note((p.parents[1], p.stat().st_size))", file)
    assert said(findings) == [f"scanner.remark: (PosixPath('{spool}'), 3000000)"]
    assert list(spool.iterdir()) == []
