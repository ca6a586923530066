"""What a node found is its own: nobody else's file counts, no damaged one, none by other rules."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelcar.oci import Digest
from modelcar.scanning.findings import Outcome
from modelcar.scanning.version import RULE_SET
from modelcar.signing.ruleset import RuleSet
from registry_shim.gate.settings import NodeScan
from registry_shim.gate.verdicts import NodeVerdict, VerdictStore

CLEAN = NodeVerdict(
    digest=Digest.of(b"image"),
    outcome=Outcome.CLEAN,
    rule_set=RULE_SET,
    by=NodeVerdict.settings_key(NodeScan()),
    scanned_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
    reasons=("a: b",),
    layers=(Digest.of(b"layer"),),
    formats=(("safetensors", "model.safetensors"),),
    size=5,
    seconds=1.5,
)


@pytest.fixture
def store(tmp_path: Path) -> VerdictStore:
    return VerdictStore(tmp_path / "verdicts")


def the_file(store: VerdictStore) -> Path:
    (path,) = store.folder.glob("sha256-*.json")
    return path


def test_comes_back_as_it_went(store: VerdictStore) -> None:
    store.put(CLEAN)
    assert VerdictStore(store.folder).get(CLEAN.digest) == CLEAN
    assert list(store.all()) == [CLEAN]
    assert store.get(Digest.of(b"other")) is None
    store.forget(CLEAN.digest)
    assert store.get(CLEAN.digest) is None


def test_only_its_owner_may_have_written_it(store: VerdictStore) -> None:
    store.put(CLEAN)
    assert the_file(store).stat().st_mode & 0o777 == 0o600
    the_file(store).chmod(0o644)
    assert store.get(CLEAN.digest) is None


@pytest.mark.root
def test_another_users_file_says_nothing(store: VerdictStore) -> None:
    store.put(CLEAN)
    os.chown(the_file(store), 65534, 65534)
    assert store.get(CLEAN.digest) is None


def test_a_link_says_nothing(store: VerdictStore, tmp_path: Path) -> None:
    store.put(CLEAN)
    elsewhere = the_file(store).rename(tmp_path / "elsewhere")
    (store.folder / f"sha256-{CLEAN.digest.hex}.json").symlink_to(elsewhere)
    assert store.get(CLEAN.digest) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"digest": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_none(store: VerdictStore, damage: bytes) -> None:
    store.put(CLEAN)
    the_file(store).write_bytes(damage)
    assert store.get(CLEAN.digest) is None
    assert list(store.all()) == []


def test_a_verdict_about_another_image_is_none(store: VerdictStore) -> None:
    store.put(CLEAN)
    data = json.loads(the_file(store).read_text())
    the_file(store).write_text(json.dumps({**data, "digest": str(Digest.of(b"other"))}))
    assert store.get(CLEAN.digest) is None


def test_every_member_is_needed(store: VerdictStore) -> None:
    store.put(CLEAN)
    data = json.loads(the_file(store).read_text())
    for member in data:
        the_file(store).write_text(json.dumps({k: v for k, v in data.items() if k != member}))
        assert store.get(CLEAN.digest) is None, member


def test_newer_rules_and_other_settings_make_it_old() -> None:
    assert CLEAN.is_current(NodeScan())
    assert not replace(CLEAN, rule_set=RuleSet(name="modelcar", version="2025.1")).is_current(NodeScan())
    assert not replace(CLEAN, rule_set=RuleSet(name="another", version="9999")).is_current(NodeScan())
    assert not CLEAN.is_current(NodeScan(trusted_layers=(str(Digest.of(b"base")),)))
    assert CLEAN.is_current(NodeScan(at_once=4, seconds=1, niceness=0))


def test_a_disk_that_takes_nothing_costs_another_scan_after_a_restart(store: VerdictStore) -> None:
    store.folder.rmdir()
    assert store.replace(CLEAN) is None
    assert store.get(CLEAN.digest) == CLEAN
    again = VerdictStore(store.folder)
    assert again.get(CLEAN.digest) is None
    malicious = replace(CLEAN, outcome=Outcome.MALICIOUS)
    assert store.replace(malicious) == CLEAN
    assert again.get(CLEAN.digest) == store.get(CLEAN.digest) == malicious
