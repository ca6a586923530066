"""Signing and verifying a release as who one is, by a Sigstore of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.oci import ImageConfig, Manifest
from modelcar.store import write_document
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from scripts.release.__main__ import main
from scripts.release.provenance import statement_about, sums
from scripts.release.sign import IMAGE, SBOM, STATEMENT, SUMS, Keys
from tests.support.sigstore import Sigstore, serve_sigstore
from tests.support.sigstore.instance import EMAIL, ISSUER

WHO = ["--identity", EMAIL, "--issuer", ISSUER]
SBOM_TEXT = '{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}'


@pytest.fixture
def sigstore(tmp_path: Path) -> Iterator[list[str]]:
    """Options that name one."""
    with serve_sigstore(Sigstore()) as sigstore:
        (tmp_path / "config.json").write_text(sigstore.trust_config())
        (tmp_path / "token").write_text(sigstore.token())
        yield ["--trust-config", str(tmp_path / "config.json")]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """What was built: an image without layers, an SBOM, and the statement about both."""
    folder = tmp_path / "dist"
    layout = OciLayout(folder / IMAGE)
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=())
    manifest = Manifest(config=config.descriptor, layers=())
    for document in (config, manifest):
        write_document(layout, document.content, document.digest)
    Names(layout).put("1.0", manifest.descriptor)
    (folder / SBOM).write_text(SBOM_TEXT)
    files = sums(folder, [SBOM])
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in files.items()))
    predicate = {
        "buildDefinition": {"buildType": "https://acme.example/build", "externalParameters": {}},
        "runDetails": {"builder": {"id": "https://acme.example/builder"}},
    }
    statement = statement_about(files | sums(folder, [SUMS]), manifest.digest, predicate)
    (folder / STATEMENT).write_bytes(statement.to_bytes())
    return folder


@pytest.mark.slow
def test_a_sigstore_of_ones_own(
    release: Path,
    sigstore: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    token = ["--identity-token", str(tmp_path / "token")]
    assert main(["sign", str(release), *sigstore, *token]) == 0, capfd.readouterr().err
    assert main(["verify", str(release), *sigstore, *WHO]) == 0, capfd.readouterr().err
    assert main(["verify", str(release), *sigstore, "--identity", "other@acme.example", "--issuer", ISSUER]) == 1
    (release / SBOM).write_text(SBOM_TEXT + " ")
    assert main(["verify", str(release), *sigstore, *WHO]) == 1


def test_a_config_that_is_none_is_said_to_be_none(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert main(["verify", str(release), "--trust-config", str(tmp_path / "config.json"), *WHO]) == 2
    assert str(tmp_path / "config.json") in capsys.readouterr().err


def test_keys_need_no_sigstore() -> None:
    keys = Keys(sign="a.key", attest="b.key", trust_config=Path("config.json"))
    assert (keys.of_images, keys.of_statements) == (["--key", "a.key"], ["--key", "b.key"])
