"""`modelcar archive`, and every verb that takes the file back."""

from __future__ import annotations

import json
import re
import socket
import tarfile
from pathlib import Path

import pytest

from modelcar.layers.bytemap import FileRange
from modelcar.store import ArchiveStore, Names, OciLayout
from modelcar.store.archiving import Part, write_archive
from modelcar.store.tree import walk
from tests.support.checkpoints import files_of
from tests.support.images import put_image, random_image, validate_in
from tests.support.signing import KEY, OTHER_KEY
from tests.support.tars import make_tar
from tests.unit.cli.conftest import ModelcarCli


@pytest.fixture
def digest(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> str:
    """The checkpoint, built as `ref` and nowhere but in the local store."""
    digest: str = modelcar.json("build", checkpoint, "-t", ref)["digest"]
    return digest


@pytest.fixture
def file(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> Path:
    modelcar("archive", ref, "-o", tmp_path / "model.tar")
    return tmp_path / "model.tar"


def test_what_it_says(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> None:
    file = tmp_path / "model.tar"
    out = modelcar("archive", ref, "-o", file)
    first, second = out.splitlines()
    assert re.fullmatch(rf"archived {re.escape(ref)} as oci-archive:{file} \([0-9.]+ [kM]B\) in [0-9.]+ s", first)
    assert second == digest
    answer = modelcar.json("archive", ref, "-o", tmp_path / "again.tar")
    assert answer.pop("seconds") >= 0
    again = tmp_path / "again.tar"
    assert answer == {
        "name": ref,
        "file": str(again),
        "digest": digest,
        "size": again.stat().st_size,
        "attachments": 0,
        "trust": {"keys": [], "trustedRoot": None},
    }
    assert again.read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_every_verb_takes_it_back(
    modelcar: ModelcarCli, file: Path, digest: str, ref: str, checkpoint: Path, tmp_path: Path
) -> None:
    archive = f"oci-archive:{file}"
    before = sorted(p.name for p in tmp_path.iterdir())
    modelcar("pull", archive, "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(checkpoint)
    assert modelcar.json("inspect", f"{archive}:v1")["digest"] == digest
    assert modelcar.json("copy", archive, f"{ref}-copied")["digest"] == digest
    modelcar("pull", f"{ref}-copied", "-o", tmp_path / "pulled")
    assert modelcar.json("copy", archive, f"oci:{tmp_path / 'layout'}")["digest"] == digest
    layout = OciLayout(tmp_path / "layout")
    validate_in(layout, Names(layout).get("v1"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "copy", "pulled", "layout"])


def test_it_is_a_base(modelcar: ModelcarCli, ref: str, checkpoint: Path, tmp_path: Path) -> None:
    image = random_image(1, compressed=True, platforms=1)
    layout = OciLayout(tmp_path / "base")
    put_image(layout, image)
    write_archive(tmp_path / "base.tar", [Part(entry=image.root, store=layout)])
    built = modelcar.json("build", checkpoint, "-t", ref, "--base", f"oci-archive:{tmp_path}/base.tar")
    on_top = [layer["digest"] for layer in built["layers"] if layer["kind"] is None]
    assert on_top == [str(layer.digest) for layer in image.documents.manifests[0].layers]


def test_it_is_not_changed(modelcar: ModelcarCli, file: Path, ref: str) -> None:
    before = file.read_bytes()
    refused = modelcar.refusal(2, "archive", ref, "-o", file)
    assert refused.line == f"{file} is there already"
    assert refused.hint == "name another file, or remove it"
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flip", "compress"])
def test_damaged_ones(modelcar: ModelcarCli, file: Path, ref: str, tmp_path: Path, damage: str) -> None:
    content = bytearray(file.read_bytes())
    archive = ArchiveStore(file)
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "compress":
        content[:2] = b"\x1f\x8b"
    else:
        largest = max(walk(archive, Names(archive).only()), key=lambda d: d.size)
        (segment,) = archive.map(largest.digest).segments()
        assert isinstance(segment, FileRange)
        content[segment.offset + segment.size // 2] ^= 1
    file.write_bytes(content)
    status = 2 if damage == "compress" else 1
    said = {
        "cut": r"model\.tar is no archive that can be used: it ends within",
        "flip": r"hashes to|sha256:",
        "compress": r"model\.tar is compressed \(gzip\)",
    }
    for verb, *target in (["pull", "-o", tmp_path / "copy"], ["copy", f"oci:{tmp_path}/layout"]):
        assert re.search(said[damage], modelcar.refusal(status, str(verb), f"oci-archive:{file}", *target).line)
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_a_registry_takes_no_damaged_layer(modelcar: ModelcarCli, file: Path, ref: str) -> None:
    content = bytearray(file.read_bytes())
    archive = ArchiveStore(file)
    (segment,) = archive.map(max(walk(archive, Names(archive).only()), key=lambda d: d.size).digest).segments()
    assert isinstance(segment, FileRange)
    content[segment.offset] ^= 1
    file.write_bytes(content)
    assert "digest" in modelcar.refusal(3, "push", f"oci-archive:{file}", ref).line.lower()
    assert "404" in modelcar.refusal(3, "inspect", "--remote", ref).line


# With signatures.


@pytest.fixture
def signed(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path, keys: Path) -> Path:
    """The archive of an image that `KEY` has signed and `OTHER_KEY` has attested; it carries `KEY`."""
    modelcar.run("sign", ref, "--key", keys / "signing.key")
    modelcar.run("attest", ref, "--type", "mlbom", "--key", keys / "attesting.key")
    answer = json.loads(
        modelcar.run("archive", ref, "-o", tmp_path / "signed.tar", "--key", keys / "signing.pub", "--json")[1]
    )
    assert answer["attachments"] > 0
    assert answer["trust"] == {
        "keys": [{"fingerprint": KEY.public.fingerprint, "kind": "ECDSA P-256"}],
        "trustedRoot": None,
    }
    return tmp_path / "signed.tar"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name, key in {"signing": KEY, "attesting": OTHER_KEY}.items():
        (folder / f"{name}.key").write_bytes(key.pkcs8_pem(b""))
        (folder / f"{name}.pub").write_bytes(key.public.pem)
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing here needs a network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_it_verifies_without_a_network(modelcar: ModelcarCli, signed: Path, digest: str, keys: Path) -> None:
    archive = f"oci-archive:{signed}"
    for key in (keys / "signing.pub", KEY.public.fingerprint):
        answer = modelcar.json("verify", archive, "--key", key)
        assert answer["digest"] == digest
        assert answer["verified"][0]["signer"]["fingerprint"] == KEY.public.fingerprint
    assert modelcar.json("verify", archive, "--key", keys / "attesting.pub", "--attestation", "mlbom")["verified"]


@pytest.mark.usefixtures("no_network")
def test_what_it_carries_is_never_trusted_for_being_there(
    modelcar: ModelcarCli, signed: Path, ref: str, keys: Path
) -> None:
    archive = f"oci-archive:{signed}"
    nobody = modelcar.refusal(2, "verify", archive)
    assert nobody.line == "nothing says whose signature is wanted"
    other = modelcar.refusal(1, "verify", archive, "--key", OTHER_KEY.public.fingerprint)
    assert other.line == f"the archive carries no key {OTHER_KEY.public.fingerprint}"
    status, _, err = modelcar.run("verify", archive, "--key", keys / "attesting.pub")
    assert status == 1, err
    # Somebody else's image with somebody else's key beside it: the fingerprint of the right one does not let it pass.
    forged = signed.with_name("forged.tar")
    modelcar.run("archive", ref, "-o", forged, "--key", keys / "attesting.pub")
    assert modelcar.refusal(1, "verify", f"oci-archive:{forged}", "--key", KEY.public.fingerprint).line


def test_a_key_under_another_keys_fingerprint(modelcar: ModelcarCli, signed: Path, tmp_path: Path) -> None:
    """The name of a file in an archive is its author's word, and not taken."""
    place = f".modelcar/trust/keys/{KEY.public.fingerprint.removeprefix('sha256:')}.pub"
    with tarfile.open(signed) as tar:
        files = {i.name: tar.extractfile(i).read() for i in tar if i.isreg()}  # type: ignore[union-attr]  # a regular file
    files[place] = OTHER_KEY.public.pem
    forged = tmp_path / "forged.tar"
    forged.write_bytes(make_tar(files))
    for command in (["verify", "--key", KEY.public.fingerprint], ["inspect"]):
        refused = modelcar.refusal(1, command[0], f"oci-archive:{forged}", *command[1:])
        assert refused.line == f"{place} in {forged} is another key than it says: {OTHER_KEY.public.fingerprint}"
    files[place] = b"-----BEGIN PUBLIC KEY-----\n"
    forged.write_bytes(make_tar(files))
    assert place in modelcar.refusal(1, "verify", f"oci-archive:{forged}", "--key", KEY.public.fingerprint).line


def test_inspect_shows_what_it_carries(modelcar: ModelcarCli, signed: Path, ref: str, tmp_path: Path) -> None:
    answer = modelcar.json("inspect", f"oci-archive:{signed}")
    assert answer["trust"]["keys"][0]["fingerprint"] == KEY.public.fingerprint
    assert answer["attached"]
    out = modelcar("inspect", f"oci-archive:{signed}")
    assert KEY.public.fingerprint in out
    assert "trusted by nobody" in out
    modelcar.run("archive", ref, "-o", tmp_path / "bare.tar")
    assert modelcar.json("inspect", f"oci-archive:{tmp_path}/bare.tar")["trust"] == {"keys": [], "trustedRoot": None}
    assert "trusted by nobody" not in modelcar("inspect", f"oci-archive:{tmp_path}/bare.tar")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["push", "copy"])
def test_signatures_come_out_again(
    modelcar: ModelcarCli, signed: Path, ref: str, digest: str, keys: Path, tmp_path: Path, verb: str
) -> None:
    target = f"{ref}-{verb}"
    answer = json.loads(modelcar.run(verb, f"oci-archive:{signed}", target, "--json")[1])
    assert (answer["digest"], answer["attachments"] > 0) == (digest, True)
    for place in (target, f"oci-archive:{tmp_path}/again.tar"):
        if place != target:  # from the registry into a file, without passing by the local store
            modelcar.run("copy", target, place)
        assert modelcar.json("verify", place, "--key", keys / "signing.pub", "--remote")["digest"] == digest
        attested = modelcar.json("verify", place, "--key", keys / "attesting.pub", "--attestation", "mlbom", "--remote")
        assert attested["verified"][0]["predicateType"] == "https://cyclonedx.org/bom"
    assert ArchiveStore(signed).read_index() == ArchiveStore(tmp_path / "again.tar").read_index().replace(
        target.encode(), ref.encode()
    ).replace(f"v1-{verb}".encode(), b"v1")
    modelcar.run("pull", f"{target}-modelpack", "-o", tmp_path / "twin")
    assert modelcar.run("inspect", f"{target}-modelpack", "--remote")[0] == 0


def test_the_same_signatures_make_the_same_file(modelcar: ModelcarCli, signed: Path, ref: str, tmp_path: Path) -> None:
    """Whatever it was made of, and in whichever order."""
    modelcar.run("copy", f"oci-archive:{signed}", f"oci:{tmp_path / 'layout'}")
    modelcar.run("archive", f"oci:{tmp_path / 'layout'}", "-o", tmp_path / "a.tar")
    modelcar.run("copy", f"oci-archive:{tmp_path / 'a.tar'}:v1", f"oci-archive:{tmp_path / 'b.tar'}")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_an_archive_is_not_signed(modelcar: ModelcarCli, signed: Path, keys: Path) -> None:
    before = signed.read_bytes()
    refused = modelcar.refusal(2, "sign", f"oci-archive:{signed}", "--key", keys / "attesting.key")
    assert refused.line == f"{signed} is an archive, and those are never changed"
    assert signed.read_bytes() == before


def test_a_private_key_does_not_travel(
    modelcar: ModelcarCli, digest: str, ref: str, keys: Path, tmp_path: Path
) -> None:
    """Given by mistake, only its public half is in the file."""
    modelcar("archive", ref, "-o", tmp_path / "a.tar", "--key", keys / "signing.key")
    assert b"PRIVATE" not in (tmp_path / "a.tar").read_bytes()
    assert KEY.public.pem in (tmp_path / "a.tar").read_bytes()


def test_what_is_no_root_of_trust_does_not_travel(
    modelcar: ModelcarCli, digest: str, ref: str, checkpoint: Path, tmp_path: Path
) -> None:
    refused = modelcar.refusal(
        2, "archive", ref, "-o", tmp_path / "a.tar", "--trusted-root", checkpoint / "config.json"
    )
    assert "config.json is not a trusted root" in refused.line
    assert not (tmp_path / "a.tar").exists()


@pytest.mark.slow
def test_a_registry_that_fails_leaves_nothing(modelcar: ModelcarCli, ref: str, tmp_path: Path) -> None:
    modelcar.refusal(3, "archive", ref, "-o", tmp_path / "a.tar")
    assert sorted(p.name for p in tmp_path.iterdir() if "a.tar" in p.name) == []
