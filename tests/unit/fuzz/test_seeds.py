"""Whatever the fuzzer has found once is scanned by every run of the tests."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import TARGETS, Broken, check, seeds


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once_is_not_found_again(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCAR_DEBUG", "1")
    for seed in seeds(target).values():
        check(target, seed)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_takes_anything(target: str) -> None:
    check(target, b"")
    for number in range(8):
        check(target, bytes([number]))
        check(target, bytes([number]) + b"\x80\x02K\x01.")


def test_a_failing_parser_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> object:
        raise KeyError("x")

    monkeypatch.setattr("modelcar.scanning.formats.safetensors.read_safetensors", fail)
    with pytest.raises(Broken, match="failed: KeyError"):
        check("weights", b"\x00\x00")
