"""What policies say of a pod's images: at one digest, in time, remembered, and never a yes by mistake."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelcar.admission.facts import Trust
from modelcar.admission.resolve import images as module
from modelcar.admission.settings import TrustMode, TrustSettings
from modelcar.errors import UsageError
from modelcar.oci import Descriptor, Digest, Reference, media_types
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.places import RegistryPlace
from modelcar.signing.sign import sign_image
from modelcar.signing.signatory import KeySignatory
from tests.support.policies import Someone, as_file, cluster_image_policy, deny_list
from tests.support.scripted_registry import DROP, Reply
from tests.support.tars import make_tar

from .conftest import PASSWD, Asker, Stocked

pytestmark = pytest.mark.slow

TEAM, STRANGER = Someone(), Someone()
VERIFIED = Trust()
Asking = Callable[..., Asker]


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """Images of `org` are signed by the team."""
    file = tmp_path / "policies.yaml"
    file.write_bytes(as_file(cluster_image_policy(TEAM.authority, name="team", images=[{"glob": "**/org/**"}])))
    return file


@pytest.fixture
def asked(asking: Asking, policies: Path) -> Asking:
    """Makes resolvers that ask policies."""

    def make(**trust: Any) -> Asker:
        return asking(**{"mode": TrustMode.ENFORCE, "policies": (policies,), **trust})

    return make


def sign(image: str, digest: Digest, by: Someone = TEAM) -> None:
    with Registry(ClientSettings(timeout=5, attempts=1)) as registry:
        place = RegistryPlace(registry, Reference.parse(image))
        root = Descriptor(media_type=media_types.MANIFEST, digest=digest, size=registry.resolve(place.ref).size)
        sign_image(place, root, KeySignatory(by.key), created=datetime.now(UTC))


def trust(ask: Asker, image: str, **spec: Any) -> Trust:
    found = ask.server(image, **spec).trust
    assert found is not None
    return found


def test_a_signed_image_is_verified(registry: Stocked, asked: Asking) -> None:
    image, digest = registry.put()
    sign(image, digest)
    fact = asked().server(image)
    assert (fact.digest, fact.trust) == (digest, VERIFIED)


def test_without_policies_nobody_is_asked(registry: Stocked, asking: Asking) -> None:
    assert asking().server(registry.put()[0]).trust is None


def test_an_image_that_a_stranger_signed_is_denied_with_the_reason(registry: Stocked, asked: Asking) -> None:
    image, digest = registry.put()
    sign(image, digest, STRANGER)
    found = trust(asked(), image)
    assert (found.revoked, found.unknown) == ((), None)
    assert [line for line in found.denied if line.startswith("ClusterImagePolicy team")]


@pytest.mark.parametrize("default", ["allow", "deny"])
def test_what_no_policy_speaks_about_follows_the_default(registry: Stocked, asked: Asking, default: str) -> None:
    image, _ = registry.put("elsewhere/server:v1")
    found = trust(asked(default=default), image)
    assert bool(found.denied) is (default == "deny")
    assert registry.requests("GET", "/referrers/") == []  # nobody's word would matter


def test_a_tag_is_judged_by_the_digest_that_it_had(registry: Stocked, asked: Asking) -> None:
    ask, (image, old) = asked(), registry.put()
    sign(image, old)
    assert ask.server(image).trust == VERIFIED
    _, new = registry.put(User="changed")
    assert ask.server(image).digest == old  # still the one that was verified
    assert trust(ask, f"{image}@{new}").denied
    assert trust(ask, f"{image}@{old}") == VERIFIED


def test_a_verdict_is_remembered(registry: Stocked, asked: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, (image, digest) = asked(), registry.put()
    sign(image, digest)
    first, seen = ask.server(image), len(registry.seen)
    monkeypatch.setattr(threading, "Thread", None)
    assert ask.server(image) == first
    assert len(registry.seen) == seen


def test_a_verdict_is_one_about_a_place(registry: Stocked, asked: Asking) -> None:
    """The same bytes elsewhere lie beside other signatures, and under other policies."""
    ask, (image, digest) = asked(), registry.put("org/server:v1")
    registry.manifests["org/copy", "v1"] = registry.manifests["org/copy", str(digest)] = registry.manifests[
        "org/server", "v1"
    ]
    sign(image, digest)
    assert trust(ask, image) == VERIFIED
    assert trust(ask, f"{registry.name}/org/copy:v1").denied


def test_whoever_signs_after_a_no_does_not_wait_long(
    registry: Stocked, asked: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelcar.admission.resolve.verdicts._DENIED_SECONDS", 0.05)
    ask, (image, digest) = asked(), registry.put()
    assert trust(ask, image).denied
    sign(image, digest)
    time.sleep(0.06)
    assert trust(ask, image) == VERIFIED


def test_a_policy_that_changes_holds_at_once_and_a_slip_opens_nothing(
    registry: Stocked, asked: Asking, policies: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 0.0)
    ask, (image, digest) = asked(), registry.put()
    sign(image, digest)
    assert trust(ask, image) == VERIFIED
    policies.write_bytes(as_file(cluster_image_policy(STRANGER.authority, name="other")))
    assert trust(ask, image).denied
    policies.write_bytes(b"kind: Nonsense")
    assert trust(ask, image).denied
    assert "policies are not read again" in caplog.text
    policies.write_bytes(as_file(cluster_image_policy(TEAM.authority, name="team")))
    assert trust(ask, image) == VERIFIED


def test_a_policy_for_some_pods_is_for_those_alone(registry: Stocked, asked: Asking, policies: Path) -> None:
    def confined(label: str) -> bytes:
        match = {"version": "v1", "resource": "pods", "selector": {"matchLabels": {"app": label}}}
        return as_file(cluster_image_policy(TEAM.authority, name="team", match=[match]))

    image, _ = registry.put()
    policies.write_bytes(confined("llm"))
    assert trust(asked(), image).denied
    policies.write_bytes(confined("other"))
    assert trust(asked(), image) == VERIFIED


# Deny-lists


def test_a_deny_list_needs_no_answer_of_anybody(registry: Stocked, asked: Asking, policies: Path) -> None:
    image, digest = registry.put()
    sign(image, digest)
    registry.seen.clear()
    policies.write_bytes(as_file(cluster_image_policy(TEAM.authority), deny_list(digest)))
    found = trust(asked(), image)
    assert found.revoked == (f"DigestDenyList revoked: the image {digest} is revoked: an incident",)
    assert registry.requests("GET", "/referrers/") == []


def test_a_deny_list_reaches_into_the_image(registry: Stocked, asked: Asking, policies: Path) -> None:
    image, digest = registry.put("elsewhere/server:v1")
    layer = Digest.of(make_tar({"etc/passwd": PASSWD}))
    policies.write_bytes(as_file(deny_list(layer)))
    found = trust(asked(), image)
    assert found.revoked == (f"DigestDenyList revoked: a layer {layer} is revoked: an incident",)
    assert found.denied == ()
    assert digest != layer


# What cannot be decided


@pytest.mark.parametrize(
    ("path", "fault"),
    [("/referrers/", Reply(500)), ("/referrers/", Reply(DROP)), (".sig", Reply(503)), ("/blobs/", Reply(DROP))],
)
def test_evidence_that_cannot_be_had_is_no_verdict(registry: Stocked, asked: Asking, path: str, fault: Reply) -> None:
    registry.knows_referrers = True
    image, digest = registry.put()
    sign(image, digest)
    registry.on("GET", path, fault, times=100)
    found = trust(asked(), image)
    assert found.denied == ()
    assert found.unknown is not None


def test_an_image_that_cannot_be_looked_into_is_denied(registry: Stocked, asked: Asking) -> None:
    image, digest = registry.put()
    sign(image, digest)
    config = registry.manifests["org/server", "v1"][1]
    blob = next(key for key in registry.blobs if key.encode() in config and b"rootfs" in registry.blobs[key])
    registry.blobs[blob] = registry.blobs[blob].replace(b"rootfs", b"rotfsx")
    found = trust(asked(), image)
    assert found.denied
    assert found != VERIFIED


def test_a_registry_that_is_slow_is_no_verdict(registry: Stocked, asked: Asking) -> None:
    image, digest = registry.put()
    sign(image, digest)
    registry.on("GET", "/manifests/", Reply(200, stall=30), times=100)
    assert trust(asked(seconds=0.3), image).unknown == "there was no answer in time"


def test_an_image_that_does_not_resolve_is_no_verdict(registry: Stocked, asked: Asking) -> None:
    assert "404" in str(trust(asked(), f"{registry.name}/org/none:v1").unknown)
    assert "not an image reference" in str(trust(asked(), "Not An Image").unknown)


# Settings


def test_policies_that_cannot_be_read_are_an_error_at_the_start(asking: Asking, policies: Path) -> None:
    policies.write_bytes(b"kind: Nonsense")
    with pytest.raises(UsageError):
        asking(mode=TrustMode.ENFORCE, policies=(policies,))


def test_settings_that_change_hold_at_once_and_bad_ones_do_not(
    registry: Stocked, asked: Asking, tmp_path: Path
) -> None:
    ask, (image, digest) = asked(), registry.put()
    sign(image, digest)
    assert trust(ask, image) == VERIFIED
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"kind: Nonsense")
    with pytest.raises(UsageError):
        ask.images.change(TrustSettings(mode=TrustMode.ENFORCE, policies=(bad,)))
    assert trust(ask, image) == VERIFIED
    other = tmp_path / "other.yaml"
    other.write_bytes(as_file(cluster_image_policy(STRANGER.authority)))
    ask.images.change(TrustSettings(mode=TrustMode.ENFORCE, policies=(other,)))
    assert trust(ask, image).denied
