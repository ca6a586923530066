"""The node's own scan: what it lets through, what it cuts, whom it keeps waiting, and what spares it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import Denied, Unreachable, WorldError
from modelcar.oci import Descriptor, Digest
from modelcar.scanning.findings import Outcome
from modelcar.scanning.version import RULE_SET
from modelcar.signing.ruleset import RuleSet
from registry_shim.gate.gate import Gate
from registry_shim.gate.settings import (
    GateRule,
    NodeScan,
    OnPending,
    ScanDemand,
    Unverified,
)
from registry_shim.gate.verdicts import NodeVerdict, VerdictStore
from tests.support.gate import EVIL, LLM, Arrivals, Upstream, Watched, running_gate
from tests.support.policies import Someone, model_policy, scan_rule
from tests.unit.shim.gate.scenes import (
    MALLORY,
    NODE_SCAN,
    OTHER,
    SCANNER,
    admit,
    policies,
    run,
    settled,
    until,
)

pytestmark = pytest.mark.slow


def test_the_nodes_own_scan_lets_a_clean_image_through_and_says_how_far_it_is(
    tmp_path: Path, upstream: Upstream
) -> None:
    root = upstream.image()
    arrivals, events = Arrivals(upstream.store.content, held={upstream.layers(root)[0]}), Watched()

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, arrivals=arrivals, events=events) as gate:
            with pytest.raises(
                Denied, match=r"it (waits to be|is being) (fetched and )?scanned: \d+%; try again later"
            ):
                await admit(gate, upstream, root)
            with pytest.raises(Denied):
                await gate.admit_blob(LLM, upstream.layers(root)[0])
            arrivals.release(upstream.layers(root)[0])
            assert await settled(gate, LLM, root) is None
            assert await admit(gate, upstream, root) == ()
            await gate.admit_blob(LLM, upstream.layers(root)[0])
        (verdict,) = events.verdicts
        assert (str(verdict.outcome), verdict.reasons) == ("clean", ())
        assert dict(verdict.formats).keys() == {"safetensors"}
        async with running_gate(tmp_path, upstream, NODE_SCAN, events=events) as gate:
            assert await admit(gate, upstream, root) == ()
        assert len(events.verdicts) == 1  # what was found is still known

    run(scenario())


def test_what_the_node_finds_malicious_is_refused_for_good(tmp_path: Path, upstream: Upstream) -> None:
    good = upstream.layer({"models/model.safetensors": b""})
    root = upstream.image({"models/pytorch_model.bin": EVIL}, good)
    evil, harmless = upstream.layers(root)
    arrivals, events = Arrivals(upstream.store.content), Watched()

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, arrivals=arrivals, events=events) as gate:
            why = await settled(gate, LLM, root)
            assert why is not None
            assert "this node found it malicious: pytorch_model.bin" in why
            with pytest.raises(Denied, match="malicious"):
                await admit(gate, upstream, root)
            with pytest.raises(Denied, match="malicious"):
                await gate.admit_blob(OTHER, evil)
            assert gate.revoked(evil) is not None
            assert gate.revoked(harmless) is None
            await until(lambda: bool(events.cuts))
            assert arrivals.revoked.keys() == {evil}
        async with running_gate(tmp_path, upstream, NODE_SCAN, arrivals=arrivals, events=events) as gate:
            assert gate.revoked(evil) is not None
            with pytest.raises(Denied, match="malicious"):
                await admit(gate, upstream, root)

    run(scenario())
    assert len(events.verdicts) == 1


def by_older_rules(tmp_path: Path, root: Descriptor, outcome: Outcome, *layers: Digest) -> None:
    """What this node found before it was updated."""
    verdict = NodeVerdict(
        digest=root.digest,
        outcome=outcome,
        rule_set=RuleSet(name="modelcar", version="2025.1"),
        by=NodeVerdict.settings_key(NodeScan()),
        scanned_at=datetime.now(UTC),
        reasons=("a.bin: evil",) if layers else (),
        layers=layers,
    )
    VerdictStore(tmp_path / "verdicts").put(verdict)


def test_malicious_by_older_rules_is_refused_until_it_was_scanned_again(tmp_path: Path, upstream: Upstream) -> None:
    root, events = upstream.image(), Watched()
    layer = upstream.layers(root)[0]
    by_older_rules(tmp_path, root, Outcome.MALICIOUS, layer)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, events=events) as gate:
            assert gate.revoked(layer) is not None
            with pytest.raises(Denied, match=r"malicious: a.bin: evil"):
                await admit(gate, upstream, root)
            await until(lambda: bool(events.verdicts))
            assert await settled(gate, LLM, root) is None
            assert gate.revoked(layer) is None
            assert await admit(gate, upstream, root) == ()

    run(scenario())


def test_clean_by_older_rules_holds_meanwhile_unless_a_policy_asks_for_newer(
    tmp_path: Path, upstream: Upstream
) -> None:
    root, events = upstream.image(), Watched()
    by_older_rules(tmp_path, root, Outcome.CLEAN)

    async def scenario() -> None:
        path = policies(tmp_path, model_policy(scan=scan_rule(SCANNER)))
        demanding = GateRule(images="**", scan=ScanDemand.NODE, policies=(path,))
        held = Arrivals(upstream.store.content, held=set(upstream.layers(root)))
        async with running_gate(tmp_path, upstream, demanding, arrivals=held) as gate:
            with pytest.raises(Denied, match="try again later"):
                await admit(gate, upstream, root)
        async with running_gate(tmp_path, upstream, NODE_SCAN, events=events) as gate:
            assert await admit(gate, upstream, root) == ()
            await until(lambda: bool(events.verdicts))
            assert await admit(gate, upstream, root) == ()

    run(scenario())
    (verdict,) = VerdictStore(tmp_path / "verdicts").all()
    assert verdict.rule_set == RULE_SET


def test_hold_waits_for_the_verdict_and_refuses_when_it_takes_too_long(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    layer = upstream.layers(root)[0]
    arrivals = Arrivals(upstream.store.content, held={layer})

    async def scenario() -> None:
        rule = GateRule(images="**", scan=ScanDemand.NODE, on_pending=OnPending.HOLD, hold_seconds=30)
        async with running_gate(tmp_path / "patient", upstream, rule, arrivals=arrivals) as gate:
            held = asyncio.create_task(admit(gate, upstream, root))
            await until(lambda: layer in arrivals.leased)
            assert not held.done()
            arrivals.release(layer)
            assert await held == ()
        hasty = GateRule(images="**", scan=ScanDemand.NODE, on_pending=OnPending.HOLD, hold_seconds=0)
        stuck = Arrivals(upstream.store.content, held={layer})
        async with running_gate(tmp_path / "hasty", upstream, hasty, arrivals=stuck) as gate:
            with pytest.raises(Denied, match="is not served"):
                await admit(gate, upstream, root)

    run(scenario())


def test_stream_serves_at_once_and_cuts_when_the_first_malicious_layer_is_known(
    tmp_path: Path, upstream: Upstream
) -> None:
    shared, slow = upstream.layer({"models/shared.txt": b"both"}), upstream.layer({"models/slow.txt": b"slow"})
    honest = upstream.image({"models/honest.txt": b"honest"}, shared)
    root = upstream.image({"models/pytorch_model.bin": EVIL}, shared, slow)
    evil = upstream.layers(root)[0]
    arrivals, events = Arrivals(upstream.store.content, held={slow.digest}), Watched()

    async def scenario() -> None:
        rule = GateRule(images="**", scan=ScanDemand.NODE, on_pending=OnPending.STREAM, unverified=Unverified.ALLOW)
        async with running_gate(tmp_path, upstream, rule, arrivals=arrivals, events=events) as gate:
            await admit(gate, upstream, honest)
            assert await settled(gate, LLM, honest) is None
            arrivals.held.add(evil)
            assert await admit(gate, upstream, root) == ()
            await gate.admit_blob(LLM, evil)
            arrivals.release(evil)  # the slow layer never arrives
            await until(lambda: bool(events.cuts))
            assert arrivals.revoked.keys() == {evil}
            assert slow.digest in arrivals.cut
            assert shared.digest not in arrivals.cut
            for attempt in (admit(gate, upstream, root), gate.admit_blob(LLM, slow.digest)):
                with pytest.raises(Denied, match="malicious"):
                    await attempt
            await gate.admit_blob(LLM, shared.digest)

    run(scenario())


def test_an_unverified_image_is_refused_unless_the_rule_says_otherwise(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image({"models/custom.py": b"import os\n"})

    async def scenario() -> None:
        async with running_gate(tmp_path / "strict", upstream, NODE_SCAN) as gate:
            why = await settled(gate, LLM, root)
            assert why is not None
            assert "nobody can vouch for it: custom.py" in why
        lenient = GateRule(images="**", scan=ScanDemand.NODE, unverified=Unverified.ALLOW)
        async with running_gate(tmp_path / "lenient", upstream, lenient) as gate:
            assert await settled(gate, LLM, root) is None

    run(scenario())


def test_an_attested_verdict_spares_the_scan(tmp_path: Path, upstream: Upstream) -> None:
    root, arrivals = upstream.image({"models/custom.py": b"import os\n"}), Arrivals(upstream.store.content)
    upstream.state(root, SCANNER.key, "clean")

    async def scenario() -> None:
        path = policies(tmp_path, model_policy(scan=scan_rule(SCANNER)))
        for scan in ScanDemand:
            rule = GateRule(images="**", policies=(path,), scan=scan)
            async with running_gate(tmp_path / scan, upstream, rule, arrivals=arrivals) as gate:
                assert await admit(gate, upstream, root) == ()
        assert arrivals.leased == []

    run(scenario())


@pytest.mark.parametrize(
    ("who", "verdict", "changes", "reason"),
    [
        (MALLORY, "clean", {}, "verdict by scanner-0"),
        (SCANNER, "clean", {"scannedAt": "2026-01-01T00:00:00Z"}, "days old"),
        (SCANNER, "clean", {"ruleSet": {"name": "modelcar", "version": "2025.1"}}, "went by the rules modelcar 2025.1"),
        (SCANNER, "unverified", {}, "came to no verdict"),
    ],
)
def test_a_verdict_that_does_not_suffice_is_none(
    tmp_path: Path, upstream: Upstream, who: Someone, verdict: str, changes: dict[str, Any], reason: str
) -> None:
    root, events = upstream.image(), Watched()
    upstream.state(root, who.key, verdict, **changes)

    async def scenario() -> None:
        path = policies(tmp_path, model_policy(scan=scan_rule(SCANNER)))
        attested = GateRule(images="**", policies=(path,), scan=ScanDemand.ATTESTED)
        async with running_gate(tmp_path / "attested", upstream, attested, events=events) as gate:
            with pytest.raises(Denied, match=reason):
                await admit(gate, upstream, root)
        node = GateRule(images="**", policies=(path,), scan=ScanDemand.NODE)
        async with running_gate(tmp_path / "node", upstream, node, events=events) as gate:
            assert await settled(gate, LLM, root) is None  # it looks for itself
        assert [str(v.outcome) for v in events.verdicts] == ["clean"]

    run(scenario())


def test_the_newest_word_does_not_take_malicious_back(tmp_path: Path, upstream: Upstream) -> None:
    root, events = upstream.image(), Watched()
    upstream.state(root, SCANNER.key, "malicious", scannedAt="2026-01-01T00:00:00Z")
    upstream.state(root, SCANNER.key, "clean")

    async def scenario() -> None:
        path = policies(tmp_path, model_policy(scan=scan_rule(SCANNER)))
        rule = GateRule(images="**", policies=(path,), scan=ScanDemand.NODE)
        async with running_gate(tmp_path, upstream, rule, events=events) as gate:
            with pytest.raises(Denied, match="found it malicious"):
                await admit(gate, upstream, root)
        assert events.verdicts == []  # nor does what this node would find

    run(scenario())


def test_a_scan_that_fails_says_why_and_is_tried_again(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    layer = upstream.layers(root)[0]
    arrivals, events = Arrivals(upstream.store.content, held={layer}), Watched()

    async def scenario() -> None:
        async with running_gate(
            tmp_path, upstream, NODE_SCAN, arrivals=arrivals, events=events, refused_seconds=0.01
        ) as gate:
            with pytest.raises(Denied):
                await admit(gate, upstream, root)
            await until(lambda: layer in arrivals.leased)
            arrivals.release(layer, Unreachable("the upstream hung up"))
            await until(lambda: bool(events.failures))
            assert "the upstream hung up" in gate.status()["images"][0]["reasons"][0]
            while why := await settled(gate, LLM, root):
                assert "the upstream hung up" in why

    run(scenario())


def test_what_no_scan_survives_is_not_streamed_again(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    layer = upstream.layers(root)[0]
    arrivals, events = Arrivals(upstream.store.content, held={layer}), Watched()
    rule = GateRule(images="**", scan=ScanDemand.NODE, on_pending=OnPending.STREAM)

    async def scenario() -> None:
        async with running_gate(
            tmp_path, upstream, rule, arrivals=arrivals, events=events, refused_seconds=0.01
        ) as gate:
            await admit(gate, upstream, root)
            await until(lambda: layer in arrivals.leased)
            arrivals.release(layer, WorldError("its scan came to no verdict"))
            await until(lambda: bool(events.failures))
            with pytest.raises(Denied, match="came to no verdict"):
                await admit(gate, upstream, root)
            with pytest.raises(Denied, match="came to no verdict"):
                await gate.admit_blob(LLM, layer)
            while why := await settled(gate, LLM, root):
                assert "came to no verdict" in why

    run(scenario())


def test_malicious_by_older_rules_is_no_foregone_conclusion(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    by_older_rules(tmp_path, root, Outcome.MALICIOUS, upstream.layers(root)[0])

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN) as gate:
            await gate.foresee(LLM, root)
            await until_served(gate, root)

    async def until_served(gate: Gate, root: Descriptor) -> None:
        while await settled(gate, LLM, root) is not None:  # noqa: ASYNC110  # what is waited for happens in a thread
            await asyncio.sleep(0.01)

    run(scenario())


def test_trusted_layers_are_taken_for_granted(tmp_path: Path, upstream: Upstream) -> None:
    base = upstream.layer({"bin/sh": b"#!"})
    root = upstream.image(None, base)

    async def scenario() -> None:
        async with running_gate(tmp_path / "a", upstream, NODE_SCAN) as gate:
            assert "neither the model's nor our holder" in (await settled(gate, LLM, root) or "")
        trusting = NodeScan(trusted_layers=(str(base.digest),))
        async with running_gate(tmp_path / "a", upstream, NODE_SCAN, scan=trusting) as gate:
            assert await settled(gate, LLM, root) is None

    run(scenario())
