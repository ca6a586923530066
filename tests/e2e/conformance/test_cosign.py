"""cosign itself: it verifies what we sign, we verify what it signs, in both formats, and keys go both ways.

It is compiled from its published Go module into `.cache/go`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.conformance.programs import COSIGN
from tests.e2e.support.commands import BIN, Modelcar, run
from tests.e2e.support.registries import docker_registry, embedded_registry
from tests.support.golang import install_go

pytestmark = pytest.mark.conformance

PASSWORD = {"COSIGN_PASSWORD": "pässword"}
FORMATS = {"bundle": "--new-bundle-format=true", "legacy": "--new-bundle-format=false"}
OFFLINE = ("--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "--yes")
SCAN = "https://example.com/scan/v1"
_numbers = count()


@dataclass(frozen=True)
class Cosign:
    program: Path
    folder: Path

    def __call__(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**PASSWORD, "HOME": str(self.folder), "TUF_ROOT": str(self.folder / "tuf")}
        return run(self.program, *arguments, check=check, environment=environment)

    def sign(self, image: str, key: Path, form: str) -> None:
        self("sign", "--key", key, FORMATS[form], *OFFLINE, image)

    def accepts(self, image: str, key: Path, form: str) -> bool:
        options = ("--insecure-ignore-tlog=true", "--allow-http-registry", FORMATS[form])
        done = self("verify", "--key", key, *options, image, check=False)
        if done.returncode:
            assert "no matching" in done.stderr or "no signatures found" in done.stderr, done.stderr
        return done.returncode == 0


@pytest.fixture(scope="session")
def cosign(workspace: Path) -> Cosign:
    return Cosign(install_go(*COSIGN), workspace)


@pytest.fixture(
    scope="session", params=["embedded", pytest.param("docker", marks=pytest.mark.debian("docker-registry"))]
)
def registry(request: pytest.FixtureRequest, workspace: Path) -> Iterator[str]:
    """One with a referrers API, one without."""
    server = embedded_registry if request.param == "embedded" else docker_registry
    with server(workspace / f"cosign-{request.param}") as address:
        yield address


@dataclass(frozen=True)
class Image:
    """An unsigned image in a repository of its own; `documents` are digests, the index last."""

    repository: str
    documents: tuple[str, ...]

    @property
    def ref(self) -> str:
        return f"{self.repository}:v1"

    @property
    def pinned(self) -> str:
        return f"{self.repository}@{self.documents[-1]}"


@pytest.fixture
def image(registry: str, modelcar: Modelcar, checkpoint: Path) -> Image:
    repository = f"{registry}/acme/cosign-{next(_numbers)}"
    built = modelcar("build", checkpoint, "-t", f"{repository}:v1", "--push")
    inspected = modelcar("inspect", f"{repository}:v1")
    return Image(repository, (*(m["digest"] for m in inspected["manifests"]), built["digest"]))


@pytest.fixture
def keys(modelcar: Modelcar, cosign: Cosign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A pair made by us and a pair made by cosign: `NAME.key` and `NAME.pub` of each."""
    for name, value in PASSWORD.items():
        monkeypatch.setenv(name, value)
    modelcar("keygen", "-o", tmp_path / "ours")
    cosign("generate-key-pair", "--output-key-prefix", str(tmp_path / "theirs"))
    return tmp_path / "ours", tmp_path / "theirs"


def key(pair: Path) -> Path:
    return pair.with_name(f"{pair.name}.key")


def pub(pair: Path) -> Path:
    return pair.with_name(f"{pair.name}.pub")


def refuses(modelcar: Modelcar, *arguments: str | Path) -> str:
    done = run(BIN / "modelcar", "verify", *arguments, check=False, environment=modelcar.environment)
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_cosign_verifies_ours(
    cosign: Cosign, modelcar: Modelcar, image: Image, keys: tuple[Path, Path], form: str
) -> None:
    ours, theirs = keys
    assert not cosign.accepts(image.pinned, pub(ours), form)
    modelcar("sign", image.ref, "--remote", "--key", key(ours), "--format", form)
    for digest in image.documents:
        assert cosign.accepts(f"{image.repository}@{digest}", pub(ours), form)
    assert not cosign.accepts(image.pinned, pub(theirs), form)
    other = next(f for f in FORMATS if f != form)
    modelcar("sign", image.ref, "--remote", "--key", key(ours))
    assert cosign.accepts(image.pinned, pub(ours), form)
    assert cosign.accepts(image.pinned, pub(ours), other)


@pytest.mark.parametrize("form", FORMATS)
def test_we_verify_cosigns(
    cosign: Cosign, modelcar: Modelcar, image: Image, keys: tuple[Path, Path], form: str
) -> None:
    ours, theirs = keys
    assert "nothing is attached" in refuses(modelcar, image.ref, "--remote", "--key", pub(theirs))
    cosign.sign(image.pinned, key(theirs), form)
    (verified,) = modelcar("verify", image.ref, "--remote", "--key", pub(theirs))["verified"]
    assert verified["format"] == form
    assert "signed by another key" in refuses(modelcar, image.ref, "--remote", "--key", pub(ours))
    assert "nothing is attached" in refuses(
        modelcar, f"{image.repository}@{image.documents[0]}", "--remote", "--key", pub(theirs)
    )


