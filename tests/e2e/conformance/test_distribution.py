"""The OCI distribution specification's own conformance suite against `registry-shim serve`.

The suite is a Go program of its own, which is neither part of this repository nor installed with it. `OCI_CONFORMANCE`
names its source, the folder `conformance` of the specification's release 1.1.1, or what `go test -c` makes of that;
without it there is nothing to run.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.commands import BIN, run, serving
from tests.e2e.support.dispatcher import dispatcher
from tests.e2e.support.registries import embedded_registry
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

_PREFIX = "OCI Distribution Conformance Tests "
# How many tests each workflow has that apply to us, and thus must pass.
WORKFLOWS = {"Pull": 23, "Push": 27, "Content Discovery": 15, "Content Management": 10}
# Each of the others is for registries that are unlike ours: that cannot be pushed to (two), that take a mount for a new
# upload (201 and 202 are both right; we mount), or that mount without being told from where (optional, and not wise).
NOT_FOR_US = (
    "Get tag name from environment",
    "Populate registry with test tags (no push)",
    "Cross-mounting of nonexistent blob should yield session id",
    "Cross-mounting without from, and automatic content discovery enabled should return a 201",
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = os.environ.get("OCI_CONFORMANCE")
    if not name:
        pytest.skip("OCI_CONFORMANCE does not name the conformance suite")
    path = Path(name).absolute()
    if path.is_dir():
        source, path = path, tmp_path_factory.mktemp("suite") / "conformance.test"
        run("go", "test", "-C", source, "-c", "-o", path, ".", within=600)
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with embedded_registry(tmp_path / "registry") as address:
        yield address


@pytest.mark.parametrize("manifests_first", ["0", "1"])
def test_all_four_workflows(suite: Path, registry: str, tmp_path: Path, manifests_first: str) -> None:
    environment = {
        "OCI_ROOT_URL": f"http://{registry}",
        "OCI_NAMESPACE": "conformance/one",
        "OCI_CROSSMOUNT_NAMESPACE": "conformance/two",
        "OCI_AUTOMATIC_CROSSMOUNT": "0",
        "OCI_DELETE_MANIFEST_BEFORE_BLOBS": manifests_first,
        "OCI_REPORT_DIR": str(tmp_path),
        **{f"OCI_TEST_{workflow.upper().replace(' ', '_')}": "1" for workflow in WORKFLOWS},
    }
    done = run(suite, check=False, environment=environment)
    assert done.returncode == 0, done.stdout
    tests = outcomes(tmp_path / "junit.xml")
    print("conformance:", dict(Counter(outcome for _, outcome in tests)))
    assert {outcome for _, outcome in tests} == {"passed", "skipped"}
    for workflow, expected in WORKFLOWS.items():
        passed = [name for name, outcome in tests if name.startswith(f"{workflow} ") and outcome == "passed"]
        assert len(passed) == expected, passed
    skipped = [name for name, outcome in tests if outcome == "skipped"]
    assert all(name.endswith(NOT_FOR_US) for name in skipped), skipped
    assert len(skipped) == len(NOT_FOR_US)


def test_reading_through_a_mirror(suite: Path, registry: str, tmp_path: Path) -> None:
    """What the suite writes goes to the registry, what it reads comes through a shim that mirrors it."""
    options = ("--listen", "127.0.0.1:0", "--upstream", f"registry.example=http://{registry}")
    command = (BIN / "registry-shim", "serve", "--root", tmp_path / "mirror", *options, "--ready-file", tmp_path / "up")
    workflows = ("Pull", "Content Discovery")
    with serving(tmp_path / "log", *command):
        eventually((tmp_path / "up").exists, "the mirror starts")
        mirror = (tmp_path / "up").read_text().strip()
        with dispatcher(registry, mirror, "registry.example.shim.local") as address:
            environment = {
                "OCI_ROOT_URL": f"http://{address}",
                "OCI_NAMESPACE": "conformance/one",
                "OCI_REPORT_DIR": str(tmp_path),
                **{f"OCI_TEST_{workflow.upper().replace(' ', '_')}": "1" for workflow in workflows},
            }
            done = run(suite, check=False, environment=environment)
    assert done.returncode == 0, done.stdout
    tests = outcomes(tmp_path / "junit.xml")
    for workflow in workflows:
        passed = [name for name, outcome in tests if name.startswith(f"{workflow} ") and outcome == "passed"]
        assert len(passed) == WORKFLOWS[workflow], passed


def outcomes(path: Path) -> list[tuple[str, str]]:
    """Every test's name, from the workflow on, and how it ended. Some names occur twice."""
    cases = ET.parse(path).getroot().iter("testcase")  # noqa: S314  # the suite that we started wrote it
    named = [(case.get("name", "").removeprefix(_PREFIX), case) for case in cases]
    return [
        (name, "skipped" if case.find("skipped") is not None else case.get("status", ""))
        for name, case in named
        if name.startswith(tuple(WORKFLOWS))  # the rest is the suite's own reporting
    ]
