"""cosign and keyless signatures, both ways, against a Sigstore of the test's own: Rekor v1, and v2 with timestamps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.conformance.programs import COSIGN
from tests.e2e.support.commands import BIN, Done, Modelcar, run
from tests.support.golang import install_go
from tests.support.sigstore import Sigstore, serve_sigstore, trusted_root
from tests.support.sigstore.instance import EMAIL, ISSUER
from tests.support.sigstore.tsa import Tsa

pytestmark = [pytest.mark.conformance, pytest.mark.debian("openssl")]

WHO = ("--certificate-identity", EMAIL, "--certificate-oidc-issuer", ISSUER)
_numbers = count()


@dataclass(frozen=True)
class Keyless:
    """cosign and modelcar with the same identity and the same root of trust; their files lie in `folder`."""

    cosign: Path
    modelcar: Modelcar
    folder: Path
    stamped: bool

    def run_cosign(self, *arguments: str | Path, check: bool = True) -> Done:
        environment = {"HOME": str(self.folder), "TUF_ROOT": str(self.folder / "tuf")}
        return run(self.cosign, *arguments, check=check, environment=environment)

    def cosign_says(self, verb: str, ref: str, *more: str) -> Done:
        stamps = ("--use-signed-timestamps",) if self.stamped else ()
        root = ("--trusted-root", self.folder / "root.json", "--allow-http-registry")
        return self.run_cosign(verb, *root, *stamps, *more, ref, check=False)

    def refuses(self, ref: str, *who: str | Path) -> str:
        """What `modelcar verify` complains of."""
        arguments = ("verify", ref, "--trusted-root", self.folder / "root.json", "--remote", *who)
        done = run(BIN / "modelcar", *arguments, check=False, environment=self.modelcar.environment)
        assert done.returncode == 1, done.stderr
        return done.stderr

    @property
    def signing(self) -> tuple[str | Path, ...]:
        return "--keyless", "--trust-config", self.folder / "config.json", "--identity-token", self.folder / "token"


@pytest.fixture(scope="module", params=["rekor v1", "rekor v2"])
def keyless(
    request: pytest.FixtureRequest, modelcar: Modelcar, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keyless]:
    folder = tmp_path_factory.mktemp("keyless")
    stamped = request.param == "rekor v2"
    with serve_sigstore(Sigstore(tsa=Tsa(folder) if stamped else None)) as sigstore:
        (folder / "config.json").write_text(sigstore.trust_config())
        (folder / "services.json").write_text(json.dumps(json.loads(sigstore.trust_config())["signingConfig"]))
        (folder / "root.json").write_text(trusted_root(sigstore))
        (folder / "token").write_text(sigstore.token())
        yield Keyless(install_go(*COSIGN), modelcar, folder, stamped)


@pytest.fixture
def image(embedded: str, modelcar: Modelcar, checkpoint: Path) -> str:
    """An unsigned image in a repository of its own."""
    ref = f"{embedded}/acme/keyless-{next(_numbers)}:v1"
    modelcar("build", checkpoint, "-t", ref, "--push")
    return ref


def test_cosign_verifies_ours(keyless: Keyless, image: str) -> None:
    assert keyless.cosign_says("verify", image, *WHO).returncode != 0
    keyless.modelcar("sign", image, "--remote", *keyless.signing)
    verified = keyless.cosign_says("verify", image, *WHO)
    assert verified.returncode == 0, verified.stderr
    other = keyless.cosign_says("verify", image, *WHO[2:], "--certificate-identity", "mallory@evil.example")
    assert EMAIL in other.stderr
    assert other.returncode != 0


def test_cosign_verifies_our_attestations(keyless: Keyless, image: str) -> None:
    keyless.modelcar("attest", image, "--remote", "--type", "provenance", *keyless.signing)
    kind = ("--type", "slsaprovenance1")
    verified = keyless.cosign_says("verify-attestation", image, *WHO, *kind)
    assert verified.returncode == 0, verified.stderr
    assert keyless.cosign_says("verify-attestation", image, *WHO, "--type", "cyclonedx").returncode != 0


def test_we_verify_cosign_s(keyless: Keyless, image: str) -> None:
    assert "nothing is attached" in keyless.refuses(image, *WHO)
    services = ("--signing-config", keyless.folder / "services.json", "--trusted-root", keyless.folder / "root.json")
    token = ("--identity-token", keyless.folder / "token")
    keyless.run_cosign("sign", *services, *token, "--allow-http-registry", "--yes", image)
    root = ("--trusted-root", keyless.folder / "root.json", "--remote")
    (verified,) = keyless.modelcar("verify", image, *WHO, *root)["verified"]
    assert verified["signer"]["identity"] == EMAIL
    assert EMAIL in keyless.refuses(image, *WHO[2:], "--certificate-identity", "mallory@evil.example")
