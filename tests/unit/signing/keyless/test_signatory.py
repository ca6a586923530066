"""Signing through a Fulcio and a Rekor on a loopback port: the library's own clients, over HTTP."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

import pytest

from modelcar.errors import NotVerified, StorageError, UsageError, WorldError
from modelcar.oci import Digest
from modelcar.signing.bundle import parse_bundle
from modelcar.signing.keyless.authority import KeylessAuthority
from modelcar.signing.keyless.identity import IdentityRule
from modelcar.signing.keyless.signatory import keyless_signatory
from modelcar.signing.keyless.token import TOKEN_VARIABLE
from modelcar.signing.keyless.trust import TrustSource
from modelcar.signing.statement import Statement
from tests.support.sigstore import Sigstore, serve_sigstore, trusted_root
from tests.support.sigstore.instance import EMAIL, ISSUER
from tests.unit.signing.keyless.conftest import DIGEST, RULE, STATEMENT, write

pytestmark = pytest.mark.slow

WORKFLOW = "https://github.com/acme/models/.github/workflows/package.yml@refs/heads/main"


@pytest.fixture
def served() -> Iterator[Sigstore]:
    with serve_sigstore(Sigstore()) as sigstore:
        yield sigstore


@pytest.fixture
def trust(served: Sigstore, tmp_path: Path) -> TrustSource:
    return TrustSource(trust_config=write(tmp_path / "config.json", served.trust_config()))


def test_sign_then_verify_offline(served: Sigstore, trust: TrustSource, tmp_path: Path) -> None:
    signatory = keyless_signatory(trust, {TOKEN_VARIABLE: served.token()})
    assert str(signatory) == f"{EMAIL} ({ISSUER})"
    bundle = signatory.sign_statement(STATEMENT)
    offline = TrustSource(trusted_root=write(tmp_path / "root.json", trusted_root(served)))
    signer, _ = KeylessAuthority([RULE], offline).verify_bundle(parse_bundle(bundle.raw))
    assert (signer.identity, signer.issuer) == (EMAIL, ISSUER)
    statement = Statement.parse(bundle.envelope.payload)
    assert statement.is_about(DIGEST)
    assert not statement.is_about(Digest.of(b"another image"))


def test_a_workflow_signs_under_its_uri(served: Sigstore, trust: TrustSource) -> None:
    signatory = keyless_signatory(trust, {TOKEN_VARIABLE: served.token(sub=WORKFLOW)})
    bundle = signatory.sign_statement(STATEMENT)
    rule = IdentityRule(subject_regexp=r"https://github\.com/acme/models/.*", issuer=ISSUER)
    assert KeylessAuthority([rule], trust).verify_bundle(bundle)[0].identity == WORKFLOW
    with pytest.raises(NotVerified, match="someone else"):
        KeylessAuthority([RULE], trust).verify_bundle(bundle)


def test_one_certificate_signs_many_things(served: Sigstore, trust: TrustSource) -> None:
    signatory = keyless_signatory(trust, {TOKEN_VARIABLE: served.token()})
    bundles = [signatory.sign_statement(Statement.about(Digest.of(bytes([i])), "urn:x")) for i in range(3)]
    assert len({bundle.certificate for bundle in bundles}) == 1
    assert len(served.rekor.entries) == 9


def test_the_token_can_lie_in_a_file_which_wins(served: Sigstore, trust: TrustSource, tmp_path: Path) -> None:
    file = write(tmp_path / "token", f"{served.token(sub='file@acme.example')}\n")
    signatory = keyless_signatory(trust, {TOKEN_VARIABLE: served.token()}, token_file=file)
    assert signatory.identity.subject == "file@acme.example"
    with pytest.raises(StorageError, match="cannot read"):
        keyless_signatory(trust, {}, token_file=tmp_path / "none")


@pytest.mark.parametrize(
    "claims",
    [{"aud": "someone else"}, {"exp": 1_000_000_000}, {"nbf": 4_000_000_000}, {"iat": None}, {"sub": None}],
    ids=["audience", "expired", "not yet", "no time", "no subject"],
)
def test_tokens_that_cannot_be_used(served: Sigstore, trust: TrustSource, claims: dict[str, object]) -> None:
    token = served.token(**claims)
    with pytest.raises(UsageError, match="identity token") as caught:
        keyless_signatory(trust, {TOKEN_VARIABLE: token})
    assert token not in f"{caught.value} {caught.value.hint}"


def test_a_token_of_another_issuer_is_refused_by_the_authority(trust: TrustSource) -> None:
    token = Sigstore().token()
    with pytest.raises(WorldError, match="no certificate could be had: 401") as caught:
        keyless_signatory(trust, {TOKEN_VARIABLE: token})
    assert token not in str(caught.value)


def test_without_an_identity_nothing_is_signed(trust: TrustSource, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "GOOGLE_SERVICE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    with pytest.raises(UsageError, match="no identity to sign with"):
        keyless_signatory(trust, {})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_person_logs_in_with_a_browser(
    served: Sigstore, trust: TrustSource, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The browser is a thread that follows the redirects: to the identity provider, and back with a code."""
    visits: list[Thread] = []

    def visit(url: str) -> bool:
        visits.append(Thread(target=lambda: urlopen(url).close()))  # noqa: S310  # a page of the library's own
        visits[-1].start()
        return True

    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    monkeypatch.setattr("webbrowser.open", visit)
    signatory = keyless_signatory(trust, {}, interactive=True)
    for thread in visits:
        thread.join()
    assert signatory.identity.subject == EMAIL
    assert len(visits) == 1
    assert capsys.readouterr().out == ""
    gc.collect()  # the library leaves its listening socket open; that is to be noticed here and not in another test


