"""Whole images: pushed, pulled and copied, with tags that never point to something incomplete."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.errors import (
    DigestMismatch,
    Forbidden,
    InvalidDocument,
    NotFound,
    RegistryError,
    SizeMismatch,
    SourceChanged,
    StorageError,
    UsageError,
)
from modelcar.files import FileStamp
from modelcar.layers.bytemap import ByteMap, FileRange, Literal
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference, media_types
from modelcar.store import MemoryStore, OciLayout, write_document
from tests.support.images import validate_in
from tests.support.scripted_registry import Default, Reply, Request, ScriptedRegistry, cut_after, error
from tests.support.virtual import VirtualImage

from .conftest import Authority, Client, Recorder, blob, literal, random_image, reference

pytestmark = pytest.mark.slow


def stored_tags(server: ScriptedRegistry) -> list[str]:
    return [target for _, target in server.manifests if ":" not in target]


def test_round_trip(server: ScriptedRegistry, client: Client) -> None:
    image, progress = random_image(), Recorder()
    registry = client(progress)
    ref = reference(server)
    assert registry.push(image.store, image.descriptor, ref) == image.descriptor
    assert registry.resolve(ref) == image.descriptor
    assert list(registry.tags(ref)) == ["v1"]
    assert progress.done == progress.totals
    assert progress.expected == sum(progress.totals.values())

    target = MemoryStore()
    assert registry.pull(ref, target) == image.descriptor
    assert target._blobs.keys() == image.store._blobs.keys()


def test_manifests_come_after_blobs_and_the_tag_last(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    puts = [r.path.rpartition("/")[2] for r in server.seen if r.method == "PUT"]
    manifests = [str(m.digest) for m in image.manifests]
    assert puts[-3:] == [*manifests, "v1"]
    assert all("uploads" in r.path for r in server.requests("PUT")[:-3])


def test_each_blob_goes_once(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    digests = [r.query["digest"] for r in server.requests("PUT", "/uploads/")]
    assert len(digests) == len(set(digests)) == 5  # three layers, two configs


def test_a_second_push_moves_no_blob(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    server.seen.clear()
    progress = Recorder()
    client(progress).push(image.store, image.descriptor, reference(server, "org/model:v2"))
    assert not server.requests("POST")
    assert set(progress.notes.values()) == {"exists"}


def test_blobs_can_be_on_their_way_before_the_image_is_made(server: ScriptedRegistry, client: Client) -> None:
    image, progress = random_image(), Recorder()
    early = image.manifests[0].layers[:2]
    registry, ref = client(progress), reference(server)
    with registry.uploading(ref) as upload:
        for layer in early:
            upload(layer, image.store.map(layer.digest))
    assert len(server.requests("PUT", "/uploads/")) == 2
    server.seen.clear()
    registry.push(image.store, image.descriptor, ref)
    assert not [r for r in server.seen if any(str(layer.digest) in r.path for layer in early)]
    assert registry.pull(ref, MemoryStore()) == image.descriptor
    assert progress.expected >= sum(layer.size for layer in early)


def test_what_one_repository_has_another_one_is_sent(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    layer = image.manifests[0].layers[0]
    registry = client()
    with registry.uploading(reference(server, "org/one:v1")) as upload:
        upload(layer, image.store.map(layer.digest))
    registry.push(image.store, image.descriptor, reference(server, "org/two:v1"))
    assert registry.pull(reference(server, "org/two:v1"), MemoryStore()) == image.descriptor


def test_an_early_upload_that_is_refused_is_the_answer(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    layer = image.manifests[0].layers[0]
    server.on("POST", "/blobs/uploads/", error(403, "DENIED", "quota exceeded"), times=1)
    with pytest.raises(Forbidden, match="quota exceeded"), client().uploading(reference(server)) as upload:
        upload(layer, image.store.map(layer.digest))


@pytest.mark.parametrize("place", ["POST", "PUT"])
def test_a_push_that_fails_leaves_no_tag_and_no_session(server: ScriptedRegistry, client: Client, place: str) -> None:
    image = random_image()
    server.on(place, "/blobs/uploads/", error(403, "DENIED", "quota exceeded"), times=1)
    with pytest.raises(Forbidden, match="quota exceeded"):
        client(concurrency=1).push(image.store, image.descriptor, reference(server))
    assert not server.manifests
    assert not server.uploads


def test_a_child_that_is_refused_keeps_the_tag_away(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    server.on("PUT", "/manifests/sha256", error(400, "MANIFEST_INVALID", "no"))
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        client().push(image.store, image.descriptor, reference(server))
    assert stored_tags(server) == []


def test_sources_are_checked_before_the_first_byte(server: ScriptedRegistry, client: Client, tmp_path: Path) -> None:
    image = random_image(sizes=(10, 20))
    content = image.store.open(image.manifests[0].layers[1].digest).read()
    file = tmp_path / "weights"
    file.write_bytes(content)
    stamp = FileStamp.from_stat(file.stat())
    digest = image.manifests[0].layers[1].digest
    image.store._blobs[digest] = ByteMap([FileRange(path=file, offset=0, size=20, stamp=stamp)])
    file.write_bytes(content[::-1])
    with pytest.raises(SourceChanged):
        client().push(image.store, image.descriptor, reference(server))
    assert not server.seen


@pytest.mark.parametrize("tls", [False, True])
def test_a_file_that_shrinks_during_its_upload_is_noticed_and_named(
    server: ScriptedRegistry, secure_server: ScriptedRegistry, client: Client, authority: Authority, tmp_path: Path,
    tls: bool
) -> None:  # fmt: skip
    registry = secure_server if tls else server
    file = tmp_path / "weights"
    file.write_bytes(bytes(1000))
    descriptor = Descriptor.of(media_types.LAYER_TAR, bytes(2000))
    with pytest.raises(SourceChanged, match=f"^{file} has changed .* it ends at byte 1000$"):
        client(ca_file=authority.ca).upload_blob(reference(registry), descriptor, ByteMap.of_file(file, 2000))
    assert not registry.blobs
    assert not registry.uploads


@pytest.mark.parametrize("tls", [False, True])
def test_a_file_that_cannot_be_read_is_named(
    server: ScriptedRegistry, secure_server: ScriptedRegistry, client: Client, authority: Authority, tmp_path: Path,
    tls: bool
) -> None:  # fmt: skip
    descriptor = Descriptor.of(media_types.LAYER_TAR, bytes(2000))
    with pytest.raises(StorageError, match=f"^cannot read {tmp_path}: "):
        client(ca_file=authority.ca).upload_blob(
            reference(secure_server if tls else server), descriptor, ByteMap.of_file(tmp_path, 2000)
        )


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"other weights")])
def test_a_pull_replaces_layers_whose_files_are_gone_or_changed(
    server: ScriptedRegistry, client: Client, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    """The store has a recipe for them, which is worth nothing without the checkpoint."""
    image = VirtualImage(tmp_path, OciLayout(tmp_path / "store", recipes=True))
    client().push(image.store, image.root, reference(server))
    change(image.tree["models/shard0"].path)
    recorder = Recorder()
    client(recorder).pull(reference(server), image.store)
    validate_in(image.store, image.root)
    assert [recorder.notes[str(layer.digest)] for layer in image.layers] == ["", "exists"]


def test_an_incomplete_store_is_not_pushed(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    image.store.delete(image.manifests[0].layers[0].digest)
    with pytest.raises(NotFound):
        client().push(image.store, image.descriptor, reference(server))
    assert not server.seen


def test_a_reference_with_another_digest_is_refused(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    with pytest.raises(UsageError, match="names another image"):
        client().push(image.store, image.descriptor, reference(server).with_digest(Digest.of(b"")))


def test_nested_indexes(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    outer = Index(manifests=(image.index.descriptor, image.manifests[0].descriptor))
    write_document(image.store, outer.content)
    registry = client()
    registry.push(image.store, outer.descriptor, reference(server))
    target = MemoryStore()
    assert registry.pull(reference(server), target) == outer.descriptor
    assert target._blobs.keys() == image.store._blobs.keys()


def test_nesting_has_an_end(server: ScriptedRegistry, client: Client) -> None:
    store, index = MemoryStore(), Index()
    for _ in range(12):
        write_document(store, index.content)
        index = Index(manifests=(index.descriptor,))
    write_document(store, index.content)
    with pytest.raises(InvalidDocument, match="nested"):
        client().push(store, index.descriptor, reference(server))


def test_sizes_that_contradict_each_other(server: ScriptedRegistry, client: Client) -> None:
    layer, content = blob(10)
    lying = Descriptor(media_type=layer.media_type, digest=layer.digest, size=11)
    manifest = Manifest(config=layer, layers=(lying,))
    store = MemoryStore()
    write_document(store, content)
    write_document(store, manifest.content)
    with pytest.raises(SizeMismatch):
        client().push(store, manifest.descriptor, reference(server))


def test_a_pull_stores_manifests_after_their_blobs(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    layer = image.manifests[0].layers[2].digest
    server.blobs[str(layer)] = bytes(300_000)
    target = MemoryStore()
    with pytest.raises(DigestMismatch, match=server.name):
        client().pull(reference(server), target)
    assert layer not in target
    assert image.index.digest not in target
    assert not any(m.digest in target for m in image.manifests)


def test_a_pull_fetches_only_what_is_missing(server: ScriptedRegistry, client: Client) -> None:
    image, progress = random_image(), Recorder()
    client().push(image.store, image.descriptor, reference(server))
    layer = image.manifests[0].layers[2]
    target = MemoryStore()
    write_document(target, image.store.open(layer.digest).read())
    client(progress).pull(reference(server), target)
    assert not server.requests("GET", f"/blobs/{layer.digest}")
    assert progress.notes[str(layer.digest)] == "exists"


def test_a_copy_within_a_registry_mounts(server: ScriptedRegistry, client: Client) -> None:
    image, progress = random_image(), Recorder()
    client().push(image.store, image.descriptor, reference(server))
    server.on("HEAD", "/v2/new/place/blobs/", error(404, "BLOB_UNKNOWN"), times=9)
    client(progress).copy(reference(server), reference(server, "new/place:v2"))
    assert set(progress.notes.values()) == {"mounted"}
    assert {r.query.get("from") for r in server.requests("POST", "/new/place/")} == {"org/model"}
    assert server.manifests["new/place", "v2"][1] == image.index.content


def test_a_mount_that_is_not_taken_becomes_an_upload(server: ScriptedRegistry, client: Client) -> None:
    layer, content = blob(1000)
    server.on("POST", "/uploads/", error(403, "DENIED"))
    client().upload_blob(reference(server), layer, literal(content), mount_from=["a/b"])
    assert server.blobs[str(layer.digest)] == content
    assert [r.query.get("from") for r in server.requests("POST")] == ["a/b", None]


def test_a_mount_that_opens_a_session_uses_it(server: ScriptedRegistry, client: Client) -> None:
    layer, content = blob(1000)
    client().upload_blob(reference(server), layer, literal(content), mount_from=["a/b"])
    assert len(server.requests("POST")) == 1
    assert server.blobs[str(layer.digest)] == content


def test_a_copy_between_registries_streams(server: ScriptedRegistry, other: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    registry = client()
    registry.push(image.store, image.descriptor, reference(server))
    server.on("GET", "/blobs/", cut_after(5000), times=2)
    assert registry.copy(reference(server), reference(other, "mirror/model:v1")) == image.descriptor
    target = MemoryStore()
    registry.pull(reference(other, "mirror/model:v1"), target)
    assert target._blobs.keys() == image.store._blobs.keys()


def test_a_copy_of_damaged_content_publishes_nothing(
    server: ScriptedRegistry, other: ScriptedRegistry, client: Client
) -> None:
    image = random_image()
    registry = client(concurrency=1)  # others, cancelled before they knew their session, could not delete it
    registry.push(image.store, image.descriptor, reference(server))
    server.blobs[str(image.manifests[0].layers[2].digest)] = bytes(300_000)
    with pytest.raises(DigestMismatch):
        registry.copy(reference(server), reference(other))
    assert not other.manifests
    assert not other.uploads


def test_a_failure_ends_the_other_transfers_promptly(server: ScriptedRegistry, client: Client) -> None:
    image = random_image(sizes=(4_000_000, 10), platforms=1)
    client().push(image.store, image.descriptor, reference(server))
    big, small = image.manifests[0].layers
    server.on("GET", f"/blobs/{big.digest}", Reply(200, {}, bytes(4_000_000), stall=30))

    def refused(_request: Request, _default: Default) -> Reply:
        server.began_to_stall.wait(10)
        return error(403, "DENIED")

    server.on("GET", f"/blobs/{small.digest}", refused)
    with pytest.raises(Forbidden):
        client(timeout=60).pull(reference(server), MemoryStore())
    assert server.began_to_stall.is_set()
    assert not server.stalled_to_the_end.is_set()  # nobody waited for that answer


def test_tags_follow_pages_and_must_be_tags(server: ScriptedRegistry, client: Client) -> None:
    ref = reference(server)
    page = json.dumps({"tags": ["a", "b"]}).encode()
    server.on("GET", "/tags/", Reply(200, {"Link": '</v2/org/model/tags/list?last=b&n=2>; rel="next"'}, page))
    server.on("GET", "/tags/", Reply(200, {}, b'{"tags": ["c"]}'))
    assert list(client().tags(ref)) == ["a", "b", "c"]
    assert server.seen[-1].query["last"] == "b"
    server.on("GET", "/tags/", Reply(200, {}, b'{"tags": ["\\u001b[31m"]}'))
    with pytest.raises(RegistryError, match="not a list of tags"):
        list(client().tags(ref))


def test_a_manifest_is_deleted(server: ScriptedRegistry, client: Client) -> None:
    image = random_image()
    client().push(image.store, image.descriptor, reference(server))
    place = Reference(registry=server.name, repository="org/model", digest=image.index.digest)
    client().delete_manifest(place)
    assert ("org/model", str(image.index.digest)) not in server.manifests


def test_several_threads_share_a_client(server: ScriptedRegistry, client: Client) -> None:
    images = [random_image(seed) for seed in range(4)]
    registry = client()
    threads = [
        threading.Thread(target=registry.push, args=(image.store, image.descriptor, reference(server, f"org/m:v{i}")))
        for i, image in enumerate(images)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(registry.tags(reference(server, "org/m"))) == ["v0", "v1", "v2", "v3"]


def test_a_literal_map_of_the_wrong_size_is_refused(server: ScriptedRegistry, client: Client) -> None:
    layer, _ = blob(10)
    with pytest.raises(SizeMismatch):
        client().upload_blob(reference(server), layer, ByteMap([Literal(b"x")]))
