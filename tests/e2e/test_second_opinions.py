"""The real picklescan, modelscan and fickling look at pickles, each in its sealed process."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support.second_opinions import Scanners, second_opinions
from tests.support.weights import safetensors_bytes

TENSORS = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02s."


class Attack:
    """Pickled, it is a call of `os.system`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


@pytest.fixture(scope="module")
def scanners() -> Scanners:
    return second_opinions()


@pytest.fixture(scope="module")
def folder(workspace: Path) -> Path:
    folder = workspace / "opinions"
    folder.mkdir()
    attack = pickle.dumps(Attack())
    for name, data in {
        "config.json": b"{}",
        "good.pkl": pickle.dumps({"a": [1, 2, 3]}),
        "model.safetensors": safetensors_bytes({"a": ("F32", (2,), bytes(8))}),
        "attack.pkl": attack,
        "broken.pkl": attack[:-1] + b"\xff\xff",
        "good.pt": torch_file({"data.pkl": TENSORS, "data/0": bytes(100), "version": b"3\n"}),
        "attack.pt": torch_file({"data.pkl": attack, "data/0": bytes(100), "version": b"3\n"}),
        "unknown.xyz": b"\xff\xfe\xfd what is this",
    }.items():
        (folder / name).write_bytes(data)
    return folder


def torch_file(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def said(report: dict[str, Any], scanner: str) -> dict[str, set[str]]:
    """The rules under which `scanner` has something to say, by file."""
    rules: dict[str, set[str]] = {}
    for file in report["files"]:
        for finding in file["findings"]:
            if finding.get("scanner") == scanner:
                rules.setdefault(file["path"], set()).add(finding["rule"].removeprefix("scanner."))
    return rules


@pytest.mark.parametrize(
    ("scanner", "expected"),
    [
        (
            "picklescan",
            {
                "attack.pkl": {"malicious"},
                "attack.pt": {"malicious"},
                "broken.pkl": {"malicious", "failed"},
                "unknown.xyz": {"failed"},
            },
        ),
        pytest.param(
            "modelscan",
            {
                "attack.pkl": {"malicious"},
                "attack.pt": {"malicious", "remark"},
                "good.pt": {"remark"},
                "broken.pkl": {"failed"},
                "unknown.xyz": {"failed"},
            },
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="modelscan does not install on Python 3.13"),
        ),
        (
            "fickling",
            {
                "attack.pkl": {"malicious", "suspicious"},
                "attack.pt": {"malicious", "suspicious"},
                "good.pt": {"suspicious"},
                "broken.pkl": {"malicious", "suspicious"},
                "unknown.xyz": {"failed"},
            },
        ),
    ],
)
def test_what_each_says(scanners: Scanners, folder: Path, scanner: str, expected: dict[str, set[str]]) -> None:
    report = scanners.scan(folder, scanner)
    assert said(report, scanner) == expected
    (version,) = [each["version"] for each in report["scanners"] if each["name"] == scanner]
    assert version[0].isdigit()
    verdicts = {file["path"]: file["verdict"] for file in report["files"]}
    assert verdicts["model.safetensors"] == "clean"
    assert verdicts["attack.pkl"] == "malicious"
