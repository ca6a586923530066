"""The gate: each mode and each state of an image, deny-lists, policies that change, and what survives a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.cache.origin import Origin
from modelcar.errors import Denied, UsageError
from modelcar.oci import Descriptor
from modelcar.oci.media_types import MANIFEST
from registry_shim.gate.settings import (
    GateRule,
    Mode,
    ScanDemand,
    Unmatched,
    Unverified,
)
from tests.support.gate import EVIL, LLM, Arrivals, Upstream, Watched, running_gate
from tests.support.policies import deny_list
from tests.support.scanned_images import index_of
from tests.unit.shim.gate.scenes import (
    ALICE,
    MALLORY,
    OTHER,
    admit,
    policies,
    run,
    settled,
    signed_by,
)

pytestmark = pytest.mark.slow


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
            disguised = honest.edited(layers=(_disguised(upstream, honest.layers[0]),))  # type: ignore[union-attr]  # a manifest
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
