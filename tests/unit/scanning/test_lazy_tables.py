"""Tables that other snapshotters go by: proven where modelcar wrote them, never believed otherwise."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.layers.bytemap import Literal
from modelcar.layers.estargz import TOC_DIGEST, EstargzPlan, plan_estargz
from modelcar.layers.estargzhash import hash_estargz
from modelcar.layers.index import IndexedLayer, ModelIndex, StoredBlob
from modelcar.layers.tar import Entry
from modelcar.oci import Descriptor, Digest, Index, Manifest, media_types
from modelcar.packaging.annotations import LAYER, SOCI_INDEX
from modelcar.packaging.base import DEFAULT_PLATFORMS, holder_base
from modelcar.packaging.build import BuiltImage, build_image
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.packaging.plan import LayerKind, Packing
from modelcar.scanning.findings import Outcome
from modelcar.store import LocalStore, read_document, write_document
from tests.support.checkpoints import make_checkpoint
from tests.support.scanned_images import blob_of, image_of, index_of, layer_of, member, rules, scan, tar_of
from tests.support.weights import safetensors_bytes

EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."
ONE, OTHER = (safetensors_bytes({"a": ("F32", (4,), bytes([i]) * 16)}, align=8) for i in (1, 2))
FILES = {"models/a.safetensors": ONE, "models/b.safetensors": OTHER}
Entries = list[dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home")


def built(store: LocalStore, folder: Path, packing: Packing) -> BuiltImage:
    bases = [holder_base(p) for p in DEFAULT_PLATFORMS]
    return build_image(open_checkpoint(str(make_checkpoint(folder))), store, bases, packing=packing)


@pytest.mark.parametrize("packing", [Packing.ESTARGZ, Packing.SOCI])
def test_what_we_build_is_clean_and_every_file_is_reported_once(
    store: LocalStore, tmp_path: Path, packing: Packing
) -> None:
    report = scan(store, built(store, tmp_path / "model", packing).index)
    assert report.all_findings == ()
    assert report.outcome is Outcome.CLEAN
    paths = [file.path for file in report.files]
    assert len(paths) == len(set(paths)) == len(open_checkpoint(str(tmp_path / "model")).files)


# eStargz: the table


def estargz_image(
    store: LocalStore,
    change: Callable[[Entries], None] = lambda _: None,
    *,
    files: dict[str, bytes] = FILES,
    annotation: str | None = None,
) -> Descriptor:
    """An image of one eStargz layer whose table says something else, with everything signed and named as it should."""
    plan = plan_estargz([Entry(path=path, content=Literal(data)) for path, data in files.items()])
    with plan.content(hash_estargz(plan)).open() as reader:
        blob = reader.read()
    toc = plan.toc(hash_estargz(plan).chunks)
    document = json.loads(toc)
    change(document["entries"])
    changed = json.dumps(document, separators=(",", ":")).encode()
    return image_of_blob(store, plan, blob.removesuffix(plan.trailer(toc)) + plan.trailer(changed), changed, annotation)


def image_of_blob(
    store: LocalStore, plan: EstargzPlan, blob: bytes, toc: bytes, annotation: str | None = None
) -> Descriptor:
    annotations = {LAYER: LayerKind.WEIGHTS, TOC_DIGEST: annotation or str(Digest.of(toc))}
    layer = blob_of(store, blob, media_types.LAYER_TAR_GZIP).annotated(annotations)
    return image_of(store, [layer], diff_ids=[Digest.of(gzip.decompress(blob))])


def swap_files(entries: Entries) -> None:
    a, b = (next(e for e in entries if e["name"] == name) for name in FILES)
    a["name"], b["name"] = b["name"], a["name"]


def another_chunk(entries: Entries) -> None:
    entries[-1]["chunkDigest"] = str(Digest.of(b"another"))


def hide_a_file(entries: Entries) -> None:
    del entries[-1]


def invent_a_file(entries: Entries) -> None:
    entries.append({**entries[-1], "name": "models/modeling.py"})


def more_rights(entries: Entries) -> None:
    entries[-1]["mode"] = 0o4755


def another_place(entries: Entries) -> None:
    entries[-1]["offset"] = entries[-2]["offset"]


def test_a_table_that_is_true(store: LocalStore) -> None:
    assert scan(store, estargz_image(store)).outcome is Outcome.CLEAN


@pytest.mark.parametrize(
    "change", [swap_files, another_chunk, hide_a_file, invent_a_file, more_rights, another_place, list.reverse]
)
def test_a_table_that_lies(store: LocalStore, change: Callable[[Entries], None]) -> None:
    report = scan(store, estargz_image(store, change))
    assert report.outcome is Outcome.UNVERIFIED
    assert rules(report) == {"image.annotations-disagree", "image.files-outside-model"}


def test_the_manifest_names_another_table(store: LocalStore) -> None:
    report = scan(store, estargz_image(store, annotation=str(Digest.of(b"hidden in a file, say"))))
    assert rules(report) == {"image.annotations-disagree"}


def test_a_table_named_for_a_layer_that_has_none(store: LocalStore) -> None:
    layer = tar_of(store, member("models/a.safetensors", ONE), media_type=media_types.LAYER_TAR_GZIP)
    with store.content.open(layer.digest) as reader:
        diff_id = Digest.of(gzip.decompress(reader.read()))
    named = layer.annotated({TOC_DIGEST: str(Digest.of(b"a table"))})
    assert rules(scan(store, image_of(store, [named], diff_ids=[diff_id]))) == {"image.annotations-disagree"}


def test_files_in_another_order_than_the_table_was_made_for(store: LocalStore) -> None:
    """A tar whose members are swapped and whose sizes are the same has the same offsets."""
    plan = plan_estargz([Entry(path=path, content=Literal(data)) for path, data in FILES.items()])
    digests = hash_estargz(plan)
    with plan.tar.content.open(0, plan.regions[-1].stop) as reader:
        tar = reader.read()
    a, b = (tar.index(name.encode()) for name in FILES)
    swapped = bytearray(tar)
    swapped[a : a + 512], swapped[b : b + 512] = tar[b : b + 512], tar[a : a + 512]
    toc = plan.toc(digests.chunks)
    parts = [bytes(swapped[region.start : region.stop]) for region in plan.regions]
    blob = b"".join(gzip.compress(part, 0, mtime=0) for part in parts) + plan.trailer(toc)
    assert scan(store, image_of_blob(store, plan, blob, toc)).outcome is Outcome.UNVERIFIED


def test_tables_of_other_tools_are_not_believed(store: LocalStore) -> None:
    layer = tar_of(
        store,
        member("models/a.safetensors", ONE),
        member("stargz.index.json", b'{"version":1,"entries":[]}'),
        media_type=media_types.LAYER_TAR_GZIP,
    )
    with store.content.open(layer.digest) as reader:
        diff_id = Digest.of(gzip.decompress(reader.read()))
    assert rules(scan(store, image_of(store, [layer], diff_ids=[diff_id]))) == {"image.files-outside-model"}


def test_what_is_malicious_in_a_packed_layer_is_found(store: LocalStore) -> None:
    report = scan(store, estargz_image(store, files={**FILES, "models/model.bin": EVIL}))
    assert report.outcome is Outcome.MALICIOUS


# eStargz: the model index


def packed(**changes: object) -> Callable[[IndexedLayer], IndexedLayer]:
    def forge(layer: IndexedLayer) -> IndexedLayer:
        assert layer.blob is not None
        return replace(layer, blob=replace(layer.blob, **changes))  # type: ignore[arg-type]  # settings by their names

    return forge


def as_plain(layer: IndexedLayer) -> IndexedLayer:
    return replace(layer, digest=layer.listed_as, blob=None)


def another_tar(layer: IndexedLayer) -> IndexedLayer:
    return replace(layer, digest=Digest.of(b"another"))


def another_piece(layer: IndexedLayer) -> IndexedLayer:
    return replace(layer, chunks=(replace(layer.chunks[0], digest=Digest.of(b"another")), *layer.chunks[1:]))


def another_offset(layer: IndexedLayer) -> IndexedLayer:
    return replace(layer, files=(replace(layer.files[0], offset=layer.files[0].offset + 512),))


@pytest.mark.parametrize("forge", [packed(size=5), as_plain, another_tar, another_piece, another_offset])
def test_an_index_that_lies_about_a_packed_layer(
    store: LocalStore, tmp_path: Path, forge: Callable[[IndexedLayer], IndexedLayer]
) -> None:
    image = with_index(store, built(store, tmp_path / "model", Packing.ESTARGZ), forge)
    assert rules(scan(store, image)) == {"image.index-disagrees"}


def test_an_index_that_calls_a_plain_layer_packed(store: LocalStore, tmp_path: Path) -> None:
    def forge(layer: IndexedLayer) -> IndexedLayer:
        blob = StoredBlob(digest=layer.digest, size=layer.size, media_type=media_types.LAYER_TAR_GZIP)
        return replace(layer, blob=blob)

    image = with_index(store, built(store, tmp_path / "model", Packing.TAR), forge)
    assert rules(scan(store, image)) == {"image.index-disagrees"}


def with_index(store: LocalStore, image: BuiltImage, forge: Callable[[IndexedLayer], IndexedLayer]) -> Descriptor:
    """The image for the first platform with another word about its first layer."""
    manifest = manifest_of(store, image)
    holding = index_layer_of(manifest)
    assert holding is not None
    model = parse_index_layer(read_document(store.content, holding))
    changed = ModelIndex(root=model.root, layers=(forge(model.layers[0]), *model.layers[1:]))
    layer = layer_of(store, {".modelcar/index.json": changed.to_json()}, LayerKind.INDEX)
    layers = [_pointing(layer if each == holding else each, layer.digest) for each in manifest.layers]
    diff_ids = [each.digest for each in layers]
    for i, each in enumerate(model.layers):
        diff_ids[i] = each.digest
    return image_of(store, layers, diff_ids=diff_ids, Entrypoint=["/.modelcar/holder"])


def _pointing(layer: Descriptor, index: Digest) -> Descriptor:
    key = "containerd.io/snapshot/dev.modelcar.index"
    return layer.annotated({key: str(index)}) if key in layer.annotations else layer


def manifest_of(store: LocalStore, image: BuiltImage) -> Manifest:
    index = Index.parse(read_document(store.content, image.index))
    return Manifest.parse(read_document(store.content, index.manifests[0]))


# SOCI


def soci_image(store: LocalStore, tmp_path: Path, change: Callable[[bytes], bytes]) -> Descriptor:
    """An image whose first zTOC is another one; everything that leads there says so."""
    image = built(store, tmp_path / "model", Packing.SOCI)
    index = Index.parse(read_document(store.content, image.index))
    soci = next(
        Manifest.parse(read_document(store.content, e))
        for e in index.manifests
        if e.annotations.get("dev.modelcar.kind") == "soci"
    )
    first, *rest = soci.layers
    with store.content.open(first.digest) as reader:
        content = change(reader.read())
    entry = blob_of(store, content, first.media_type).annotated(first.annotations)
    forged = soci.edited(layers=(entry, *rest))
    write_document(store.content, forged.content)
    own = manifest_of(store, image)
    pointing = own.edited(annotations={**own.annotations, SOCI_INDEX: str(forged.digest)})
    write_document(store.content, pointing.content)
    return index_of(store, pointing.descriptor, forged.descriptor)


def test_a_ztoc_that_is_true(store: LocalStore, tmp_path: Path) -> None:
    assert scan(store, soci_image(store, tmp_path, lambda content: content)).outcome is Outcome.CLEAN


def test_a_ztoc_that_lies(store: LocalStore, tmp_path: Path) -> None:
    lie = soci_image(store, tmp_path, lambda content: content.replace(b"model-00001", b"model-00009"))
    report = scan(store, lie)
    assert report.outcome is Outcome.UNVERIFIED
    assert "image.annotations-disagree" in rules(report)


def test_something_else_in_the_place_of_a_ztoc_is_scanned_like_any_file(store: LocalStore, tmp_path: Path) -> None:
    assert scan(store, soci_image(store, tmp_path, lambda _: EVIL)).outcome is Outcome.MALICIOUS


def test_an_image_that_names_an_index_elsewhere(store: LocalStore, tmp_path: Path) -> None:
    image = built(store, tmp_path / "model", Packing.SOCI)
    alone = manifest_of(store, image)
    report = scan(store, index_of(store, alone.descriptor))
    assert rules(report) == {"image.annotations-disagree"}
