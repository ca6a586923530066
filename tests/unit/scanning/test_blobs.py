"""Where the bytes of layers come from, and how many of them are read."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.disk import Disk
from modelcar.errors import InvalidDocument, ProtocolViolation, StorageError
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Reference, media_types
from modelcar.packaging.fetch import RegistrySource
from modelcar.packaging.inspect import inspect_image
from modelcar.registry import ClientSettings, Registry
from modelcar.scanning.blobs import QUICK_BYTES, DownloadedBlobs, QuickBlobs
from modelcar.scanning.content import on_disk, spooled
from modelcar.scanning.findings import Outcome
from modelcar.scanning.image import quick_scan_image
from modelcar.scanning.limits import LimitExceeded
from modelcar.store import LocalStore, read_document
from tests.support.scanned_images import image_of, index_of, layer_of, member, tar_of
from tests.support.scripted_registry import Reply, Request, ScriptedRegistry
from tests.support.weights import safetensors_bytes

pytestmark = pytest.mark.slow

WEIGHTS = safetensors_bytes({"a": ("F32", (4,), bytes(16))}, align=8)
EVIL = b"\x80\x02cposix\nsystem\nU\x02idR."


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home")


@pytest.fixture
def server() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as registry:
        yield registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(ClientSettings(attempts=1)) as registry:
        yield registry


def published(store: LocalStore, root: Descriptor, server: ScriptedRegistry, registry: Registry) -> Reference:
    ref = Reference.parse(f"{server.name}/acme/x:v1")
    registry.push(store.content, root, ref)
    return ref


def test_a_registry_that_ignores_ranges_makes_nobody_read_a_whole_layer(
    store: LocalStore, server: ScriptedRegistry, registry: Registry
) -> None:
    layer = layer_of(store, {"models/a.bin": bytes(8 << 20), "models/b.safetensors": WEIGHTS})
    ref = published(store, image_of(store, [layer]), server, registry)
    whole = read_document(store.content, layer)
    server.on("GET", f"/blobs/{layer.digest}", Reply(200, {}, whole), times=99)
    blobs = QuickBlobs(registry=registry, ref=ref)
    with pytest.raises(ProtocolViolation, match="sends the whole blob"):
        quick_scan_image(RegistrySource(ref, registry), blobs, subject="x")


def test_a_quick_scan_of_many_layers_keeps_within_its_bytes_and_tells_what_it_saw(
    store: LocalStore, server: ScriptedRegistry, registry: Registry
) -> None:
    """The holder is compared byte for byte: there may be too little left to read for that."""
    layers = [tar_of(store, member(f"models/{i}.bin", bytes(20_000 + i))) for i in range(120)]
    evil = layer_of(store, {"models/evil.bin": EVIL})
    holder = layer_of(store, {".modelcar/holder": bytes(30_000)})
    ref = published(store, image_of(store, [*layers, evil, holder]), server, registry)
    blobs = QuickBlobs(registry=registry, ref=ref)
    report = quick_scan_image(RegistrySource(ref, registry), blobs, subject="x")
    assert report.outcome is Outcome.MALICIOUS
    assert blobs.read <= QUICK_BYTES
    assert "scan.limit-exceeded" in {finding.rule.id for finding in report.all_findings}


def test_what_a_quick_scan_may_read(registry: Registry, server: ScriptedRegistry) -> None:
    blobs = QuickBlobs(registry=registry, ref=Reference.parse(f"{server.name}/x"), left=10)
    layer = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"x"), size=100)
    with blobs.open(layer) as content, pytest.raises(LimitExceeded):
        content.read(0, 11)
    assert blobs.read == 0


def test_documents_that_are_none_are_not_read() -> None:
    """A configuration may claim any size, and an index list a thousand manifests of four mebibytes."""
    config = Descriptor(media_type=media_types.CONFIG, digest=Digest.of(b"x"), size=400 << 20)
    manifest = Manifest(config=config)
    read: list[Descriptor] = []

    def reading(descriptor: Descriptor) -> bytes:
        read.append(descriptor)
        return documents[descriptor.digest]

    documents = {manifest.digest: manifest.content}
    with pytest.raises(InvalidDocument, match="more than documents have"):
        inspect_image(manifest.descriptor, reading)
    assert [each.digest for each in read] == [manifest.digest]
    images = [ImageConfig(architecture="a", os=f"{i}{'x' * 4_000_000}", diff_ids=()) for i in range(20)]
    manifests = [Manifest(config=image.descriptor) for image in images]
    index = Index(manifests=tuple(each.descriptor for each in manifests))
    documents = {each.digest: each.content for each in (*images, *manifests, index)}
    read.clear()
    with pytest.raises(InvalidDocument, match="more than documents have"):
        inspect_image(index.descriptor, reading)
    assert sum(each.size for each in read) <= 64 << 20


def test_a_layer_that_no_disk_has_room_for(
    store: LocalStore, server: ScriptedRegistry, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = published(store, image_of(store, [layer_of(store, {"models/x": b"x"})]), server, registry)
    asked: list[Request] = []
    server.guard = asked.append
    monkeypatch.setattr(Disk, "of", lambda _: Disk(total=10 << 30, free=10 << 30))
    blobs = DownloadedBlobs(registry=registry, ref=ref, spool=tmp_path)
    huge = Descriptor(media_type=media_types.LAYER_TAR, digest=Digest.of(b"x"), size=10 << 30)
    with pytest.raises(StorageError, match=r"what is scanned takes .* has .* left"), blobs.open(huge):
        pass
    assert asked == []


def test_what_goes_wrong_while_a_layer_is_looked_at_is_not_the_disks_fault(
    store: LocalStore, server: ScriptedRegistry, registry: Registry, tmp_path: Path
) -> None:
    layer = layer_of(store, {"models/x": b"x"})
    ref = published(store, index_of(store, image_of(store, [layer])), server, registry)
    blobs = DownloadedBlobs(registry=registry, ref=ref, spool=tmp_path)
    with blobs.open(layer) as content:
        assert content.read(0, content.size) == read_document(store.content, layer)
    with pytest.raises(OSError, match="not the disk"), blobs.open(layer):
        raise OSError("not the disk")


def test_a_disk_that_fills_up_is_no_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pieces = [bytes(1 << 20)] * 20
    monkeypatch.setattr(Disk, "of", lambda _: Disk(total=1 << 40, free=1 << 20))
    with pytest.raises(StorageError, match=r"has 1\.\d MB left"), spooled(pieces, tmp_path):
        pass
    with spooled(pieces[:8], tmp_path) as content:  # which need no disk
        assert content.size == 8 << 20


def test_what_the_disk_refuses(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left on device"), on_disk(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
