"""`modelcar inspect`, `list`, `rm` and `gc`."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.store import LocalStore, write_document
from modelcar.store.tree import walk
from tests.support.checkpoints import make_checkpoint
from tests.unit.cli.conftest import ModelcarCli

NAME = "localhost:5000/acme/tiny:v1"
ESCAPE = "\x1b[31mred\x1b]0;title\x07\r\u202e\x9b"


@pytest.fixture
def built(modelcar: ModelcarCli, checkpoint: Path) -> str:
    """The digest of an image in the local store under `NAME`."""
    digest: str = modelcar.json("build", checkpoint, "-t", NAME)["digest"]
    return digest


def test_inspect_as_text(modelcar: ModelcarCli, built: str) -> None:
    out = modelcar("inspect", NAME)
    head, manifests, layers, files = out.split("\n\n")
    assert head.splitlines()[:2] == [NAME, built]
    assert "  org.opencontainers.image.licenses: Apache-2.0" in head.splitlines()
    assert [line.split()[:2] for line in manifests.splitlines()[2:4]] == [
        ["image", f"linux/{a}"] for a in ("amd64", "arm64")
    ]
    assert manifests.splitlines()[4].startswith("modelpack ")
    rows = layers.splitlines()[2:]
    assert rows[0].startswith("weights: model-00001-of-00003.safetensors ")
    assert rows[0].endswith(" tar   all")
    assert rows[3].startswith("files: 5 files ")
    assert [row.split()[-1] for row in rows[-2:]] == ["linux/amd64", "linux/arm64"]
    assert files.splitlines()[0] == "files in /models"
    assert files.splitlines()[2].split() == [
        "model-00001-of-00003.safetensors",
        "weight",
        "safetensors",
        "100",
        "kB",
        "1",
    ]
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_inspect_as_json(modelcar: ModelcarCli, built: str, checkpoint: Path) -> None:
    answer = modelcar.json("inspect", NAME)
    assert list(answer) == ["name", "digest", "mediaType", "annotations", "manifests", "files", "attached"]
    assert (answer["name"], answer["digest"], answer["mediaType"]) == (NAME, built, media_types.INDEX)
    assert [m["kind"] for m in answer["manifests"]] == ["image", "image", "modelpack"]
    assert [m.get("platform") for m in answer["manifests"]] == ["linux/amd64", "linux/arm64", None]
    assert answer["manifests"][0]["config"]["Entrypoint"] == ["/.modelcar/holder"]
    assert {file["path"] for file in answer["files"]} == {
        str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file()
    }
    assert answer["files"][0].keys() == {"path", "size", "role", "format", "digest", "tensors", "layer"}
    assert answer["files"][0]["layer"] == answer["manifests"][0]["layers"][0]["digest"]


@pytest.mark.slow
def test_inspect_asks_the_registry_for_what_is_not_here(modelcar: ModelcarCli, checkpoint: Path, ref: str) -> None:
    digest = modelcar.json("build", checkpoint, "-t", ref, "--push")["digest"]
    local = modelcar.json("inspect", ref)
    assert modelcar.json("inspect", ref, "--remote") == local
    modelcar("rm", ref)
    assert modelcar.json("inspect", ref) == local
    name = ref.removesuffix(":v1")
    assert modelcar.json("inspect", f"{name}@{digest}")["digest"] == digest
    twin = modelcar("inspect", f"{ref}-modelpack")
    assert "cncf.model.weight.v1.tar" in twin
    assert "files in" not in twin


@pytest.mark.slow
def test_inspect_without_a_store_creates_none(modelcar: ModelcarCli, registry: str) -> None:
    assert "404" in modelcar.refusal(3, "inspect", f"{registry}/no/such:v1").line
    assert not modelcar.home.exists()


def test_inspect_a_layout(modelcar: ModelcarCli, built: str, tmp_path: Path) -> None:
    modelcar("export", NAME, "-o", tmp_path / "layout")
    here = modelcar.json("inspect", NAME)
    for name in (f"oci:{tmp_path / 'layout'}", f"oci:{tmp_path / 'layout'}:v1"):
        assert modelcar.json("inspect", name) == {**here, "name": name}


def test_inspect_an_image_whose_layers_were_compressed_by_another_tool(modelcar: ModelcarCli, home: Path) -> None:
    """Its model index is void: every digest in it is another now."""
    layer = Descriptor.of(media_types.LAYER_TAR_GZIP, b"\x1f\x8b not looked into").annotated({LAYER: "index"})
    put_image(modelcar.store, {}, layer, b"\x1f\x8b not looked into")
    answer = modelcar.json("inspect", NAME)
    assert "files" not in answer
    assert "tar+gzip" in modelcar("inspect", NAME)


def put_image(store: LocalStore, annotations: dict[str, str], layer: Descriptor, content: bytes) -> None:
    config = ImageConfig(architecture="amd64", os="linux", diff_ids=(Digest.of(b""),))
    manifest = Manifest(config=config.descriptor, layers=(layer,), annotations=annotations)
    index = Index(manifests=(manifest.descriptor,), annotations=annotations)
    for document in (content, config.content, manifest.content, index.content):
        write_document(store.content, document)
    store.names.put(NAME, index.descriptor)


def test_what_an_image_says_of_itself_cannot_touch_the_terminal(modelcar: ModelcarCli) -> None:
    """Annotations, media types and labels come from whoever made the image."""
    layer = Descriptor.of(f"application/{ESCAPE}", b"x").annotated({LAYER: f"[bold]:smile: {ESCAPE}"})
    put_image(modelcar.store, {f"key{ESCAPE}": f"value\nfaked line{ESCAPE}"}, layer, b"x")
    modelcar.store.names.put(f"name{ESCAPE}", modelcar.store.names.get(NAME))
    for out in (modelcar("inspect", NAME), modelcar("list"), modelcar("inspect", NAME, "--json")):
        assert all(line.isprintable() for line in out.splitlines())
        assert "red" in out
    shown = modelcar("inspect", NAME)
    assert "value\\x0afaked line\\x1b[31mred" in shown
    assert "[bold]:smile:" in shown


def test_list(modelcar: ModelcarCli, built: str, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "other", seed="other")
    modelcar("build", other, "-t", "acme/another:v2")
    answer = modelcar.json("list")
    assert [image["name"] for image in answer] == ["docker.io/acme/another:v2", NAME]
    assert answer[1]["digest"] == built
    assert answer[1].keys() == {"name", "digest", "size", "onDisk"}
    assert answer[1]["size"] > 300_000 > 100_000 > answer[1]["onDisk"]
    lines = modelcar("list").splitlines()
    assert lines[0] == "name                         sha256          size  on disk"
    assert lines[2].split() == [NAME, built[7:19], "401", "kB", "77.6", "kB"]


def test_list_of_nothing(modelcar: ModelcarCli) -> None:
    status, out, err = modelcar.run("list")
    assert (status, out) == (0, "")
    assert err.startswith("the local store is empty")
    assert modelcar.run("list", "--quiet") == (0, "", "")
    assert modelcar.json("list") == []
    assert not modelcar.home.exists()


def test_list_says_what_is_damaged(modelcar: ModelcarCli, built: str) -> None:
    store = modelcar.store
    for descriptor in list(walk(store.content, store.names.get(NAME)))[:1]:
        store.content.delete(descriptor.digest)
    assert modelcar("list").splitlines()[1].split() == [NAME, built[7:19], "damaged"]
    assert modelcar.json("list") == [{"name": NAME, "digest": built, "size": None, "onDisk": None}]


def test_a_table_in_a_pipe_is_not_cut(modelcar: ModelcarCli, checkpoint: Path) -> None:
    name = f"localhost:5000/{'x' * 200}:v1"
    modelcar("build", checkpoint, "-t", name)
    assert modelcar("list").splitlines()[1].startswith(f"{name}  ")


def test_rm(modelcar: ModelcarCli, built: str, checkpoint: Path) -> None:
    out = modelcar("rm", NAME).splitlines()
    assert out[0] == f"removed {NAME}"
    assert out[1].startswith("freed ")
    assert modelcar.json("list") == []
    assert len([path for path in checkpoint.rglob("*") if path.is_file()]) == 8


def test_rm_of_several_and_of_one_twice(modelcar: ModelcarCli, checkpoint: Path) -> None:
    names = [f"localhost:5000/acme/tiny:v{i}" for i in range(3)]
    for name in names:
        modelcar("build", checkpoint, "-t", name)
    assert modelcar.json("rm", names[0], names[1], names[0]) == {"removed": names[:2], "freed": 0}
    assert [image["name"] for image in modelcar.json("list")] == names[2:]
    assert modelcar.json("rm", names[2])["freed"] > 50_000


def test_rm_removes_all_or_nothing(modelcar: ModelcarCli, built: str) -> None:
    missing = modelcar.refusal(2, "rm", NAME, "acme/none:v1")
    assert missing.line == "there is no image docker.io/acme/none:v1 in the local store"
    other = f"{NAME}@sha256:{'0' * 64}"
    assert modelcar.refusal(2, "rm", other).line == f"{NAME} in the local store is {built}, not sha256:{'0' * 64}"
    assert len(modelcar.json("list")) == 1
    modelcar("rm", f"{NAME}@{built}")
    assert modelcar.json("list") == []


def test_rm_while_another_command_works_leaves_the_space_to_gc(modelcar: ModelcarCli, built: str) -> None:
    with modelcar.store.session():
        status, out, err = modelcar.run("rm", NAME)
    assert (status, out) == (0, f"removed {NAME}\n")
    assert err.startswith("space is freed by a later `modelcar gc`: ")
    assert modelcar.json("gc")["freed"] > 50_000


def test_gc(modelcar: ModelcarCli, built: str) -> None:
    write_document(modelcar.store.content, b"of no use to anybody")
    (modelcar.home / "store" / "ingest" / "left-behind").write_bytes(b"x" * 10_000)
    answer = modelcar.json("gc")
    assert answer["removed"] == [str(Digest.of(b"of no use to anybody"))]
    assert answer["freed"] >= 10_000
    assert modelcar("gc") == "removed 0 blobs, freed 0 B\n"
    write_document(modelcar.store.content, b"of no use to anybody")
    assert modelcar("gc").startswith("removed 1 blob, freed ")
    assert modelcar.json("list")[0]["digest"] == built


def test_a_dry_gc_removes_nothing(modelcar: ModelcarCli, built: str) -> None:
    write_document(modelcar.store.content, b"of no use to anybody")
    left = modelcar.home / "store" / "ingest" / "left-behind"
    left.write_bytes(b"x" * 10_000)
    assert modelcar("gc", "--dry-run").startswith("would remove 1 blob and free ")
    would = modelcar.json("gc", "--dry-run")
    assert left.exists()
    assert modelcar.json("gc") == would
    assert not left.exists()


def test_gc_says_that_it_waits(modelcar: ModelcarCli, built: str) -> None:
    began, done = threading.Event(), threading.Event()

    def work() -> None:
        with modelcar.store.session():
            began.set()
            done.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    began.wait(30)
    waiting = threading.Timer(0.2, done.set)
    waiting.start()
    status, out, err = modelcar.run("gc")
    thread.join()
    assert done.is_set()
    assert (status, err) == (0, "waiting until no other command works in the store\n")
    assert out.startswith("removed 0 blobs")


def test_gc_removes_nothing_while_an_image_is_damaged(modelcar: ModelcarCli, built: str) -> None:
    store = modelcar.store
    root = store.names.get(NAME)
    store.content.delete(root.digest)
    refused = modelcar.refusal(3, "gc")
    assert str(root.digest) in refused.line
    assert "modelcar rm" in refused.hint
    modelcar("rm", NAME)
    assert modelcar("gc").startswith("removed ")


@pytest.mark.slow
@pytest.mark.parametrize("command", [["list"], ["inspect", NAME]], ids=" ".join)
def test_a_home_that_may_not_be_entered(
    modelcar: ModelcarCli,
    monkeypatch: pytest.MonkeyPatch,
    public: Path,
    request: pytest.FixtureRequest,
    command: list[str],
) -> None:
    monkeypatch.setenv("MODELCAR_HOME", str(public / "closed" / "home"))
    modelcar.run(*command)  # loads it, which others may not
    (public / "closed").mkdir(mode=0o000)
    request.getfixturevalue("unprivileged")
    refused = modelcar.refusal(3, *command)
    assert "Permission denied" in refused.line
    assert "MODELCAR_HOME" in refused.hint


@pytest.mark.parametrize("place", ["none", "file/none"], ids=["no home", "no home that could be made"])
def test_without_a_store_there_is_nothing(
    modelcar: ModelcarCli, home: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.parent / "file").write_bytes(b"in the way")
    monkeypatch.setenv("MODELCAR_HOME", str(home.parent / place))
    assert modelcar.json("list") == []
    assert modelcar("gc") == "removed 0 blobs, freed 0 B\n"
    assert modelcar.json("gc", "--mounts", "--objects", "--dry-run")["objects"] == {"files": 0, "freed": 0}
    for words in (["rm"], ["push"], ["load"], ["export", "-o", home / "layout"]):
        complaint = modelcar.refusal(2, *words, NAME)
        assert complaint.line == f"there is no image {NAME} in the local store"
        assert complaint.hint
    assert not (home.parent / "none").exists(), "who only looks makes no store"
