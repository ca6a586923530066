"""Certificates that the webhook makes for itself, over years that pass in a moment."""

from __future__ import annotations

import datetime as dt
from collections import deque

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from modelcar.admission.server.certificates import Lifetimes, Papers, renewed
from modelcar.errors import UsageError

NAMES = ("webhook.models.svc", "webhook.models.svc.cluster.local")
START = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SHORT = Lifetimes(certificate=9 * DAY, authority=27 * DAY, overlap=DAY)


def verify(papers: Papers, bundle: bytes, when: dt.datetime, name: str = NAMES[0]) -> None:
    """As the API server does it, with a library's own path validation."""
    store = Store(x509.load_pem_x509_certificates(bundle))
    verifier = PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName(name))
    verifier.verify(papers.server.certificate, [])


def test_the_first_certificate_is_for_the_service_and_no_authority() -> None:
    papers = renewed(None, NAMES, Lifetimes(), START)
    for name in NAMES:
        verify(papers, papers.bundle, START, name)
    with pytest.raises(VerificationError):
        verify(papers, papers.bundle, START, "webhook.other.svc")
    extensions = papers.server.certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert papers.server.certificate.signature_hash_algorithm is not None
    assert papers.server.certificate.signature_hash_algorithm.name == "sha256"


def test_nothing_changes_while_everything_is_fresh() -> None:
    papers = renewed(None, NAMES, Lifetimes(), START)
    assert renewed(papers, NAMES, Lifetimes(), START + 59 * DAY) is papers
    again = Papers.from_data(papers.to_data())
    assert again is not None
    assert again.to_data() == papers.to_data()
    assert renewed(again, tuple(reversed(NAMES)), Lifetimes(), START + 59 * DAY) is again


def test_a_certificate_is_renewed_by_the_same_authority_long_before_it_ends() -> None:
    papers = renewed(None, NAMES, Lifetimes(), START)
    later = renewed(papers, NAMES, Lifetimes(), START + 61 * DAY)
    assert later.server.certificate != papers.server.certificate
    assert later.server.key.private_numbers() != papers.server.key.private_numbers()
    assert later.bundle == papers.bundle


def test_another_service_needs_another_certificate() -> None:
    papers = renewed(None, NAMES, Lifetimes(), START)
    moved = renewed(papers, ("webhook.other.svc",), Lifetimes(), START)
    verify(moved, papers.bundle, START, "webhook.other.svc")


def test_clocks_may_differ_by_minutes() -> None:
    papers = renewed(None, NAMES, Lifetimes(), START)
    verify(papers, papers.bundle, START - dt.timedelta(minutes=4))


@pytest.mark.slow
def test_through_the_years_yesterdays_bundle_verifies_todays_certificate_and_the_other_way_round() -> None:
    papers: Papers | None = None
    past: deque[Papers] = deque(maxlen=6)  # of the last 20 hours
    seen: set[bytes] = set()
    for step in range(200 * 6):
        now = START + step * dt.timedelta(hours=4)
        papers = renewed(papers, NAMES, SHORT, now)
        past.append(papers)
        verify(past[0], papers.bundle, now)
        verify(papers, past[0].bundle, now)
        assert len(papers.authorities) <= 2
        assert papers.server.until - now > 2 * DAY
        seen.add(papers.authorities[0].certificate.public_bytes(serialization.Encoding.PEM))
    assert len(seen) > 5  # otherwise nothing of this was tried


def test_who_was_away_for_long_begins_anew() -> None:
    papers = renewed(None, NAMES, SHORT, START)
    later = START + 100 * DAY
    again = renewed(papers, NAMES, SHORT, later)
    verify(again, again.bundle, later)
    assert len(again.authorities) == 1


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize(
    "value", [None, b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_somebody_damaged_is_nothing(name: str, value: bytes | None) -> None:
    data = renewed(None, NAMES, SHORT, START).to_data()
    damaged = {key: content for key, content in {**data, name: value}.items() if content is not None}
    assert Papers.from_data(damaged) is None


def test_a_certificate_and_another_key_are_no_pair() -> None:
    one, other = (renewed(None, NAMES, SHORT, START).to_data() for _ in range(2))
    assert Papers.from_data({**one, "tls.key": other["tls.key"]}) is None
    assert Papers.from_data({**one, "ca.key": other["ca.key"]}) is None


def test_a_certificate_of_another_authority_is_replaced() -> None:
    one, other = (renewed(None, NAMES, SHORT, START).to_data() for _ in range(2))
    mixed = Papers.from_data({**one, "tls.crt": other["tls.crt"], "tls.key": other["tls.key"]})
    assert mixed is not None
    mended = renewed(mixed, NAMES, SHORT, START)
    verify(mended, one["ca.crt"], START)


def test_lifetimes_leave_room_for_the_overlap() -> None:
    with pytest.raises(UsageError, match="three times"):
        Lifetimes(certificate=DAY, authority=30 * DAY, overlap=DAY)
    with pytest.raises(UsageError, match="three times"):
        Lifetimes(certificate=20 * DAY, authority=30 * DAY, overlap=DAY)
