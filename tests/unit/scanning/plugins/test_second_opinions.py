"""What becomes of the answers of picklescan, modelscan and fickling, given by stand-ins for them.

The real ones are asked in `tests/e2e/test_second_opinions.py`.
"""

from __future__ import annotations

import io
import logging
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from modelcar.errors import UsageError
from modelcar.scanning.catalogue import FORMATS
from modelcar.scanning.content import literal
from modelcar.scanning.findings import Severity
from modelcar.scanning.plugins import FileUnderScan, PluginFinding, ScannerFailed, ScannerPlugin
from modelcar.scanning.plugins import fickling as fickling_plugin
from modelcar.scanning.plugins import modelscan as modelscan_plugin
from modelcar.scanning.plugins import picklescan as picklescan_plugin
from modelcar.scanning.plugins.fickling import Fickling
from modelcar.scanning.plugins.modelscan import ModelScan
from modelcar.scanning.plugins.picklescan import PickleScan
from modelcar.scanning.plugins.reach import NO_PICKLES

PROVIDE = Callable[..., None]
Answer = tuple[list[PluginFinding], str | None]


@pytest.fixture
def provide(monkeypatch: pytest.MonkeyPatch) -> PROVIDE:
    """A module that holds these things."""

    def provide(name: str, **things: object) -> None:
        module = ModuleType(name)
        vars(module).update(things)
        package = name.partition(".")[0]
        monkeypatch.setitem(sys.modules, package, module if package == name else ModuleType(package))
        monkeypatch.setitem(sys.modules, name, module)

    return provide


def answer(scanner: ScannerPlugin, data: bytes = b"x", name: str = "model.bin", *formats: str) -> Answer:
    """What it finds, and why it fails if it does."""
    found: list[PluginFinding] = []
    try:
        for each in scanner.scan(FileUnderScan(path=f"sub/{name}", content=literal(data), formats=formats)):
            found = [*found, each]
    except ScannerFailed as e:
        return found, str(e)
    return found, None


# picklescan


def picklescan(provide: PROVIDE, *imports: tuple[str, str], logs: str = "", **result: Any) -> None:
    def scan_file_path(path: str) -> SimpleNamespace:
        assert Path(path).name == "model.bin"
        if logs:
            logging.getLogger("picklescan").warning(logs.format(path=path))
        globals_ = [
            SimpleNamespace(
                module=name.rpartition(".")[0], name=name.rpartition(".")[2], safety=SimpleNamespace(value=level)
            )
            for name, level in imports
        ]
        return SimpleNamespace(**{"globals": globals_, "scanned_files": 1, "scan_err": False, **result})

    provide("picklescan.scanner", scan_file_path=scan_file_path)


def test_picklescan_levels(provide: PROVIDE) -> None:
    picklescan(
        provide,
        ("posix.system", "dangerous"),
        ("collections.OrderedDict", "innocuous"),
        ("a.b", "suspicious"),
        ("c.d", "a level of tomorrow"),
    )
    found, failed = answer(PickleScan())
    assert [(each.severity, each.detail) for each in found] == [
        (Severity.MALICIOUS, "posix.system"),
        (Severity.UNVERIFIED, "a.b"),
        (Severity.UNVERIFIED, "c.d"),
    ]
    assert failed is None


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"scan_err": True}, "it could not read all of the pickle"),
        ({"scanned_files": 0}, "it found nothing to scan in it"),
        ({"logs": "WARNING: could not parse {path} as pickle: no"}, "could not parse model.bin as pickle: no"),
        ({"logs": "Invalid file a in zip archive {path}: no"}, "Invalid file a in zip archive model.bin: no"),
    ],
)
def test_picklescan_fails(provide: PROVIDE, how: Mapping[str, Any], why: str) -> None:
    picklescan(provide, ("posix.system", "dangerous"), **how)
    found, failed = answer(PickleScan())
    assert [each.severity for each in found] == [Severity.MALICIOUS]
    assert failed is not None
    assert failed.endswith(why)
    assert "/" not in failed


def test_picklescan_may_log_what_it_found(provide: PROVIDE) -> None:
    picklescan(provide, logs="{path}: dangerous import 'posix system' FOUND")
    assert answer(PickleScan()) == ([], None)


# modelscan


def modelscan(
    provide: PROVIDE,
    issues: list[tuple[str, str]] | None = None,
    skipped: list[tuple[str, str]] | None = None,
    errors: list[str] | None = None,
    scanned: int = 1,
) -> None:
    report = {
        "issues": [{"severity": level, "description": "d", "source": source} for level, source in issues or []],
        "errors": [{"category": "PICKLE_GENOPS", "description": error} for error in errors or []],
        "summary": {
            "scanned": {"total_scanned": scanned},
            "skipped": {
                "skipped_files": [
                    {"category": category, "description": "why", "source": source} for category, source in skipped or []
                ]
            },
        },
    }
    provide("modelscan.modelscan", ModelScan=lambda: SimpleNamespace(scan=lambda _path: report))