@pytest.mark.parametrize("form", FORMATS)
def test_keys_go_both_ways(
    cosign: Cosign, modelcar: Modelcar, image: Image, keys: tuple[Path, Path], form: str
) -> None:
    ours, theirs = keys
    cosign.sign(image.pinned, key(ours), form)
    modelcar("sign", image.ref, "--remote", "--key", key(theirs), "--format", form)
    for pair in keys:
        assert cosign.accepts(image.pinned, pub(pair), form)
        assert modelcar("verify", image.ref, "--remote", "--key", pub(pair))["verified"][0]["format"] == form
    exported = cosign("public-key", "--key", key(ours)).stdout
    assert exported.strip() == pub(ours).read_text().strip()


def test_neither_overwrites_the_other(
    cosign: Cosign, modelcar: Modelcar, image: Image, keys: tuple[Path, Path]
) -> None:
    ours, theirs = keys
    cosign.sign(image.pinned, key(theirs), "legacy")
    modelcar("sign", image.ref, "--remote", "--key", key(ours))
    cosign.sign(image.pinned, key(theirs), "bundle")
    again = modelcar("sign", image.ref, "--remote", "--key", key(theirs))
    root = [s for s in again["signatures"] if s["digest"] == image.documents[-1]]
    assert [s["new"] for s in root] == [False, False]
    for pair in keys:
        for form in FORMATS:
            assert cosign.accepts(image.pinned, pub(pair), form)


@pytest.mark.parametrize("form", FORMATS)
def test_cosign_verifies_a_copy(
    cosign: Cosign, modelcar: Modelcar, image: Image, keys: tuple[Path, Path], tmp_path: Path, form: str
) -> None:
    """Through a layout on disk and into another repository."""
    ours, _ = keys
    modelcar("sign", image.ref, "--remote", "--key", key(ours), "--format", form)
    modelcar("copy", image.ref, f"oci:{tmp_path}/layout:v1")
    modelcar("copy", f"oci:{tmp_path}/layout:v1", f"{image.repository}-copy:v1")
    for digest in image.documents:
        assert cosign.accepts(f"{image.repository}-copy@{digest}", pub(ours), form)


@pytest.mark.parametrize("form", FORMATS)
def test_we_verify_cosigns_attestations(
    cosign: Cosign, modelcar: Modelcar, image: Image, keys: tuple[Path, Path], tmp_path: Path, form: str
) -> None:
    ours, theirs = keys
    (tmp_path / "predicate").write_text(json.dumps({"verdict": "clean"}))
    arguments = ("--predicate", tmp_path / "predicate", "--type", SCAN)
    cosign("attest", "--key", key(theirs), FORMATS[form], *arguments, *OFFLINE, image.pinned)
    wanted = (image.ref, "--remote", "--attestation", SCAN)
    (verified,) = modelcar("verify", *wanted, "--key", pub(theirs))["verified"]
    assert (verified["predicate"], verified["format"]) == ({"verdict": "clean"}, form)
    assert "signed by another key" in refuses(modelcar, *wanted, "--key", pub(ours))
    assert f"{SCAN}/other" in refuses(modelcar, *wanted[:-1], f"{SCAN}/other", "--key", pub(theirs))
    assert "has no signature" in refuses(modelcar, image.ref, "--remote", "--key", pub(theirs))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "algorithm",
    [
        ("ED25519",),
        ("RSA", "rsa_keygen_bits:3072"),
        ("EC", "ec_paramgen_curve:P-384"),
        ("EC", "ec_paramgen_curve:P-521"),
    ],
    ids=lambda value: "-".join(value).replace(":", "-"),
)
def test_other_kinds_of_keys(
    cosign: Cosign, modelcar: Modelcar, image: Image, keys: tuple[Path, Path], tmp_path: Path,
    algorithm: tuple[str, ...], form: str
) -> None:  # fmt: skip
    """cosign refuses its own Ed25519 and P-384 signatures unless told how it made them; we find out."""
    options = [part for option in algorithm[1:] for part in ("-pkeyopt", option)]
    run("openssl", "genpkey", "-algorithm", algorithm[0], *options, "-out", tmp_path / "plain.pem")
    cosign("import-key-pair", "--key", tmp_path / "plain.pem", "--output-key-prefix", str(tmp_path / "imported"))
    cosign.sign(image.pinned, tmp_path / "imported.key", form)
    verified = modelcar("verify", image.ref, "--remote", "--key", tmp_path / "imported.pub")["verified"]
    assert verified[0]["format"] == form
    refuses(modelcar, image.ref, "--remote", "--key", pub(keys[0]))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("algorithm", [("ED25519",), ("RSA", "rsa_keygen_bits:3072")], ids=lambda value: value[0])
def test_cosign_verifies_our_other_kinds(
    cosign: Cosign, modelcar: Modelcar, image: Image, tmp_path: Path, algorithm: tuple[str, ...], form: str
) -> None:
    options = [part for option in algorithm[1:] for part in ("-pkeyopt", option)]
    run("openssl", "genpkey", "-algorithm", algorithm[0], *options, "-out", tmp_path / "plain.pem")
    run("openssl", "pkey", "-in", tmp_path / "plain.pem", "-pubout", "-out", tmp_path / "plain.pub")
    modelcar("sign", image.ref, "--remote", "--key", tmp_path / "plain.pem", "--format", form)
    assert cosign.accepts(image.pinned, tmp_path / "plain.pub", form)
