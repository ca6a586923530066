"""The OCI distribution specification's own conformance suite against `registry-shim serve`.

The suite is a Go program of its own, which is neither part of this repository nor installed with it.
`OCI_CONFORMANCE` names its compiled tests (release 1.1.1); without it there is nothing to run.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.commands import run
from tests.e2e.support.registries import embedded_registry

pytestmark = pytest.mark.conformance

WORKFLOWS = ("PULL", "PUSH", "CONTENT_DISCOVERY", "CONTENT_MANAGEMENT")
# Nothing of the specification: two are for registries that cannot be pushed to, one for those that mount blobs
# without being told from where, and one for those that answer such a mount otherwise than we do.
NOT_FOR_US = (
    "Get tag name from environment",
    "Populate registry with test tags (no push)",
    "Cross-mounting of nonexistent blob should yield session id",
    "Cross-mounting without from, and automatic content discovery enabled should return a 201",
)


@pytest.fixture
def suite() -> Path:
    path = os.environ.get("OCI_CONFORMANCE")
    if not path:
        pytest.skip("OCI_CONFORMANCE does not name the conformance suite")
    return Path(path)


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
        **{f"OCI_TEST_{workflow}": "1" for workflow in WORKFLOWS},
    }
    done = run(suite, check=False, environment=environment)
    passed, failed, skipped = counts(done.stdout)
    print(f"conformance: {passed} passed, {failed} failed, {skipped} skipped")
    assert (done.returncode, failed) == (0, 0), done.stdout
    assert {name for name in skipped_tests(tmp_path / "junit.xml") if not name.endswith(NOT_FOR_US)} == set()
    assert (passed, skipped) == (75, 4)


def counts(output: str) -> tuple[int, int, int]:
    """The suite's own summary: passed, failed, skipped."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    match = re.search(r"(\d+) Passed \| (\d+) Failed \| \d+ Pending \| (\d+) Skipped", plain)
    assert match, output
    passed, failed, skipped = map(int, match.groups())
    return passed, failed, skipped


def skipped_tests(path: Path) -> list[str]:
    cases = ET.parse(path).getroot().iter("testcase")  # noqa: S314  # the suite that we started wrote it
    return [case.get("name", "") for case in cases if case.find("skipped") is not None]
