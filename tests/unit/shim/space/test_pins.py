from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.oci import Digest, Reference
from registry_shim.space.pins import Pins
from registry_shim.space.uses import Uses

REFERENCE = Reference.parse("ghcr.io/org/model:v1")


def test_pins_survive_a_restart(tmp_path: Path) -> None:
    Pins(tmp_path / "pins.json").add(REFERENCE, Digest.of(b"a"))
    (pin,) = Pins(tmp_path / "pins.json").all()
    assert (pin.reference, pin.digest) == (REFERENCE, Digest.of(b"a"))
    Pins(tmp_path / "pins.json").remove(REFERENCE)
    assert Pins(tmp_path / "pins.json").all() == ()


def test_only_a_pinned_tag_follows(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins.json")
    pins.settle(REFERENCE, Digest.of(b"a"))
    assert pins.all() == ()
    pins.add(REFERENCE)
    pins.settle(REFERENCE, Digest.of(b"b"))
    assert [pin.digest for pin in Pins(tmp_path / "pins.json").all()] == [Digest.of(b"b")]


@pytest.mark.parametrize("content", [b"", b"{}]", b'{"pins":[{"reference":"/"}]}', b'{"pins":[{}]}', b'{"pins":3}'])
def test_a_damaged_file_is_no_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pins.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"pins\.json is damaged") as e:
        Pins(tmp_path / "pins.json")
    assert e.value.hint


def test_a_change_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "missing" / "pins.json")
    with pytest.raises(StorageError):
        pins.add(REFERENCE)
    assert pins.all() == ()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"sha256:0":"x"}'])
def test_damaged_uses_are_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "uses.json").write_bytes(content)
    uses = Uses(tmp_path / "uses.json")
    assert uses.of(Digest.of(b"a")) == 0.0
    uses.touch(Digest.of(b"a"), 5.0)
    uses.touch(Digest.of(b"a"), 4.0)
    uses.save()
    assert Uses(tmp_path / "uses.json").of(Digest.of(b"a")) == 5.0


def test_uses_of_what_is_gone_are_forgotten(tmp_path: Path) -> None:
    uses = Uses(tmp_path / "uses.json")
    for name in (b"a", b"b"):
        uses.touch(Digest.of(name), 5.0)
    uses.keep([Digest.of(b"b")])
    uses.save()
    again = Uses(tmp_path / "uses.json")
    assert (again.of(Digest.of(b"a")), again.of(Digest.of(b"b"))) == (0.0, 5.0)
