"""`modelcar push`, `pull`, `copy` and `export`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.cli import tags as cli_tags
from modelcar.oci import Reference
from modelcar.registry import Registry
from modelcar.store import Names, OciLayout
from modelcar.testing.registry import Fault, MisbehavingRegistry, Wrong, running
from tests.support.checkpoints import files_of
from tests.support.images import validate_in
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow


@pytest.fixture
def digest(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> str:
    """The digest of an image that is in the local store and in the registry as `ref`."""
    result: str = modelcar.json("build", checkpoint, "-t", ref, "--push")["digest"]
    return result


def remote_digest(name: str) -> str:
    with Registry() as registry:
        return str(registry.resolve(Reference.parse(name)).digest)


def tags(name: str) -> list[str]:
    with Registry() as registry:
        return list(registry.tags(Reference.parse(name)))


def test_push_as_text_and_as_json(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> None:
    digest = modelcar.json("build", checkpoint, "-t", ref)["digest"]
    lines = modelcar("push", ref).splitlines()
    assert lines[0].startswith(f"pushed {ref} (401 kB) in ")
    assert lines[1:] == [digest]
    assert remote_digest(ref) == digest
    assert tags(ref) == ["v1", "v1-modelpack"]
    answer = modelcar.json("push", ref)
    assert list(answer) == ["name", "digest", "size", "sent", "reused", "attachments", "seconds"]
    assert (answer["name"], answer["digest"]) == (ref, digest)
    assert 400_000 < answer["size"] < 402_000


def test_push_elsewhere_also_what_was_pulled(modelcar: ModelcarCli, digest: str, ref: str) -> None:
    modelcar("rm", ref)
    modelcar("pull", ref)
    other = ref.replace("/tiny:v1", "/elsewhere:v2")
    assert modelcar.json("push", ref, other)["name"] == other
    assert remote_digest(other) == digest
    assert tags(other) == ["v2", "v2-modelpack"]
    by_digest = f"{ref.removesuffix(':v1')}-again@{digest}"
    modelcar("push", ref, by_digest)
    assert remote_digest(by_digest) == digest


def test_push_refuses_another_image_than_the_digest_says(modelcar: ModelcarCli, digest: str, ref: str) -> None:
    other = f"sha256:{'0' * 64}"
    assert modelcar.refusal(2, "push", f"{ref}@{other}").line.endswith(f"{digest}, not {other}")
    assert "names another image" in modelcar.refusal(2, "push", ref, f"{ref}@{other}").line
    assert modelcar.json("push", f"{ref}@{digest}")["digest"] == digest


def test_push_with_a_tag_too_long_for_the_twin_sends_nothing(modelcar: ModelcarCli, digest: str, ref: str) -> None:
    name = f"{ref.removesuffix('/tiny:v1')}/long:{'x' * 120}"
    assert "too long" in modelcar.refusal(2, "push", ref, name).line
    assert "404" in modelcar.refusal(3, "inspect", name).line


def test_pull_files(modelcar: ModelcarCli, checkpoint: Path, digest: str, ref: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "copy"
    lines = modelcar("pull", ref, "--remote", "-o", folder).splitlines()
    assert lines[0].startswith(f"pulled 8 files (301 kB) into {folder} in ")
    assert lines[1:] == [digest]
    assert files_of(folder) == files_of(checkpoint)
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = modelcar.json("pull", ref, "--remote", "-o", empty)
    assert list(answer) == ["name", "digest", "folder", "files", "size", "seconds"]
    assert (answer["name"], answer["folder"], answer["files"]) == (ref, str(empty), 8)
    assert files_of(empty) == files_of(checkpoint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "home", "new"]


@pytest.mark.parametrize("suffix", ["-modelpack", "@DIGEST"])
def test_pull_files_of_the_twin_and_by_digest(
    modelcar: ModelcarCli, checkpoint: Path, digest: str, ref: str, tmp_path: Path, suffix: str
) -> None:
    modelcar("pull", ref + suffix.replace("DIGEST", digest), "--remote", "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(checkpoint)


def blobs_sent(registry: MisbehavingRegistry) -> int:
    """Bytes of blobs that it has answered with."""
    return registry.counts().sent


def test_what_the_local_store_has_is_not_downloaded(modelcar: ModelcarCli, folder: Path, tmp_path: Path) -> None:
    with running() as registry:
        ref = f"{registry.address}/org/model:v1"
        digest = modelcar.json("build", folder, "-t", ref, "--push")["digest"]
        registry.reset_counts()
        modelcar("pull", ref, "-o", tmp_path / "all", "-q")
        modelcar("pull", ref, "-o", tmp_path / "some", "--include", "*.json", "-q")
        modelcar("pull", ref, "-o", tmp_path / "rank", "--tp", "2", "--rank", "0", "-q")
        assert blobs_sent(registry) == 0
        (folder / "config.json").write_text("{}")  # so that this layer is not here any more
        registry.reset_counts()
        modelcar("pull", ref, "-o", tmp_path / "again", "-q")
        assert 0 < blobs_sent(registry) < 64 << 10
    modelcar("pull", f"{ref}@{digest}", "-o", tmp_path / "offline", "--include", "*.safetensors", "-q")
    whole = files_of(tmp_path / "all")
    assert files_of(tmp_path / "again") == whole
    assert files_of(tmp_path / "some") == {path: data for path, data in whole.items() if path.endswith(".json")}
    assert files_of(tmp_path / "offline") == {p: data for p, data in whole.items() if p.endswith(".safetensors")}
    modes = {(tmp_path / name / "config.json").stat().st_mode & 0o777 for name in ("all", "again")}
    assert len(modes) == 1


def test_pull_into_the_current_folder(
    modelcar: ModelcarCli, checkpoint: Path, digest: str, ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    modelcar("pull", ref, "--remote", "-o", ".")
    assert files_of(Path()) == files_of(checkpoint)


def test_pull_of_a_platform(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> None:
    modelcar("pull", ref, "--remote", "-o", tmp_path / "copy", "--platform", "linux/arm64")
    missing = modelcar.refusal(2, "pull", ref, "--remote", "-o", tmp_path / "other", "--platform", "linux/s390x")
    assert missing.line.endswith("has no image for linux/s390x; it has linux/amd64, linux/arm64")
    assert "-o" in modelcar.refusal(2, "pull", ref, "--platform", "linux/arm64").hint
    assert not (tmp_path / "other").exists()


def test_pull_into_the_store(modelcar: ModelcarCli, digest: str, ref: str) -> None:
    modelcar("rm", ref)
    lines = modelcar("pull", ref).splitlines()
    assert lines[0].startswith(f"pulled {ref} into the local store in ")
    assert lines[1:] == [digest]
    validate_in(modelcar.store.content, modelcar.store.names.get(ref))
    assert list(modelcar.json("pull", ref)) == ["name", "digest", "attachments", "seconds"]
    (image,) = modelcar.json("list")
    assert image["onDisk"] == image["size"]


def test_what_has_no_name_cannot_be_kept(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> None:
    by_digest = f"{ref.removesuffix(':v1')}@{digest}"
    for name in (by_digest, f"oci:{tmp_path}"):
        assert modelcar.refusal(2, "pull", name).hint == "add -o DIR to get its files"


def test_copy_between_registries_and_layouts(
    modelcar: ModelcarCli, checkpoint: Path, digest: str, ref: str, tmp_path: Path
) -> None:
    first, second = f"oci:{tmp_path / 'first'}:v1", f"oci:{tmp_path / 'second'}"
    size = modelcar.json("push", ref)["size"]
    back, across = ref.replace("/tiny:v1", "/back:v1"), ref.replace("/tiny:v1", "/across:v2")
    for source, target in ((ref, first), (first, second), (second, back), (back, across)):
        lines = modelcar("copy", source, target).splitlines()
        assert lines[0].startswith(f"copied {source} to {target} in ")
        assert lines[1:] == [digest]
        answer = modelcar.json("copy", source, target)
        assert list(answer) == ["source", "target", "digest", "sent", "reused", "attachments", "seconds"]
        assert (answer["source"], answer["target"], answer["digest"]) == (source, target, digest)
        assert (answer["sent"], answer["reused"]) == (0, size)
    assert remote_digest(across) == digest
    for name in ("first", "second"):
        layout = OciLayout(tmp_path / name)
        assert list(Names(layout).list()) == ["v1"], "a name goes along unless another is given"
        validate_in(layout, Names(layout).get("v1"))
    modelcar("pull", second, "--remote", "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(checkpoint)


def test_copy_says_what_it_wrote(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> None:
    first, second, archive = f"oci:{tmp_path / 'a'}:v1", f"oci:{tmp_path / 'b'}:v1", tmp_path / "image.tar"
    size = modelcar.json("push", ref)["size"]
    for source, target, sent in ((ref, first, size), (first, second, size), (first, f"{ref}-copy", 0)):
        answer = modelcar.json("copy", source, target)
        assert (answer["sent"], answer["reused"]) == (sent, size - sent), target
    answer = modelcar.json("copy", first, f"oci-archive:{archive}:v1")
    assert (answer["sent"], answer["reused"]) == (archive.stat().st_size, 0)


def test_copy_calls_layers_by_their_files(
    modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = f"oci:{tmp_path / 'layout'}:v1"
    for source, target in ((ref, layout), (layout, f"{ref}-copy"), (ref, f"oci-archive:{tmp_path / 'image.tar'}")):
        status, _, err = modelcar.run("copy", source, target, "-v")
        assert status == 0, err
        assert "modelcar: copy model-00001-of-00003.safetensors (105 kB): " in err


def test_a_tag_that_is_not_there_is_answered_with_those_that_are(
    modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path
) -> None:
    for number in range(12):
        modelcar("copy", ref, ref.replace(":v1", f":{number:02}-other"))
    missing, place = ref.replace(":v1", ":v11"), ref.removesuffix(":v1")
    for words in (
        ["pull", missing],
        ["pull", missing, "-o", tmp_path / "out"],
        ["inspect", missing],
        ["copy", missing, f"oci:{tmp_path / 'layout'}"],
        ["verify", missing, "--source"],
        ["mount", missing, tmp_path / "mount"],
    ):
        complaint = modelcar.refusal(3, *words)
        assert "404" in complaint.line
        assert complaint.hint.startswith(f"the tags of {place} are v1, "), words
        assert complaint.hint.endswith(", and others")
        assert complaint.hint.count(",") == 10
    assert not (tmp_path / "layout").exists()


def test_where_tags_are_not_listed_the_hint_is_the_usual_one(modelcar: ModelcarCli) -> None:
    with running() as registry:
        registry.misbehave(Fault(wrong=Wrong.STATUS, path="/tags/list", status=403, times=99))
        complaint = modelcar.refusal(3, "inspect", f"{registry.address}/org/model:v1")
        assert complaint.hint.startswith("check the name")
        asked = [seen for seen in registry.journal() if "/tags/list" in seen.path]
    assert len(asked) == 1


def test_nobody_waits_long_for_a_hint(modelcar: ModelcarCli, ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers = threading.Event(), threading.Event()

    def slow(_self: Registry, _ref: Reference) -> Iterator[str]:
        asked.set()
        answers.wait(60)
        yield "v1"

    monkeypatch.setattr(cli_tags, "_PATIENCE", 0.2)
    monkeypatch.setattr(Registry, "tags", slow)
    try:
        complaint = modelcar.refusal(3, "inspect", ref)
    finally:
        answers.set()
    assert asked.wait(60)
    assert complaint.hint.startswith("check the name")


def test_copy_adds_to_a_layout(modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path) -> None:
    layout = f"oci:{tmp_path / 'layout'}"
    modelcar("copy", ref, f"{layout}:a")
    modelcar("copy", f"{ref}-modelpack", f"{layout}:b")
    assert list(Names(OciLayout(tmp_path / "layout")).list()) == ["a", "b"]
    which = modelcar.refusal(2, "copy", layout, f"{ref}-2")
    assert which.line.endswith("holds 2 images (a, b)")
    assert which.hint == f"name one: {layout}:NAME"
    unknown = modelcar.refusal(2, "inspect", f"{layout}:c")
    assert unknown.line == f"no image c in {tmp_path / 'layout'}"
    assert unknown.hint.startswith("there is ")


def test_copy_retags_and_pins(modelcar: ModelcarCli, digest: str, ref: str) -> None:
    assert modelcar.refusal(2, "copy", ref, ref).line == f"{ref} would be copied onto itself"
    modelcar("copy", f"{ref}@{digest}", ref)
    modelcar("copy", ref, ref.replace(":v1", ":stable"))
    assert "stable" in tags(ref)


def test_export(modelcar: ModelcarCli, checkpoint: Path, digest: str, ref: str, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    lines = modelcar("export", ref, "-o", folder).splitlines()
    assert lines[0].startswith(f"exported {ref} (401 kB) to oci:{folder}:v1 in ")
    assert lines[1:] == [digest]
    answer = modelcar.json("export", ref, "-o", folder)
    assert list(answer) == ["name", "folder", "digest", "size", "seconds"]
    assert (answer["name"], answer["folder"], answer["digest"]) == (ref, str(folder), digest)
    layout = OciLayout(folder)
    assert {name: str(root.digest) for name, root in Names(layout).list().items()} == {"v1": digest}
    validate_in(layout, Names(layout).get("v1"))
    assert list((folder / "ingest").iterdir()) == []
    modelcar("pull", f"oci:{folder}:v1", "-o", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(checkpoint)


def test_no_layout_is_written_among_other_files(modelcar: ModelcarCli, digest: str, ref: str, folder: Path) -> None:
    before = files_of(folder)
    for command in (["export", ref, "-o", str(folder)], ["copy", ref, f"oci:{folder}:v1"]):
        refused = modelcar.refusal(2, *command)
        assert refused.line == f"{folder} is neither empty nor an OCI layout"
        assert refused.hint
    file = folder / "config.json"
    assert modelcar.refusal(2, "export", ref, "-o", file).line == f"{file} is not a folder"
    assert files_of(folder) == before


def test_a_layout_that_was_half_created_is_completed(
    modelcar: ModelcarCli, digest: str, ref: str, tmp_path: Path
) -> None:
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / ".index.json.0123456789ab").touch()
    modelcar("export", ref, "-o", folder)
    assert list(Names(OciLayout(folder)).list()) == ["v1"]