def test_modelscan_levels(provide: PROVIDE) -> None:
    modelscan(
        provide,
        [("CRITICAL", "model.bin"), ("HIGH", "model.bin:a/b.pkl"), ("MEDIUM", "model.bin"), ("LOW", "model.bin")],
    )
    found, failed = answer(ModelScan())
    assert [(each.severity, each.member) for each in found] == [
        (Severity.MALICIOUS, ""),
        (Severity.MALICIOUS, "a/b.pkl"),
        (Severity.UNVERIFIED, ""),
        (Severity.UNVERIFIED, ""),
    ]
    assert failed is None


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"errors": ["no"]}, "no"),
        ({"skipped": [("SCAN_NOT_SUPPORTED", "model.bin")], "scanned": 0}, "it passed over model.bin: why"),
        ({"skipped": [("BAD_ZIP", "model.bin:a")]}, "it passed over model.bin:a: why"),
        ({"skipped": [("MAGIC_NUMBER", "model.bin")], "scanned": 0}, "it passed over model.bin: why"),
        (
            {"skipped": [("SCAN_NOT_SUPPORTED", "model.bin:a")], "scanned": 0},
            "it found nothing that it knows in the archive",
        ),
    ],
)
def test_modelscan_fails(provide: PROVIDE, how: Mapping[str, Any], why: str) -> None:
    modelscan(provide, [("CRITICAL", "model.bin")], **how)
    found, failed = answer(ModelScan())
    assert [each.severity for each in found] == [Severity.MALICIOUS]
    assert failed == why


def test_modelscan_never_looks_at_storages_and_says_so(provide: PROVIDE) -> None:
    modelscan(provide, skipped=[("SCAN_NOT_SUPPORTED", "model.bin:a/data/0"), ("SCAN_NOT_SUPPORTED", "model.bin:b")])
    ((note,), failed) = answer(ModelScan())
    assert (note.severity, note.detail, failed) == (Severity.NOTE, "a/data/0 and 1 more", None)


# fickling


def fickling(provide: PROVIDE, *levels: tuple[str, str], errors: tuple[str, ...] = (), members: int = 1) -> None:
    class Said(SimpleNamespace):
        def __str__(self) -> str:
            return "it says so"

    said = [Said(severity=SimpleNamespace(name=level), analysis_name=analysis) for level, analysis in levels]
    result = SimpleNamespace(results=[SimpleNamespace(results=said)], errors=list(errors))
    provide(
        "fickling",
        scan_file=lambda _path, **_: result,
        scan_zip_archive=lambda _path, **_: {f"m{number}": result for number in range(members)},
    )


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "b")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        ("OVERTLY_MALICIOUS", Severity.MALICIOUS),
        ("LIKELY_OVERTLY_MALICIOUS", Severity.MALICIOUS),
        ("LIKELY_UNSAFE", Severity.UNVERIFIED),
        ("SUSPICIOUS", Severity.UNVERIFIED),
        ("POSSIBLY_UNSAFE", Severity.UNVERIFIED),
        ("A_LEVEL_OF_TOMORROW", Severity.UNVERIFIED),
    ],
)
def test_fickling_levels(provide: PROVIDE, level: str, severity: Severity) -> None:
    fickling(provide, ("LIKELY_SAFE", ""), (level, "UnsafeImports"))
    ((found,), failed) = answer(Fickling())
    assert (found.severity, found.title, found.detail) == (severity, level.lower().replace("_", " "), "it says so")
    assert failed is None


def test_fickling_that_gives_up_has_not_found_an_attack(provide: PROVIDE) -> None:
    fickling(provide, ("LIKELY_OVERTLY_MALICIOUS", "ResourceExhaustion"))
    ((found,), _) = answer(Fickling())
    assert found.severity is Severity.UNVERIFIED


def test_fickling_fails(provide: PROVIDE) -> None:
    fickling(provide, ("OVERTLY_MALICIOUS", ""), errors=("Parse error",))
    found, failed = answer(Fickling())
    assert ([each.severity for each in found], failed) == ([Severity.MALICIOUS], "Parse error")


def test_fickling_on_archives(provide: PROVIDE) -> None:
    fickling(provide, ("LIKELY_UNSAFE", ""), members=2)
    found, failed = answer(Fickling(), zipped(), "model.pt", "zip")
    assert ([each.member for each in found], failed) == (["m0", "m1"], None)
    fickling(provide, members=0)
    assert answer(Fickling(), zipped()) == ([], "it found no pickle in the archive")


def test_fickling_reads_nothing_but_pickles(provide: PROVIDE) -> None:
    fickling(provide)
    assert answer(Fickling(), b"x", "a.npy", "numpy") == ([], "it does not read files of the format numpy")
    assert answer(Fickling(), b"x", "a.pkl", "pickle", "text") == ([], None)


# All of them


@pytest.mark.parametrize("scanner", [PickleScan(), ModelScan(), Fickling()], ids=lambda scanner: str(scanner.name))
def test_they_are_asked_about_everything_but_what_holds_no_pickle(scanner: ScannerPlugin) -> None:
    def wants(*formats: str) -> bool:
        return scanner.wants(FileUnderScan(path="f", content=literal(b""), formats=formats))

    assert not wants("safetensors")
    assert not wants("json", "text")
    assert wants("safetensors", "pickle")
    assert wants("zip")
    assert wants()


def test_the_formats_that_hold_no_pickle_are_known() -> None:
    assert {each.name for each in FORMATS} >= NO_PICKLES


@pytest.mark.parametrize("plugin", [picklescan_plugin, modelscan_plugin, fickling_plugin], ids=lambda m: m.__name__)
def test_one_that_is_not_installed_says_how_to(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UsageError, match="is not installed") as e:
        plugin.plugin()
    assert e.value.hint == "pip install 'modelcar[second-opinions]'"
