"""Images that are scanned again because somebody does not believe what this node found in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import Denied
from modelcar.oci import Descriptor, Digest
from modelcar.scanning.findings import Outcome
from registry_shim.gate.gate import Gate
from registry_shim.gate.rescan import Rescan, When
from registry_shim.gate.settings import GateRule, GateSettings, Mode, OnPending, ScanDemand
from registry_shim.gate.verdicts import NodeVerdict, VerdictStore
from tests.support.gate import EVIL, LLM, Arrivals, Upstream, Watched, running_gate
from tests.unit.shim.gate.scenes import ALICE, NODE_SCAN, admit, run, settled, signed_by, until

pytestmark = pytest.mark.slow


async def scanned(gate: Gate, events: Watched, root: Descriptor, times: int) -> None:
    await until(lambda: len(events.verdicts) == times)
    await settled(gate, LLM, root)


def test_a_clean_image_is_not_served_before_it_was_scanned_again(tmp_path: Path, upstream: Upstream) -> None:
    root, events = upstream.image(), Watched()
    layer = upstream.layers(root)[0]
    arrivals = Arrivals(upstream.store.content)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, arrivals=arrivals, events=events) as gate:
            await settled(gate, LLM, root)
            arrivals.hold(layer)
            assert await gate.rescan(LLM, root.digest) == Rescan(found=Outcome.CLEAN, when=When.NOW)
            with pytest.raises(Denied, match="scanned"):
                await admit(gate, upstream, root)
            arrivals.release(layer)
            await scanned(gate, events, root, 2)
            assert await admit(gate, upstream, root) == ()

    run(scenario())


@pytest.mark.parametrize("on_pending", OnPending)
def test_malicious_holds_until_the_new_scan_and_after_it_if_that_finds_it_again(
    tmp_path: Path, upstream: Upstream, on_pending: OnPending
) -> None:
    root, events = upstream.image({"models/pytorch_model.bin": EVIL}), Watched()
    layer = upstream.layers(root)[0]
    arrivals = Arrivals(upstream.store.content)
    rule = GateRule(images="**", scan=ScanDemand.NODE, on_pending=on_pending)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, rule, arrivals=arrivals, events=events) as gate:
            await settled(gate, LLM, root)
            await until(lambda: layer in arrivals.revoked)
            arrivals.hold(layer)
            assert await gate.rescan(LLM, root.digest) == Rescan(found=Outcome.MALICIOUS, when=When.NOW)
            assert layer not in arrivals.revoked  # else no scan could read it
            with pytest.raises(Denied, match="malicious"):
                await admit(gate, upstream, root)
            with pytest.raises(Denied, match="malicious"):
                await gate.admit_blob(LLM, layer)
            assert gate.revoked(layer) is not None
            arrivals.release(layer)
            await scanned(gate, events, root, 2)
            await until(lambda: layer in arrivals.revoked)
            with pytest.raises(Denied, match="malicious"):
                await admit(gate, upstream, root)

    run(scenario())


def test_what_was_called_malicious_and_is_not_is_served_after_the_new_scan(tmp_path: Path, upstream: Upstream) -> None:
    root, events = upstream.image(), Watched()
    layer = upstream.layers(root)[0]

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, events=events) as gate:
            await settled(gate, LLM, root)
        store = VerdictStore(tmp_path / "verdicts")
        store.put(_mistaken(store, root, layer))
        async with running_gate(tmp_path, upstream, NODE_SCAN, events=events) as gate:
            with pytest.raises(Denied, match="malicious"):
                await admit(gate, upstream, root)
            assert (await gate.rescan(LLM, root.digest)).when is When.NOW
            await scanned(gate, events, root, 2)
            assert await admit(gate, upstream, root) == ()
            await gate.admit_blob(LLM, layer)
            assert gate.revoked(layer) is None

    run(scenario())


def _mistaken(store: VerdictStore, root: Descriptor, layer: Digest) -> NodeVerdict:
    verdict = store.get(root.digest)
    assert verdict is not None
    return replace(verdict, outcome=Outcome.MALICIOUS, reasons=("a parser was wrong",), layers=(layer,))


def test_an_image_that_nobody_asked_for_yet_is_scanned_with_its_next_pull(tmp_path: Path, upstream: Upstream) -> None:
    root, events = upstream.image(), Watched()

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, events=events) as gate:
            assert await gate.rescan(LLM, root.digest) == Rescan(found=None, when=When.NEXT_PULL)
            await settled(gate, LLM, root)
        async with running_gate(tmp_path, upstream, NODE_SCAN, events=events) as gate:
            assert await gate.rescan(LLM, root.digest) == Rescan(found=Outcome.CLEAN, when=When.NEXT_PULL)
            with pytest.raises(Denied, match="scanned"):
                await admit(gate, upstream, root)
            await scanned(gate, events, root, 2)

    run(scenario())


def test_what_no_rule_has_scanned_is_forgotten_and_said_so(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image({"models/pytorch_model.bin": EVIL})
    layer = upstream.layers(root)[0]
    arrivals = Arrivals(upstream.store.content)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, arrivals=arrivals) as gate:
            await settled(gate, LLM, root)
            await until(lambda: layer in arrivals.revoked)
            await gate.change(GateSettings(rules=(GateRule(images="**", mode=Mode.OFF),)))
            done = await gate.rescan(LLM, root.digest)
            assert (done.found, done.when) == (Outcome.MALICIOUS, When.NEVER)
            assert "no rule" in (done.reason or "")
            assert gate.revoked(layer) is None
            assert layer not in arrivals.revoked

    run(scenario())


def test_what_is_refused_anyway_is_not_scanned(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE, scan=ScanDemand.NODE)
        async with running_gate(tmp_path, upstream, rule) as gate:
            with pytest.raises(Denied):
                await admit(gate, upstream, root)
            done = await gate.rescan(LLM, root.digest)
            assert done.when is When.NEVER
            assert "ClusterImagePolicy policy" in (done.reason or "")

    run(scenario())
