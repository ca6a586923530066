"""Golden pods through both doors: the webhook over TLS, and `modelcar inject`. Both say what the folder says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelcar.admission.admit import Offline
from modelcar.admission.files.inject import inject
from modelcar.admission.review import MAX_WARNING
from modelcar.cli import main
from tests.support.pods import CALLER, CASES, Case, load_yaml
from tests.support.reviews import a_review, patched_by, raw, response_of
from tests.support.webhooks import running, webhook_settings

OFFLINE = [
    case for case in CASES if isinstance(case.resolver(), Offline) and not (case.folder / "settings.yaml").exists()
]


HEAD = "# A pod.\napiVersion: v1\nkind: Pod\n"


def ids(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


def text_of(case: Case) -> str:
    """The pod as a file; in a review it needs no kind."""
    text = (case.folder / "pod.yaml").read_text()
    return text if "kind" in case.pod() else HEAD + text


def without_head(pod: dict[str, Any], case: Case) -> dict[str, Any]:
    return {name: value for name, value in pod.items() if name in case.pod() or name not in ("apiVersion", "kind")}


def expected(case: Case) -> tuple[Any, list[str], list[str]]:
    """The pod as it goes out, the lines of a denial (one of both), and warnings."""
    name, text = case.expected()
    if name == "denied.txt":
        return None, [line.removeprefix("hint: ") for line in text.splitlines()], []
    warnings = [line.removeprefix("# warning: ") for line in text.splitlines() if line.startswith("# warning: ")]
    return load_yaml(text), [], warnings


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_webhook(case: Case, tmp_path: Path) -> None:
    async def main() -> list[dict[str, Any]]:
        async with running(tmp_path, case.resolver(), webhook_settings(case.settings())) as webhook:
            first = response_of((await webhook.ask(raw(a_review(case.pod(), namespace=CALLER.namespace)))).body)
            again = a_review(patched_by(first, case.pod()), namespace=CALLER.namespace)
            return [first, response_of((await webhook.ask(raw(again))).body)]

    pod, denial, warnings = expected(case)
    first, again = asyncio.run(main())
    if pod is None:
        assert first["allowed"] is False
        assert all(line in first["status"]["message"] for line in denial)
        return
    assert patched_by(first, case.pod()) == pod
    assert first.get("warnings", []) == [w if len(w) <= MAX_WARNING else f"{w[: MAX_WARNING - 1]}…" for w in warnings]
    assert again["allowed"] is True
    assert "patch" not in again


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_inject(case: Case) -> None:
    text = text_of(case)
    found = inject(text, "pod.yaml", case.resolver(), case.settings(), namespace=CALLER.namespace)
    pod, denial, warnings = expected(case)
    if pod is None:
        (denied,) = found.pods
        assert denied.error is not None
        assert [str(denied.error), *([denied.error.hint] if denied.error.hint else [])] == denial
        assert found.text == text
        return
    assert without_head(load_yaml(found.text), case) == pod
    assert [warning for result in found.pods for warning in result.warnings] == warnings
    again = inject(found.text, "pod.yaml", case.resolver(), case.settings(), namespace=CALLER.namespace)
    assert again.text == found.text


@pytest.mark.parametrize("case", OFFLINE, ids=ids(OFFLINE))
def test_inject_command(case: Case, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(text_of(case))
    status = main(["inject", "-f", str(file)])
    printed = capfdbinary.readouterr().out
    pod, _, _ = expected(case)
    if pod is None:
        assert (status, printed) == (1, b"")
        return
    assert status == 0
    assert without_head(load_yaml(printed), case) == pod
