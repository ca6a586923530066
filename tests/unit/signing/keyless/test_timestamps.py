"""Logs without a clock (Rekor v2): the time of a signature comes from a timestamping authority, here OpenSSL's."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelcar.errors import NotVerified
from modelcar.signing.keyless.authority import KeylessAuthority
from modelcar.signing.keyless.signatory import keyless_signatory
from modelcar.signing.keyless.token import TOKEN_VARIABLE
from modelcar.signing.keyless.trust import TrustSource
from tests.support.sigstore import Options, Sigstore, serve_sigstore, trusted_root
from tests.support.sigstore.instance import EMAIL
from tests.support.sigstore.tsa import Tsa
from tests.unit.signing.keyless.conftest import RULE, STATEMENT, parsed, write

pytestmark = [pytest.mark.slow, pytest.mark.debian("openssl")]
PAYLOAD = STATEMENT.to_bytes()
STAMPED = Options(log_version=2, timestamps=1)


@pytest.fixture(scope="module")
def stamping(tmp_path_factory: pytest.TempPathFactory) -> Sigstore:
    return Sigstore(tsa=Tsa(tmp_path_factory.mktemp("tsa")))


@pytest.fixture(scope="module")
def authority(stamping: Sigstore, tmp_path_factory: pytest.TempPathFactory) -> KeylessAuthority:
    path = write(tmp_path_factory.mktemp("trust") / "root.json", trusted_root(stamping))
    return KeylessAuthority([RULE], TrustSource(trusted_root=path))


@pytest.mark.parametrize("version", [1, 2])
def test_a_timestamp_tells_the_time(stamping: Sigstore, authority: KeylessAuthority, version: int) -> None:
    bundle = stamping.bundle(PAYLOAD, Options(log_version=version, timestamps=1))
    signer, signed_at = authority.verify_bundle(parsed(bundle))
    assert signer.identity == EMAIL
    assert signed_at is not None
    assert datetime.now(UTC) - timedelta(minutes=1) < signed_at <= datetime.now(UTC)


def test_without_any_time_nothing_is_verified(stamping: Sigstore, authority: KeylessAuthority) -> None:
    with pytest.raises(NotVerified, match="inclusion promise or signed timestamp"):
        authority.verify_bundle(parsed(stamping.bundle(PAYLOAD, Options(log_version=2))))


@pytest.mark.parametrize("bit", [100, 400, -30])
def test_a_bit_of_a_timestamp(stamping: Sigstore, authority: KeylessAuthority, bit: int) -> None:
    import base64

    bundle = stamping.bundle(PAYLOAD, STAMPED)
    authority.verify_bundle(parsed(bundle))
    stamp = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]
    raw = bytearray(base64.b64decode(stamp["signedTimestamp"]))
    raw[bit] ^= 1
    stamp["signedTimestamp"] = base64.b64encode(raw).decode()
    with pytest.raises(NotVerified):
        authority.verify_bundle(parsed(bundle))


def test_a_timestamp_of_another_signature(stamping: Sigstore, authority: KeylessAuthority) -> None:
    bundle, other = stamping.bundle(PAYLOAD, STAMPED), stamping.bundle(PAYLOAD, STAMPED)
    name = "timestampVerificationData"
    bundle["verificationMaterial"][name] = other["verificationMaterial"][name]
    with pytest.raises(NotVerified, match="not enough sources of verified time"):
        authority.verify_bundle(parsed(bundle))


def test_another_authority_s_timestamp(stamping: Sigstore, authority: KeylessAuthority, tmp_path: Path) -> None:
    impostor = copy.copy(stamping)
    impostor.tsa = Tsa(tmp_path)
    with pytest.raises(NotVerified, match="not enough sources of verified time"):
        authority.verify_bundle(parsed(impostor.bundle(PAYLOAD, STAMPED)))


@pytest.mark.parametrize(("valid_from", "valid_for"), [(-30, 10), (5, 10)], ids=["expired", "not yet valid"])
def test_the_certificate_must_have_been_valid_then(
    stamping: Sigstore, authority: KeylessAuthority, valid_from: int, valid_for: int
) -> None:
    minute = timedelta(minutes=1)
    options = Options(log_version=2, timestamps=1, valid_from=valid_from * minute, valid_for=valid_for * minute)
    with pytest.raises(NotVerified, match="not valid"):
        authority.verify_bundle(parsed(stamping.bundle(PAYLOAD, options)))


def test_signing_through_rekor_v2_and_a_timestamping_service(tmp_path: Path) -> None:
    with serve_sigstore(Sigstore(tsa=Tsa(tmp_path))) as served:
        trust = TrustSource(trust_config=write(tmp_path / "config.json", served.trust_config()))
        bundle = keyless_signatory(trust, {TOKEN_VARIABLE: served.token()}).sign_statement(STATEMENT)
    offline = TrustSource(trusted_root=write(tmp_path / "root.json", trusted_root(served)))
    signer, signed_at = KeylessAuthority([RULE], offline).verify_bundle(bundle)
    assert signer.identity == EMAIL
    assert signed_at is not None