def test_a_login_that_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust = TrustSource(trust_config=write(tmp_path / "config.json", Sigstore().trust_config()))
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    with pytest.raises(WorldError, match="no identity could be had"):
        keyless_signatory(trust, {}, interactive=True)


def test_ambient_credentials_that_fail_say_what_to_do(trust: TrustSource, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(WorldError, match="no identity could be had") as caught:
        keyless_signatory(trust, {})
    assert "id-token: write" in (caught.value.hint or "")


def test_a_trusted_root_alone_cannot_sign(served: Sigstore, tmp_path: Path) -> None:
    trust = TrustSource(trusted_root=write(tmp_path / "root.json", trusted_root(served)))
    with pytest.raises(UsageError, match="which services") as caught:
        keyless_signatory(trust, {TOKEN_VARIABLE: served.token()})
    assert "--trust-config" in (caught.value.hint or "")


def test_a_log_that_nobody_trusts_is_noticed_before_anything_is_published(served: Sigstore, tmp_path: Path) -> None:
    config = json.loads(served.trust_config())
    config["trustedRoot"]["tlogs"] = [Sigstore().rekor.key.instance(served.url)]
    trust = TrustSource(trust_config=write(tmp_path / "other.json", json.dumps(config)))
    signatory = keyless_signatory(trust, {TOKEN_VARIABLE: served.token()})
    with pytest.raises(WorldError, match="does not verify"):
        signatory.sign_statement(STATEMENT)


def test_services_that_are_gone(tmp_path: Path) -> None:
    nowhere = Sigstore()
    trust = TrustSource(trust_config=write(tmp_path / "config.json", nowhere.trust_config()))
    with pytest.raises(WorldError, match="no certificate could be had"):
        keyless_signatory(trust, {TOKEN_VARIABLE: nowhere.token()})


def test_no_token_in_any_log(served: Sigstore, trust: TrustSource, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = served.token()
    keyless_signatory(trust, {TOKEN_VARIABLE: token}).sign_statement(STATEMENT)
    assert token not in caplog.text


def test_without_the_library_one_line_says_how_to_get_it(trust: TrustSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcar.signing.keyless.library.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="need the library sigstore") as caught:
        keyless_signatory(trust, {})
    assert caught.value.hint == "pip install 'modelcar[keyless]'"


def test_the_library_is_not_loaded_before_it_is_needed() -> None:
    import subprocess
    import sys

    code = """
import sys
from modelcar.signing.keyless import authority, identity, signatory, token, trust
authority.KeylessAuthority([identity.IdentityRule(subject="a", issuer="b")], trust.TrustSource())
sys.exit("sigstore" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
