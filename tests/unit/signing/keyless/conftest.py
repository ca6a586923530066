"""One instance of a test's own Sigstore for all tests here: what is signed with it is not changed by anyone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci import Digest
from modelcar.signing.bundle import parse_bundle
from modelcar.signing.keyless.authority import KeylessAuthority
from modelcar.signing.keyless.identity import IdentityRule
from modelcar.signing.keyless.trust import TrustSource
from modelcar.signing.statement import COSIGN_SIGN, Statement
from modelcar.signing.verified import Bundle
from tests.support.sigstore import Sigstore, trusted_root
from tests.support.sigstore.instance import EMAIL, ISSUER

DIGEST = Digest.of(b"an image")
STATEMENT = Statement.about(DIGEST, COSIGN_SIGN)
RULE = IdentityRule(subject=EMAIL, issuer=ISSUER)

Authority = Callable[..., KeylessAuthority]


@pytest.fixture(scope="session")
def sigstore() -> Sigstore:
    return Sigstore()


@pytest.fixture(scope="session")
def trust(sigstore: Sigstore, tmp_path_factory: pytest.TempPathFactory) -> TrustSource:
    path = tmp_path_factory.mktemp("trust") / "trusted_root.json"
    path.write_text(trusted_root(sigstore))
    return TrustSource(trusted_root=path)


@pytest.fixture
def authority(trust: TrustSource) -> Authority:
    def authority(*rules: IdentityRule) -> KeylessAuthority:
        return KeylessAuthority(rules or [RULE], trust)

    return authority


def parsed(document: dict[str, Any]) -> Bundle:
    return parse_bundle(json.dumps(document).encode())


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
