"""The gate: each mode and each state of an image, deny-lists, policies that change, and what survives a restart."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelcar.cache.origin import Origin
from modelcar.errors import Denied, NotFound, Unreachable, UsageError, WorldError
from modelcar.oci import Descriptor, Digest
from modelcar.oci.media_types import MANIFEST
from modelcar.scanning.findings import Outcome
from modelcar.scanning.version import RULE_SET
from modelcar.signing.places import LayoutPlace
from modelcar.signing.ruleset import RuleSet
from registry_shim.gate.gate import Gate
from registry_shim.gate.settings import (
    GateRule,
    GateSettings,
    Mode,
    NodeScan,
    OnPending,
    ScanDemand,
    Unmatched,
    Unverified,
)
from registry_shim.gate.verdicts import NodeVerdict, VerdictStore
from tests.support.gate import EVIL, LLM, Arrivals, Upstream, Watched, running_gate
from tests.support.policies import (
    Someone,
    as_file,
    cluster_image_policy,
    deny_list,
    model_policy,
    scan_rule,
)
from tests.support.scanned_images import index_of

pytestmark = pytest.mark.slow

ALICE, MALLORY, SCANNER = Someone(), Someone(), Someone()
OTHER = Origin(registry="registry.example.com", repository="models/other")
NODE_SCAN = GateRule(images="registry.example.com/models/**", scan=ScanDemand.NODE)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # what is waited for happens in a thread
        await asyncio.sleep(0.01)


def policies(folder: Path, *documents: Any) -> Path:
    path = folder / "policy.yaml"
    path.write_bytes(as_file(*documents))
    return path


def signed_by(folder: Path, *people: Someone, **rule: Any) -> GateRule:
    document = cluster_image_policy(*(p.authority | {"name": f"key-{i}"} for i, p in enumerate(people)))
    return GateRule(images="registry.example.com/**", policies=(policies(folder, document),), **rule)


async def admit(gate: Gate, upstream: Upstream, root: Descriptor, origin: Origin = LLM) -> tuple[str, ...]:
    return await gate.admit(origin, root, upstream.content(root))


async def settled(gate: Gate, origin: Origin, root: Descriptor) -> str | None:
    """Why not, once no scan is under way."""
    try:
        await gate.ready(origin, root)
    except Denied as e:
        return str(e)
    return None


def test_without_rules_everything_is_served_that_no_deny_list_names(tmp_path: Path, upstream: Upstream) -> None:
    async def scenario() -> None:
        root, denied = upstream.image(), upstream.image({"models/a.safetensors": EVIL})
        lists = (policies(tmp_path, deny_list(denied.digest, upstream.layers(denied)[0])),)
        arrivals = Arrivals(upstream.store.content)
        async with running_gate(tmp_path, upstream, deny_lists=lists, arrivals=arrivals) as gate:
            assert await admit(gate, upstream, root) == ()
            await gate.admit_blob(LLM, upstream.layers(root)[0])
            with pytest.raises(Denied, match="revoked revokes it: an incident"):
                await admit(gate, upstream, denied)
            with pytest.raises(Denied):
                await gate.admit_blob(OTHER, upstream.layers(denied)[0])
        assert arrivals.revoked.keys() == {denied.digest, upstream.layers(denied)[0]}

    run(scenario())


@pytest.mark.parametrize("unmatched", Unmatched)
def test_a_repository_without_a_rule(tmp_path: Path, upstream: Upstream, unmatched: Unmatched) -> None:
    async def scenario() -> None:
        rule = GateRule(images="ghcr.io/**", mode=Mode.OFF)
        async with running_gate(tmp_path, upstream, rule, unmatched=unmatched) as gate:
            if unmatched is Unmatched.ALLOW:
                gate.admit_repository(LLM)
            else:
                with pytest.raises(Denied, match="none of the gate's rules speaks about it"):
                    gate.admit_repository(LLM)
            gate.admit_repository(Origin(registry="ghcr.io", repository="a/b"))

    run(scenario())


@pytest.mark.parametrize("mode", Mode)
def test_the_doctors_canary_is_refused_in_every_mode_and_says_in_which(
    tmp_path: Path, upstream: Upstream, mode: Mode
) -> None:
    async def scenario() -> None:
        rule = GateRule(images="registry.example.com/**", mode=mode, formats=("safetensors",))
        canary = Origin(registry="registry.example.com", repository="modelcar.dev/doctor/forbidden")
        async with running_gate(tmp_path, upstream, rule) as gate:
            with pytest.raises(Denied, match=f"refused on purpose.*1 {mode}"):
                gate.admit_repository(canary)

    run(scenario())


def test_signed_by_whom_the_policy_names_or_not_at_all(tmp_path: Path, upstream: Upstream) -> None:
    good, bare, wrong = (upstream.image({"models/a.txt": name}) for name in (b"good", b"bare", b"wrong"))
    upstream.sign(good, ALICE.key)
    upstream.sign(wrong, MALLORY.key)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE)) as gate:
            assert await admit(gate, upstream, good) == ()
            for layer in upstream.layers(good):
                await gate.admit_blob(LLM, layer)
            with pytest.raises(Denied, match=r"rule 'registry.example.com/\*\*': ClusterImagePolicy policy: auth") as e:
                await admit(gate, upstream, bare)
            assert "nothing is attached" in str(e.value)
            assert e.value.hint is not None
            with pytest.raises(Denied, match="ClusterImagePolicy policy"):
                await admit(gate, upstream, wrong)

    run(scenario())


def test_nobody_pulls_around_the_manifest(tmp_path: Path, upstream: Upstream) -> None:
    good, bare = upstream.image(), upstream.image({"models/a.txt": b"bare"})
    upstream.sign(good, ALICE.key)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE)) as gate:
            with pytest.raises(Denied, match=r"no image of registry.example.com/models/llm that this node serves"):
                await gate.admit_blob(LLM, upstream.layers(good)[0])
            with pytest.raises(Denied):
                await admit(gate, upstream, bare)
            with pytest.raises(Denied, match="authority key-0"):
                await gate.admit_blob(LLM, upstream.layers(bare)[0])
            await admit(gate, upstream, good)
            await gate.admit_blob(LLM, upstream.layers(good)[0])
            with pytest.raises(Denied):
                await gate.admit_blob(OTHER, upstream.layers(good)[0])

    run(scenario())


def test_what_an_index_lists_is_served_with_it(tmp_path: Path, upstream: Upstream) -> None:
    one, two = upstream.image(), upstream.image({"models/b.txt": b"two"})
    index = index_of(upstream.store, one, two)
    upstream.sign_alone(index, ALICE.key)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE)) as gate:
            with pytest.raises(Denied):
                await admit(gate, upstream, one)
            await admit(gate, upstream, index)
            await admit(gate, upstream, one)
            for image in (one, two):
                await gate.admit_blob(LLM, upstream.layers(image)[0])

    run(scenario())


def test_signatures_pass_and_nothing_else_in_their_clothes(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    upstream.sign(root, MALLORY.key)
    upstream.state(root, MALLORY.key, "clean")

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE)) as gate:
            attached = upstream.attached(root)
            assert len(attached) == 2
            for referrer in attached:
                await gate.admit(LLM, referrer, upstream.content(referrer))
                await gate.admit_blob(LLM, upstream.layers(referrer)[0])
            signatures = upstream.place.tagged(f"sha256-{root.digest.hex}.sig")
            assert signatures is not None
            await gate.admit(LLM, signatures.descriptor, signatures.content)
            await gate.admit_blob(LLM, signatures.layers[0].digest)

            honest = upstream.document(attached[0])
            disguised = honest.edited(layers=(_disguised(upstream, honest.layers[0]),))  # type: ignore[union-attr]
            with pytest.raises(Denied, match="claims to be signatures, and is not"):
                await gate.admit(LLM, disguised.descriptor, disguised.content)

    run(scenario())


def _disguised(upstream: Upstream, layer: Descriptor) -> Descriptor:
    upstream.place.put_blob(layer.media_type, EVIL)
    return Descriptor.of(layer.media_type, EVIL, annotations=layer.annotations)


def test_warn_serves_and_says_what_enforce_would(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE, mode=Mode.WARN)) as gate:
            (warning,) = await admit(gate, upstream, root)
            assert warning.startswith("would be refused, rule 'registry.example.com/**': ClusterImagePolicy")
            await gate.admit_blob(LLM, upstream.layers(root)[0])

    run(scenario())


def test_audit_serves_at_once_and_writes_down_what_enforce_would_say(tmp_path: Path, upstream: Upstream) -> None:
    root, events = upstream.image(), Watched()

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE, mode=Mode.AUDIT)
        async with running_gate(tmp_path, upstream, rule, events=events) as gate:
            assert await admit(gate, upstream, root) == ()
            assert events.rulings == []
            await gate.ready(LLM, root)
            (image,) = gate.status()["images"]
            assert (image["state"], image["served"], image["mode"]) == ("refused", True, "audit")

    run(scenario())
    assert events.refusals == []


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


def test_a_change_of_policy_decides_anew(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    upstream.sign(root, ALICE.key)

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE)
        async with running_gate(tmp_path, upstream, rule, reload_seconds=60) as gate:
            await admit(gate, upstream, root)
            policies(tmp_path, cluster_image_policy(MALLORY.authority))
            assert await gate.reload()
            with pytest.raises(Denied):
                await admit(gate, upstream, root)
            with pytest.raises(Denied):
                await gate.admit_blob(LLM, upstream.layers(root)[0])
            rule.policies[0].write_text("nonsense: [")
            assert not await gate.reload()
            assert "policy.yaml" in gate.status()["policies"]["problem"]
            with pytest.raises(Denied):
                await admit(gate, upstream, root)
            policies(tmp_path, cluster_image_policy(ALICE.authority))
            assert await gate.reload()
            await admit(gate, upstream, root)

    run(scenario())


def test_other_settings_hold_at_once_and_wrong_ones_never(tmp_path: Path, upstream: Upstream) -> None:
    root, slow = upstream.image(), upstream.image({"models/slow.txt": b"slow"})
    layer = upstream.layers(slow)[0]
    arrivals = Arrivals(upstream.store.content, held={layer})

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN, arrivals=arrivals) as gate:
            assert await settled(gate, LLM, root) is None
            with pytest.raises(Denied):
                await admit(gate, upstream, slow)
            await until(lambda: layer in arrivals.leased)
            with pytest.raises(NotFound):
                await gate.change(GateSettings(rules=(GateRule(images="**", policies=(tmp_path / "none.yaml",)),)))
            assert await admit(gate, upstream, root) == ()
            await gate.change(GateSettings(rules=(signed_by(tmp_path, ALICE),)))
            for image in (root, slow):
                with pytest.raises(Denied, match="ClusterImagePolicy policy"):
                    await admit(gate, upstream, image)
            await gate.change(GateSettings())
            assert await admit(gate, upstream, slow) == ()

    run(scenario())


class Deaf(Upstream):
    """Says nothing before it is let."""

    answers = threading.Event()

    def reading(self, origin: Origin) -> LayoutPlace:
        self.answers.wait(30)
        return super().reading(origin)


def test_who_waits_while_the_rules_change_is_answered_by_the_new_ones(tmp_path: Path, upstream: Upstream) -> None:
    deaf = Deaf(upstream.store)
    root = deaf.image()
    layer = deaf.layers(root)[0]

    async def scenario() -> None:
        async with running_gate(tmp_path, deaf, signed_by(tmp_path, ALICE)) as gate:
            asking = [
                asyncio.create_task(admit(gate, deaf, root)),
                asyncio.create_task(gate.ready(LLM, root)),
                asyncio.create_task(admit(gate, deaf, root, OTHER)),
            ]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in asking)
            await gate.change(GateSettings(rules=(GateRule(images="**/llm", mode=Mode.OFF),)))
            allowed, ready, refused = await asyncio.gather(*asking, return_exceptions=True)
            deaf.answers.set()
            assert (allowed, ready) == ((), None)
            assert "none of the gate's rules speaks about it" in str(refused)
            await gate.admit_blob(LLM, layer)

    run(scenario())


def test_who_is_held_while_the_rules_change_is_answered_by_the_new_ones(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    layer = upstream.layers(root)[0]
    arrivals = Arrivals(upstream.store.content, held={layer})
    held = GateRule(images="**", scan=ScanDemand.NODE, on_pending=OnPending.HOLD, hold_seconds=30)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, held, arrivals=arrivals) as gate:
            asking = asyncio.create_task(admit(gate, upstream, root))
            await until(lambda: layer in arrivals.leased)
            await gate.change(GateSettings(rules=(signed_by(tmp_path, ALICE),)))
            with pytest.raises(Denied, match="ClusterImagePolicy policy"):
                await asking

    run(scenario())


def test_who_waits_when_the_node_stops_is_told_so(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    layer = upstream.layers(root)[0]
    arrivals = Arrivals(upstream.store.content, held={layer})
    held = GateRule(images="**", scan=ScanDemand.NODE, on_pending=OnPending.HOLD, hold_seconds=30)

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, held, arrivals=arrivals) as gate:
            asking = asyncio.create_task(admit(gate, upstream, root))
            await until(lambda: layer in arrivals.leased)
        with pytest.raises(Denied, match="it stops"):
            await asking

    run(scenario())


def test_a_look_that_has_not_begun_when_the_node_stops_is_given_up(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE, mode=Mode.AUDIT)) as gate:
            await admit(gate, upstream, root)  # and not one turn of the loop more
        gc.collect()  # a coroutine that was made and never awaited says so here

    run(scenario())


def test_policies_are_read_again_without_being_told(tmp_path: Path, upstream: Upstream) -> None:
    root, events = upstream.image(), Watched()

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE)
        async with running_gate(tmp_path, upstream, rule, events=events, reload_seconds=0.01) as gate:
            with pytest.raises(Denied):
                await admit(gate, upstream, root)
            policies(tmp_path, cluster_image_policy({"name": "all", "static": {"action": "pass"}}))
            await until(lambda: bool(events.reloads))
            await admit(gate, upstream, root)

    run(scenario())


def test_a_deny_list_that_changes_cuts_at_once_and_lets_go_again(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    upstream.sign(root, ALICE.key)
    layer, nothing = upstream.layers(root)[0], Digest.of(b"nothing")
    arrivals, events = Arrivals(upstream.store.content), Watched()

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE)
        listed = tmp_path / "deny.yaml"
        listed.write_bytes(as_file(deny_list(nothing)))
        async with running_gate(
            tmp_path, upstream, rule, arrivals=arrivals, events=events, deny_lists=(listed,), reload_seconds=60
        ) as gate:
            await admit(gate, upstream, root)
            listed.write_bytes(as_file(deny_list(nothing, layer)))
            await gate.reload()
            assert "revoked revokes it" in arrivals.revoked[layer]
            await until(lambda: bool(events.cuts))
            assert arrivals.revoked.keys() == {nothing, layer}  # cutting the image off does not take it back
            with pytest.raises(Denied, match="is revoked: an incident"):
                await admit(gate, upstream, root)
            with pytest.raises(Denied):
                await gate.admit_blob(LLM, layer)
            listed.write_bytes(as_file(deny_list(nothing)))
            await gate.reload()
            assert layer not in arrivals.revoked
            await admit(gate, upstream, root)

    run(scenario())


class Hanging(Upstream):
    """Another registry never answers."""

    answers = threading.Event()

    def reading(self, origin: Origin) -> LayoutPlace:
        if origin.registry != LLM.registry:
            self.answers.wait(30)
        return super().reading(origin)


def test_a_registry_that_hangs_holds_nobody_up_elsewhere(tmp_path: Path, upstream: Upstream) -> None:
    hanging = Hanging(upstream.store)
    root = hanging.image()
    hanging.sign(root, ALICE.key)

    async def scenario() -> None:
        document = cluster_image_policy(ALICE.authority)
        rule = GateRule(images="**", policies=(policies(tmp_path, document),))
        async with running_gate(tmp_path, hanging, rule) as gate:
            others = [Origin(registry="slow.example", repository=f"models/{n}") for n in range(20)]
            waiting = [asyncio.create_task(admit(gate, hanging, root, other)) for other in others]
            await asyncio.sleep(0)
            assert await admit(gate, hanging, root) == ()
            assert not any(task.done() for task in waiting)
            hanging.answers.set()
            assert await asyncio.gather(*waiting) == [()] * len(waiting)

    run(scenario())


def test_what_was_admitted_stays_so_while_the_upstream_is_gone(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    upstream.sign(root, ALICE.key)

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE)
        async with running_gate(tmp_path, upstream, rule, valid_seconds=0.001) as gate:
            await admit(gate, upstream, root)
            upstream.is_down = True
            await admit(gate, upstream, root)
            policies(tmp_path, cluster_image_policy(ALICE.authority, name="another"))
            await gate.reload()
            with pytest.raises(Denied, match=r"cannot be looked at: registry.example.com cannot be reached"):
                await admit(gate, upstream, root)  # nobody can say what the new policy would make of it

    run(scenario())


def test_a_pull_goes_on_after_a_restart(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    upstream.sign(root, ALICE.key)

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE)
        async with running_gate(tmp_path, upstream, rule) as gate:
            await admit(gate, upstream, root)
        async with running_gate(tmp_path, upstream, rule) as gate:
            await gate.admit_blob(LLM, upstream.layers(root)[0])

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


def test_what_is_refused_whatever_its_layers_hold_is_foreseen(tmp_path: Path, upstream: Upstream) -> None:
    bare, signed = upstream.image(), upstream.image({"models/b.txt": b"signed"})
    upstream.sign(signed, ALICE.key)
    arrivals, events = Arrivals(upstream.store.content), Watched()

    async def scenario() -> None:
        rule = signed_by(tmp_path, ALICE, scan=ScanDemand.NODE)
        async with running_gate(tmp_path, upstream, rule, arrivals=arrivals, events=events) as gate:
            with pytest.raises(Denied, match="ClusterImagePolicy policy"):
                await gate.foresee(LLM, bare)
            with pytest.raises(Denied, match="rules speaks about it"):
                await gate.foresee(Origin(registry="ghcr.io", repository="a/b"), signed)
            await gate.foresee(LLM, signed)
            assert [image["state"] for image in gate.status()["images"]] == ["refused"]
            assert arrivals.leased == []  # whoever fetches does so at the pace that is set for it
            upstream.is_down = True
            await gate.foresee(LLM, signed)
            upstream.is_down = False
            assert await settled(gate, LLM, signed) is None
            await gate.foresee(LLM, signed)

    run(scenario())


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.AUDIT, Mode.WARN])
def test_nothing_is_foreseen_where_nothing_is_refused(tmp_path: Path, upstream: Upstream, mode: Mode) -> None:
    root = upstream.image()

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE, mode=mode)) as gate:
            await gate.foresee(LLM, root)

    run(scenario())


def test_malicious_by_older_rules_is_no_foregone_conclusion(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()
    by_older_rules(tmp_path, root, Outcome.MALICIOUS, upstream.layers(root)[0])

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, NODE_SCAN) as gate:
            await gate.foresee(LLM, root)
            await until_served(gate, root)

    async def until_served(gate: Gate, root: Descriptor) -> None:
        while await settled(gate, LLM, root) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    run(scenario())


def test_formats(tmp_path: Path, upstream: Upstream) -> None:
    """By the names of single files; else only once the layers were looked into."""
    plain = upstream.image()
    named = upstream.image({"models/pytorch_model.bin": b"x"})

    async def scenario() -> None:
        by_documents = GateRule(images="**", formats=("safetensors",))
        async with running_gate(tmp_path / "documents", upstream, by_documents) as gate:
            with pytest.raises(Denied, match="its formats are not known"):
                await admit(gate, upstream, plain)
        by_scan = GateRule(images="**", formats=("gguf",), scan=ScanDemand.NODE, unverified=Unverified.ALLOW)
        async with running_gate(tmp_path / "scan", upstream, by_scan) as gate:
            why = await settled(gate, LLM, plain)
            assert why is not None
            assert r"not of an allowed format (gguf): model.safetensors (safetensors)" in why
            assert "pytorch_model.bin" in (await settled(gate, LLM, named) or "")

    run(scenario())


def test_too_large(tmp_path: Path, upstream: Upstream) -> None:
    root = upstream.image()

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, GateRule(images="**", max_bytes=100)) as gate:
            with pytest.raises(Denied, match="bytes; 100 are allowed"):
                await admit(gate, upstream, root)

    run(scenario())


def test_a_policy_that_is_none_keeps_the_node_from_starting(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "policy.yaml").write_text("kind: Nothing\n")

    async def scenario() -> None:
        rule = GateRule(images="**", policies=(tmp_path / "policy.yaml",))
        async with running_gate(tmp_path, upstream, rule):
            raise AssertionError("it started")

    with pytest.raises(UsageError, match="not a policy"):
        run(scenario())


def test_what_is_no_manifest_is_refused_where_that_is_enforced(tmp_path: Path, upstream: Upstream) -> None:
    from modelcar.errors import InvalidDocument

    odd = Descriptor.of(MANIFEST, b"{}")

    async def scenario() -> None:
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE)) as gate:
            with pytest.raises(InvalidDocument):
                await gate.admit(LLM, odd, b"{}")
        async with running_gate(tmp_path, upstream, signed_by(tmp_path, ALICE, mode=Mode.WARN)) as gate:
            assert await gate.admit(LLM, odd, b"{}") == ()

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
