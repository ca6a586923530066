"""What a test's own Sigstore signs verifies, and nothing else does. The library's verification runs, all of it."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from modelcar.errors import InvalidDocument, NotVerified, StorageError, UsageError, WorldError
from modelcar.signing.dsse import Envelope
from modelcar.signing.keyless.authority import KeylessAuthority, UnsafeAnyIdentity
from modelcar.signing.keyless.identity import IdentityRule
from modelcar.signing.keyless.trust import TrustSource
from modelcar.signing.verified import Bundle, SimpleSignature
from tests.support.sigstore import Options, Sigstore, trusted_root
from tests.support.sigstore.fulcio import utf8_string
from tests.support.sigstore.instance import EMAIL, ISSUER
from tests.unit.signing.keyless.conftest import RULE, STATEMENT, Authority, parsed, write

PAYLOAD = STATEMENT.to_bytes()
MINUTE = timedelta(minutes=1)
URI = "https://github.com/acme/models/.github/workflows/package.yml@refs/heads/main"


def test_what_was_signed_verifies_and_says_who_and_when(sigstore: Sigstore, authority: Authority) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    signer, signed_at = authority().verify_bundle(parsed(sigstore.bundle(PAYLOAD)))
    assert (signer.identity, signer.issuer, signer.fingerprint) == (EMAIL, ISSUER, None)
    assert signed_at is not None
    assert before <= signed_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        (x509.UniformResourceIdentifier(URI), URI),
        (x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7"), utf8_string("someone!acme")), "someone!acme"),
    ],
    ids=["uri", "other"],
)
def test_all_kinds_of_names(sigstore: Sigstore, authority: Authority, name: x509.GeneralName, subject: str) -> None:
    bundle = parsed(sigstore.bundle(PAYLOAD, Options(names=(name,))))
    signer, _ = authority(IdentityRule(subject=subject, issuer=ISSUER)).verify_bundle(bundle)
    assert signer.identity == subject
    with pytest.raises(NotVerified, match="someone else"):
        authority().verify_bundle(bundle)


def test_one_of_several_identities_suffices(sigstore: Sigstore, authority: Authority) -> None:
    bundle = parsed(sigstore.bundle(PAYLOAD))
    other = IdentityRule(subject="other@acme.example", issuer=ISSUER)
    assert authority(other, RULE).verify_bundle(bundle)[0].identity == EMAIL
    with pytest.raises(NotVerified, match=r"other@acme\.example"):
        authority(other).verify_bundle(bundle)


def test_an_authority_without_identities_is_none(trust: TrustSource) -> None:
    with pytest.raises(UsageError, match="needs an identity"):
        KeylessAuthority([], trust)


def test_whoever_takes_anybody_must_look_at_who_it_was(sigstore: Sigstore, trust: TrustSource) -> None:
    anyone = Options(names=(x509.RFC822Name("mallory@evil.example"),))
    signer, _ = UnsafeAnyIdentity(trust).verify_bundle(parsed(sigstore.bundle(PAYLOAD, anyone)))
    assert signer.identity == "mallory@evil.example"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(names=(x509.RFC822Name("mallory@evil.example"),)), "mallory@evil.example"),
        (Options(names=(x509.RFC822Name("ci@acme.example.evil.org"),)), "evil.org"),
        (Options(names=(x509.RFC822Name(EMAIL), x509.RFC822Name("mallory@evil.example"))), "2 identities"),
        (Options(names=(x509.DNSName("acme.example"),)), "neither an e-mail address nor a URI"),
        (Options(names=()), "no identity|required extension"),
        (Options(issuer="https://evil.example", issuer_v2="https://evil.example"), "issuer is https://evil.example"),
        (Options(issuer="https://evil.example"), "two different issuers"),
        (Options(issuer_v2="https://evil.example"), "two different issuers"),
        (Options(issuer=None, issuer_v2=None), "no issuer"),
        (Options(valid_from=-30 * MINUTE), "not valid at|has expired"),
        (Options(valid_from=5 * MINUTE), "not valid at|not yet valid"),
        (Options(leaf={"with_sct": False}), "signed certificate timestamp"),
        (Options(leaf={"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)}), "code signing"),
        (Options(payload_type="text/plain"), "reads differently"),
    ],
    ids=[
        "mallory", "look-alike", "two names", "host name", "no name", "other issuer", "old issuer differs",
        "new issuer differs", "no issuer", "expired", "not yet valid", "not in the certificate log", "not for signing",
        "payload type",
    ],
)  # fmt: skip
def test_certificates_that_are_refused(sigstore: Sigstore, authority: Authority, options: Options, reason: str) -> None:
    bundle = parsed(sigstore.bundle(PAYLOAD, options))
    if options.payload_type != Options().payload_type:
        bundle = replace(bundle, envelope=replace(bundle.envelope, payload_type=Options().payload_type))
    with pytest.raises(NotVerified, match=reason):
        authority().verify_bundle(bundle)


def test_another_instance_is_not_trusted(authority: Authority) -> None:
    with pytest.raises(NotVerified, match="not valid"):
        authority().verify_bundle(parsed(Sigstore().bundle(PAYLOAD)))


@pytest.mark.parametrize("part", ["fulcio", "rekor", "ct"])
def test_each_part_of_the_root_of_trust_is_needed(sigstore: Sigstore, authority: Authority, part: str) -> None:
    """An impostor who has all keys but one."""
    own, impostor = Sigstore(), Sigstore(fulcio=copy.copy(sigstore.fulcio), rekor=sigstore.rekor)
    if part == "rekor":
        impostor.rekor = own.rekor
    elif part == "fulcio":
        impostor.fulcio = own.fulcio
        impostor.fulcio.ct = sigstore.fulcio.ct
    else:
        impostor.fulcio.ct = own.fulcio.ct
    with pytest.raises(NotVerified, match="not valid"):
        authority().verify_bundle(parsed(impostor.bundle(PAYLOAD)))
    authority().verify_bundle(parsed(sigstore.bundle(PAYLOAD)))


def test_a_log_entry_of_another_signature_proves_nothing(sigstore: Sigstore, authority: Authority) -> None:
    bundle, other = sigstore.bundle(PAYLOAD), sigstore.bundle(PAYLOAD)
    bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    with pytest.raises(NotVerified, match="log entry"):
        authority().verify_bundle(parsed(bundle))


def test_a_payload_of_another_image_is_not_what_was_signed(sigstore: Sigstore, authority: Authority) -> None:
    bundle = sigstore.bundle(PAYLOAD)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(PAYLOAD.replace(b"cosign/sign", b"cosign/scan")).decode()
    with pytest.raises(NotVerified, match="signature"):
        authority().verify_bundle(parsed(bundle))


def test_both_readers_must_see_the_same(sigstore: Sigstore, authority: Authority) -> None:
    bundle = parsed(sigstore.bundle(PAYLOAD))
    lies = [
        replace(bundle, envelope=replace(bundle.envelope, payload=PAYLOAD + b" ")),
        replace(bundle, envelope=replace(bundle.envelope, signatures=(b"x",))),
        replace(bundle, certificate=b"x"),
    ]
    for lie in lies:
        with pytest.raises(NotVerified, match="reads differently"):
            authority().verify_bundle(lie)
    authority().verify_bundle(bundle)


Path_ = tuple[str | int, ...]


def _leaves(value: Any, path: Path_ = ()) -> list[Path_]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for i, inner in enumerate(value) for leaf in _leaves(inner, (*path, i))]
    return [path]


def _changed(document: dict[str, Any], path: Path_, change: Callable[[str], str]) -> dict[str, Any]:
    copied = copy.deepcopy(document)
    place: Any = copied
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = change(place[path[-1]])
    return copied


def _one_bit(text: str) -> str:
    """One bit of what `text` encodes, in its middle."""
    try:
        if text.isdecimal():
            return str(int(text) ^ 1)
        raw = bytearray(base64.b64decode(text, validate=True))
        raw[len(raw) // 2] ^= 1
        return base64.b64encode(raw).decode()
    except ValueError:
        middle = len(text) // 2
        return text[:middle] + chr(ord(text[middle]) ^ 1) + text[middle + 1 :]


# Only says how to walk the proof: the checkpoint that the walk must end at is signed, with its own size.
UNSIGNED = {"treeSize"}


def test_every_field_is_protected(sigstore: Sigstore, authority: Authority) -> None:
    """The twin of every verification: one bit changed in one field, field by field."""
    bundle = sigstore.bundle(PAYLOAD)
    checked = authority()
    checked.verify_bundle(parsed(bundle))
    paths = _leaves(bundle)
    assert len(paths) >= 18
    passed = []
    for path in paths:
        try:
            checked.verify_bundle(parsed(_changed(bundle, path, _one_bit)))
        except (NotVerified, InvalidDocument):
            continue
        passed.append(path[-1])
    assert set(passed) <= UNSIGNED, passed


@pytest.mark.parametrize("member", ["certificate", "tlogEntries"])
def test_nothing_can_be_left_out(sigstore: Sigstore, authority: Authority, member: str) -> None:
    bundle = sigstore.bundle(PAYLOAD)
    del bundle["verificationMaterial"][member]
    with pytest.raises((NotVerified, InvalidDocument)):
        authority().verify_bundle(parsed(bundle))


@pytest.mark.parametrize("member", ["inclusionPromise", "inclusionProof", "integratedTime", "canonicalizedBody"])
def test_a_log_entry_needs_all_its_parts(sigstore: Sigstore, authority: Authority, member: str) -> None:
    bundle = sigstore.bundle(PAYLOAD)
    del bundle["verificationMaterial"]["tlogEntries"][0][member]
    with pytest.raises(NotVerified):
        authority().verify_bundle(parsed(bundle))


def test_signatures_by_keys_are_for_others(authority: Authority) -> None:
    envelope = Envelope(payload=b"{}", payload_type="x", signatures=(b"x",))
    with pytest.raises(NotVerified, match="with a key"):
        authority().verify_bundle(Bundle(raw=b"{}", envelope=envelope, key_hint="x"))
    with pytest.raises(NotVerified, match="with a key"):
        authority().verify_simple(SimpleSignature(payload=b"{}", signature=b"x", annotations={}))
    with pytest.raises(NotVerified, match="no proof"):
        authority().verify_envelope(envelope)


def test_legacy_keyless_signatures_are_refused_with_the_reason(authority: Authority) -> None:
    annotations = {"dev.sigstore.cosign/certificate": "x", "dev.sigstore.cosign/bundle": "x"}
    with pytest.raises(NotVerified, match="no proof that the log holds it"):
        authority().verify_simple(SimpleSignature(payload=b"{}", signature=b"x", annotations=annotations))


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "not JSON", '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=9"}', "\x00"],
)
def test_what_is_no_trusted_root(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "root.json", content)
    for source in (TrustSource(trusted_root=path), TrustSource(trust_config=path)):
        with pytest.raises(UsageError, match=r"root\.json"):
            source.verifier()


def test_a_root_that_trusts_nobody_is_none(tmp_path: Path, sigstore: Sigstore) -> None:
    for part in ("tlogs", "certificateAuthorities"):
        root = json.loads(trusted_root(sigstore)) | {part: []}
        path = write(tmp_path / "root.json", json.dumps(root))
        with pytest.raises(UsageError, match="cannot be verified with"):
            TrustSource(trusted_root=path).verifier()


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        TrustSource(trusted_root=tmp_path / "none.json").verifier()
    with pytest.raises(UsageError, match="not both"):
        TrustSource(trusted_root=tmp_path / "a", trust_config=tmp_path / "b")


def test_a_failure_is_not_remembered(tmp_path: Path, sigstore: Sigstore) -> None:
    path = tmp_path / "root.json"
    authority = KeylessAuthority([RULE], TrustSource(trusted_root=path))
    bundle = parsed(sigstore.bundle(PAYLOAD))
    with pytest.raises(StorageError):
        authority.verify_bundle(bundle)
    path.write_text(trusted_root(sigstore))
    authority.verify_bundle(bundle)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TUF cache that nobody has used."""
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_the_public_root_needs_no_network_when_offline(sigstore: Sigstore, own_cache: Path) -> None:
    """From the cache, which starts with what the library was shipped with; and it trusts nobody else."""
    authority = KeylessAuthority([RULE], TrustSource(offline=True))
    authority.prepare()
    assert list(own_cache.rglob("trusted_root.json"))
    with pytest.raises(NotVerified):
        authority.verify_bundle(parsed(sigstore.bundle(PAYLOAD)))


def test_a_public_root_that_cannot_be_refreshed_is_the_network_s_failure(
    sigstore: Sigstore, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigstore.models.DEFAULT_TUF_URL", "http://127.0.0.1:9")
    authority = KeylessAuthority([RULE], TrustSource())
    with pytest.raises(WorldError, match="cannot refresh the public root of trust") as caught:
        authority.verify_bundle(parsed(sigstore.bundle(PAYLOAD)))
    assert "--trusted-root" in (caught.value.hint or "")
