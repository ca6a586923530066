"""The rule that nothing is skipped in CI."""

from __future__ import annotations

import pytest

from tests.support.skips import unavailable


@pytest.mark.parametrize("ci", ["1", "true", "True"])
def test_what_is_missing_in_ci_is_a_failure(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.fail.Exception, match="needs loop devices: nothing may be skipped in CI"):
        unavailable("needs loop devices")


@pytest.mark.parametrize("ci", ["", "0", "false"])
def test_elsewhere_it_is_a_skip(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.skip.Exception, match=r"^needs loop devices$"):
        unavailable("needs loop devices")
