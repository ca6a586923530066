"""`--base`: nothing, or somebody else's image from a registry or a layout, for one platform or several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci.validate import validate
from modelcar.store import Names, OciLayout
from tests.e2e.conftest import Published
from tests.e2e.support.bases import HERE, OTHER, write_base
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.podman import Podman
from tests.e2e.support.registries import get, manifest_bytes

pytestmark = [pytest.mark.slow, pytest.mark.debian("busybox", "skopeo")]

Document = dict[str, Any]


class Builder:
    """Builds the checkpoint on a base, and has every claim of the result recomputed."""

    def __init__(self, modelcar: Modelcar, checkpoint: Path, folder: Path) -> None:
        self._modelcar = modelcar
        self._checkpoint = checkpoint
        self._folder = folder

    def __call__(self, base: str, *options: str) -> dict[str, Document]:
        """Platform to `{"manifest": …, "config": …}`."""
        self._modelcar("build", self._checkpoint, "-t", "localhost/based:v1", "--base", base, *options)
        layout = self._folder / "exported"
        self._modelcar("export", "localhost/based:v1", "-o", layout)
        content = OciLayout(layout)
        root = Names(content).get("v1")
        validate(root, content.open)  # type: ignore[arg-type]  # its readers have what is used of a file

        def read(digest: str) -> Document:
            document: Document = json.loads((layout / "blobs" / digest.replace(":", "/")).read_text())
            return document

        result = {}
        for entry in read(str(root.digest))["manifests"]:
            manifest = read(entry["digest"])
            platform = "/".join(entry["platform"].values())
            result[platform] = {"manifest": manifest, "config": read(manifest["config"]["digest"])}
        assert result.pop("unknown/unknown")["manifest"]["artifactType"].startswith("application/vnd.cncf.model")
        return result

    def refusal(self, status: int, base: str, *options: str) -> str:
        build = ["build", str(self._checkpoint), "-t", "localhost/refused:v1", "--base", base, *options]
        line = self._modelcar.refusal(status, *build)
        assert "localhost/refused:v1" not in json.dumps(self._modelcar("list"))
        return line


@pytest.fixture
def build(modelcar: Modelcar, checkpoint: Path, tmp_path: Path) -> Builder:
    return Builder(modelcar, checkpoint, tmp_path)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "base"


def blob(layout: Path, descriptor: Document) -> Path:
    return layout / "blobs" / str(descriptor["digest"]).replace(":", "/")


def layers(image: Document) -> list[str]:
    return [
        layer["mediaType"].removeprefix("application/vnd.oci.image.layer.v1.") for layer in image["manifest"]["layers"]
    ]


def test_scratch(build: Builder) -> None:
    images = build("scratch", "--platform", "linux/amd64", "--platform", "linux/s390x")
    assert set(images) == {"amd64/linux", "s390x/linux"}
    (first, second) = images.values()
    assert first["manifest"]["layers"] == second["manifest"]["layers"]
    assert len(layers(first)) == 5  # shards, small files, index
    assert "Entrypoint" not in first["config"].get("config", {})


def test_several_platforms_from_a_registry(build: Builder, busybox: str) -> None:
    images = build(busybox)
    assert set(images) == {"amd64/linux", "arm64/linux"}
    by_architecture = {e["platform"]["architecture"]: e for e in json.loads(manifest_bytes(busybox))["manifests"]}
    for platform, image in images.items():
        architecture = platform.removesuffix("/linux")
        original = json.loads(manifest_bytes(f"{busybox.rpartition(':')[0]}@{by_architecture[architecture]['digest']}"))
        assert image["manifest"]["layers"][-1] == original["layers"][0]  # on top, and the very same
        config = image["config"]
        assert config["architecture"] == architecture
        assert config["config"]["User"] == "65532:65532"
        assert config["config"]["Env"] == ["PATH=/bin"]
        assert config["config"]["Cmd"] == ["sh"]
        assert config["config"]["Labels"]["base"] == "busybox"
        assert "created" not in config
        assert len(config["history"]) == len(layers(image)) + 1  # the base has an empty one


def test_only_the_platform_asked_for_is_fetched(build: Builder, busybox: str, modelcar: Modelcar) -> None:
    images = build(busybox, "--platform", f"linux/{OTHER}")
    assert set(images) == {f"{OTHER}/linux"}


@pytest.mark.parametrize("compress", [False, True])
def test_several_platforms_from_a_layout(build: Builder, base: Path, compress: bool) -> None:
    images = build(f"oci:{write_base(base, HERE, OTHER, 'ppc64le', compress=compress)}")
    assert set(images) == {"amd64/linux", "arm64/linux"}
    assert {layers(image)[-1] for image in images.values()} == {"tar+gzip" if compress else "tar"}


def test_one_platform(build: Builder, base: Path) -> None:
    write_base(base, "riscv64")
    assert set(build(f"oci:{base}:latest")) == {"riscv64/linux"}
    line = build.refusal(2, f"oci:{base}", "--platform", "linux/amd64")
    assert line == f"modelcar: oci:{base} is for linux/riscv64 only"


def test_platforms_that_the_base_lacks(build: Builder, base: Path, busybox: str) -> None:
    assert build.refusal(2, busybox, "--platform", "linux/s390x") == (
        f"modelcar: {busybox} has no image for linux/s390x; it has linux/amd64, linux/arm64"
    )
    write_base(base, "riscv64", "ppc64le")
    assert "has neither linux/amd64 nor linux/arm64" in build.refusal(2, f"oci:{base}")


def test_a_docker_image_with_compressed_layers(build: Builder, base: Path, embedded: str) -> None:
    """A manifest list and schema 2 manifests; what comes out is an OCI image."""
    write_base(base, HERE, OTHER, compress=True)
    for name, source in (("many", "--all"), ("one", "--override-arch=arm64")):
        ref = f"{embedded}/docker/{name}:v1"
        convert = ["skopeo", "copy", source, "--format", "v2s2", "--dest-tls-verify=false"]
        run(*convert, f"oci:{base}", f"docker://{ref}")
        original = json.loads(manifest_bytes(ref))
        assert original["mediaType"].startswith("application/vnd.docker.distribution.manifest.")
        assert name == "many" or original["layers"][0]["mediaType"].endswith(".diff.tar.gzip")
        images = build(ref)
        assert set(images) == ({"amd64/linux", "arm64/linux"} if name == "many" else {"arm64/linux"})
        for image in images.values():
            assert image["manifest"]["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
            assert layers(image) == ["tar"] * 5 + ["tar+gzip"]


def test_the_same_base_gives_the_same_digest(modelcar: Modelcar, checkpoint: Path, busybox: str, base: Path) -> None:
    run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        f"docker://{busybox}",
        f"oci:{base}:x",
    )
    built = [
        modelcar("build", checkpoint, "-t", "localhost/same:v1", "--base", source)["digest"]
        for source in (busybox, f"oci:{base}:x", f"oci:{base}")
    ]
    assert len(set(built)) == 1


ODD: dict[str, Callable[[Document], object]] = {
    "config.rootfs is missing": lambda c: c.pop("rootfs"),
    "config.architecture": lambda c: c.pop("architecture"),
    "config.os": lambda c: c.update(os=7),
    "2 diff ids": lambda c: c["rootfs"]["diff_ids"].append(c["rootfs"]["diff_ids"][0]),
    "config.rootfs.diff_ids": lambda c: c["rootfs"].update(diff_ids=["sha256:beef"]),
    "config.config": lambda c: c.update(config=["sh"]),
    "config.history": lambda c: c.update(history="none"),
    "config.config.Labels is not an object": lambda c: c["config"].update(Labels=["a=b"]),
    "config.config.Labels is not an object of strings": lambda c: c["config"].update(Labels={"base": 1}),
}


@pytest.mark.parametrize("complaint", ODD)
def test_a_base_with_an_odd_config_is_refused_in_one_line(build: Builder, base: Path, complaint: str) -> None:
    write_base(base, HERE, edit=ODD[complaint])
    line = build.refusal(1, f"oci:{base}")
    assert complaint in line
    assert str(base) in line  # the base is what is wrong, not the checkpoint


def test_what_a_config_need_not_have(build: Builder, base: Path) -> None:
    def bare(config: Document) -> None:
        config["config"] = None
        del config["history"], config["created"]

    images = build(f"oci:{write_base(base, HERE, OTHER, edit=bare)}")
    assert all("history" not in image["config"] for image in images.values())
    assert all(set(image["config"]["config"]) == {"Labels"} for image in images.values())


@pytest.mark.parametrize("missing", ["manifest", "config", "layer"])
def test_a_base_that_is_not_all_there(build: Builder, base: Path, missing: str) -> None:
    write_base(base, HERE)
    entry = json.loads((base / "index.json").read_text())["manifests"][0]
    manifest = json.loads(blob(base, entry).read_text())
    victim = {"manifest": entry, "config": manifest["config"], "layer": manifest["layers"][0]}[missing]
    blob(base, victim).unlink()
    assert victim["digest"] in build.refusal(2, f"oci:{base}")


def test_things_that_are_no_base(build: Builder, base: Path, model: Published, tmp_path: Path) -> None:
    assert "is not a container image" in build.refusal(1, f"{model.ref}-modelpack")
    assert str(tmp_path / "nowhere") in build.refusal(2, f"oci:{tmp_path / 'nowhere'}")
    write_base(base, HERE)
    (base / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    assert str(base) in build.refusal(2, f"oci:{base}")


def test_a_base_that_is_a_model_image_is_refused(build: Builder, model: Published) -> None:
    """Its files would lie over the checkpoint's: /models would no longer be the checkpoint."""
    assert build.refusal(2, model.ref) == f"modelcar: {model.ref} has a model in it already"


@pytest.mark.root
@pytest.mark.debian("podman", "runc")
def test_it_runs(
    podman_engine: Podman, modelcar: Modelcar, checkpoint: Path, base: Path, embedded: str, model: Published
) -> None:
    """Compressed layers over uncompressed ones: all of them unpack, and the base's program finds the model."""
    write_base(base, HERE, OTHER, compress=True)
    ref = f"{embedded}/acme/based:v1"
    modelcar("build", checkpoint, "-t", ref, "--base", f"oci:{base}", "--push")
    podman_engine.pull(ref)
    try:
        shown = podman_engine.run("--rm", ref, "cat", "/models/config.json")
        assert shown.stdout.encode() == model.files["config.json"]
    finally:
        podman_engine.clear()
    assert get(embedded, "acme/based/manifests/v1") == manifest_bytes(ref)
