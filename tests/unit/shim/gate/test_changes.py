"""What changes while somebody waits: rules, policies, deny-lists, upstreams that go, nodes that stop."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from modelcar.cache.origin import Origin
from modelcar.errors import Denied, NotFound
from modelcar.oci import Digest
from modelcar.signing.places import LayoutPlace
from registry_shim.gate.settings import (
    GateRule,
    GateSettings,
    Mode,
    OnPending,
    ScanDemand,
)
from tests.support.gate import LLM, Arrivals, Upstream, Watched, running_gate
from tests.support.policies import as_file, cluster_image_policy, deny_list
from tests.unit.shim.gate.scenes import (
    ALICE,
    MALLORY,
    NODE_SCAN,
    OTHER,
    admit,
    policies,
    run,
    settled,
    signed_by,
    until,
)

pytestmark = pytest.mark.slow


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
