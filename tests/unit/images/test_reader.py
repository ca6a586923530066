"""Verified ranges of the model in an image: right bytes, few requests, and an index that lies is found out."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import (
    DigestMismatch,
    InvalidContent,
    InvalidDocument,
    NotFound,
    ProtocolViolation,
    SizeMismatch,
    UsageError,
)
from modelcar.images.opening import open_model
from modelcar.images.reader import ModelReader, parse_config
from modelcar.oci import Descriptor, Digest, Manifest, Reference, parse_manifest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.fetch import RegistrySource, StoreSource
from modelcar.registry import Registry
from modelcar.store import LocalStore, Names, OciLayout, read_document, write_document
from modelcar.store.transfer import copy_image
from tests.support.architectures import llama, write_checkpoint
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.lying_indexes import first_manifest, lie
from tests.support.scripted_registry import Reply, ScriptedRegistry
from tests.unit.packaging.conftest import Build

MODEL = llama(layers=2, vocabulary=256)
NAMES = [*MODEL.tensors]


@pytest.fixture
def content(tmp_path: Path) -> dict[str, bytes]:
    return write_checkpoint(tmp_path / "llama", MODEL)


@pytest.fixture
def image(content: dict[str, bytes], tmp_path: Path, store: LocalStore, build: Build) -> Descriptor:
    """The image's manifest for one platform."""
    assert content
    return first_manifest(store.content, build(tmp_path / "llama").index)


@pytest.fixture
def reader(store: LocalStore, image: Descriptor) -> ModelReader:
    return ModelReader(StoreSource(store.content, image), image)


def test_every_file_and_tensor(reader: ModelReader, content: dict[str, bytes], tmp_path: Path) -> None:
    assert {path: reader.read(path) for path in reader.files} == files_of(tmp_path / "llama")
    assert {name: reader.read_tensor(name) for name in NAMES} == content
    assert reader.config() == MODEL.config
    assert reader.read("config.json", 3, 0) == b""
    assert reader.read("config.json", 3, 5) == (tmp_path / "llama" / "config.json").read_bytes()[3:8]


def test_what_is_not_there(reader: ModelReader) -> None:
    path, tensor = reader.find_tensor(NAMES[0])
    for ask in (
        lambda: reader.read("nothing"),
        lambda: reader.read_tensor("nothing"),
        lambda: reader.read_tensor(NAMES[-1], path),
        lambda: reader.header("config.json"),
    ):
        with pytest.raises(NotFound):
            ask()
    size = reader.files[path].size
    for offset, length in ((-1, 2), (size, 1), (0, size + 1), (5, -2)):
        with pytest.raises(UsageError, match="there are none from"):
            reader.read(path, offset, length)
    assert reader.read(path, tensor.offset, tensor.size) == reader.read_tensor(NAMES[0], path)


def test_ranges_are_delivered_once_and_nothing_else(reader: ModelReader, tmp_path: Path) -> None:
    paths = [path for path, file in reader.files.items() if file.tensors]
    wanted = {path: [(10, 500), (2000, 2001), (3000, reader.files[path].size)] for path in paths}
    got: dict[tuple[str, int], int] = {}
    lock = threading.Lock()

    def deliver(path: str, offset: int, data: memoryview) -> None:
        with lock:
            for i, byte in enumerate(bytes(data)):
                assert (path, offset + i) not in got
                got[path, offset + i] = byte

    reader.fetch(wanted, deliver, workers=4)
    assert got.keys() == {(path, n) for path, ranges in wanted.items() for a, b in ranges for n in range(a, b)}
    for path in paths:
        whole = (tmp_path / "llama" / path).read_bytes()
        assert all(whole[n] == byte for (where, n), byte in got.items() if where == path)


def test_two_copies_of_a_tensor(tmp_path: Path, store: LocalStore, build: Build) -> None:
    write_checkpoint(tmp_path / "two", MODEL, shards=1)
    single = next((tmp_path / "two").glob("*.safetensors"))
    (tmp_path / "two" / "consolidated.safetensors").write_bytes(single.read_bytes())
    root = build(tmp_path / "two").index
    reader = ModelReader(StoreSource(store.content, root), root)
    with pytest.raises(UsageError, match="both have a tensor"):
        reader.read_tensor(NAMES[0])
    assert reader.read_tensor(NAMES[0], "consolidated.safetensors") == reader.read_tensor(NAMES[0], single.name)


@pytest.fixture
def server() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as registry:
        yield registry


def remote(server: ScriptedRegistry, client: Registry, store: LocalStore, image: Descriptor) -> ModelReader:
    ref = Reference.parse(f"{server.name}/org/model:v1")
    client.push(store.content, image, ref)
    server.seen.clear()
    return ModelReader(RegistrySource(ref, client), image)


@pytest.mark.slow
def test_a_tensor_in_a_registry_takes_few_requests(
    server: ScriptedRegistry, store: LocalStore, image: Descriptor, content: dict[str, bytes]
) -> None:
    with Registry() as client:
        reader = remote(server, client, store, image)
        assert len(server.requests("GET")) == 2  # manifest, index
        server.seen.clear()
        assert reader.read_tensor(NAMES[3]) == content[NAMES[3]]
        asked = server.requests("GET")
        assert len(asked) == 2  # its file's header, itself
        assert all("Range" in {name.title() for name in dict(request.headers)} for request in asked)
        server.seen.clear()
        assert reader.read_tensor(NAMES[2]) == content[NAMES[2]]
        assert len(server.requests("GET")) == 1


@pytest.mark.slow
def test_a_registry_that_knows_no_ranges(server: ScriptedRegistry, store: LocalStore, image: Descriptor) -> None:
    """Else each range would be a pull of its own."""
    with Registry() as client:
        reader = remote(server, client, store, image)
        layer = reader.layer("config.json").descriptor
        whole = Reply(200, {}, server.blobs[str(layer.digest)])
        server.on("GET", f"blobs/{layer.digest}", whole, times=100)
        with pytest.raises(ProtocolViolation, match="it sends the whole blob") as caught:
            reader.config()
        assert caught.value.hint == "`modelcar pull REF -o DIR` asks for no ranges"


@pytest.mark.slow
def test_a_model_is_opened_by_its_name(
    server: ScriptedRegistry, store: LocalStore, image: Descriptor, content: dict[str, bytes], tmp_path: Path
) -> None:
    with Registry() as client:
        remote(server, client, store, image)
    layout = OciLayout(tmp_path / "layout")
    copy_image(store.content, layout, image)
    Names(layout).put("v1", image)
    for name in (f"{server.name}/org/model:v1", f"oci:{layout.root}:v1"):
        with open_model(name, platform="linux/amd64") as model:
            assert model.read_tensor(NAMES[1]) == content[NAMES[1]]


# From here on: the index, or the registry, lies.


def edit_file(**changes: Any) -> Callable[[Any], None]:
    def edit(index: Any) -> None:
        index["layers"][0]["files"][0].update(changes)

    return edit


def edit_tensor(number: int, **changes: Any) -> Callable[[Any], None]:
    def edit(index: Any) -> None:
        index["layers"][0]["files"][0]["tensors"][number].update(changes)

    return edit


def swap_names(index: Any) -> None:
    tensors = index["layers"][0]["files"][0]["tensors"]
    tensors[0]["name"], tensors[1]["name"] = tensors[1]["name"], tensors[0]["name"]


def shift_files(index: Any) -> None:
    for file in index["layers"][0]["files"]:
        file["offset"] += 1
        file["size"] -= 1
    index["layers"][0]["files"][0].pop("tensors")


def forge_header(index: Any) -> None:
    """Header and tensors agree with each other, and not with the file."""
    file = index["layers"][0]["files"][0]
    raw = base64.b64decode(file["header"])
    swap_names(index)
    first, second = (tensor["name"].encode() for tensor in file["tensors"][:2])
    swapped = raw.replace(first, b"\xff").replace(second, first).replace(b"\xff", second)
    assert len(swapped) == len(raw)
    file["header"] = base64.b64encode(swapped).decode()


@pytest.mark.parametrize(
    "edit",
    [
        edit_tensor(0, dtype="F16"),
        edit_tensor(1, shape=[1]),
        edit_tensor(0, name="another"),
        swap_names,
        forge_header,
        edit_file(headerSize=8, header=None),
        edit_file(format="gguf"),
    ],
    ids=["dtype", "shape", "name", "swapped", "forged header", "shorter header", "format"],
)
def test_an_index_that_disagrees_with_a_files_own_header(
    store: LocalStore, image: Descriptor, edit: Callable[[Any], None]
) -> None:
    def all_edits(index: Any) -> None:
        edit(index)
        file = index["layers"][0]["files"][0]
        if file.get("header", "") is None:
            del file["header"]

    lying = lie(store.content, image, index=all_edits)
    reader = ModelReader(StoreSource(lying.store, lying.root), lying.root)
    path = next(iter(reader.files))
    with pytest.raises(InvalidContent, match=r"the model index (lists|misleads|has)"):
        reader.read_tensor(reader.files[path].tensors[0].name)
    with pytest.raises(InvalidContent):
        reader.header(path)


@pytest.mark.parametrize("rehash", [False, True])
def test_a_chunk_that_is_not_what_the_index_says(store: LocalStore, image: Descriptor, rehash: bool) -> None:
    """Whether the blob was changed on the way or the table never fitted it: no byte is handed out."""

    def damage(blob: bytearray, number: int) -> None:
        if number == 0:
            blob[-3000] ^= 1

    lying = lie(store.content, image, blob=damage, rehash=rehash)
    reader = ModelReader(StoreSource(lying.store, lying.root), lying.root)
    path = next(iter(reader.files))
    got: list[bytes] = []
    with pytest.raises(DigestMismatch, match="are not what its index says"):
        reader.fetch({path: [(0, reader.files[path].size)]}, lambda _path, _at, data: got.append(bytes(data)))
    assert not got
    assert reader.config() == MODEL.config


def test_a_layer_that_the_manifest_does_not_list_is_void(store: LocalStore, image: Descriptor) -> None:
    def add(index: Any) -> None:
        chunk = {"offset": 0, "size": 5, "digest": "sha256:" + "1" * 64}
        file = {"path": "backdoor.py", "offset": 0, "size": 5, "role": "code"}
        layer = {"digest": "sha256:" + "2" * 64, "size": 5, "mediaType": "x", "files": [file], "chunks": [chunk]}
        index["layers"].append(layer)

    lying = lie(store.content, image, index=add)
    reader = ModelReader(StoreSource(lying.store, lying.root), lying.root)
    assert "backdoor.py" not in reader.files
    with pytest.raises(NotFound):
        reader.read("backdoor.py")


def test_an_index_that_leaves_a_layer_of_the_model_out(store: LocalStore, image: Descriptor) -> None:
    for edit in (lambda index: index["layers"].pop(0), lambda index: index["layers"][0].update(files=[])):
        lying = lie(store.content, image, index=edit)
        with pytest.raises(NotFound, match="says nothing of the files in layer"):
            ModelReader(StoreSource(lying.store, lying.root), lying.root)


def test_an_index_of_another_size_than_the_manifest(store: LocalStore, image: Descriptor) -> None:
    def grow(index: Any) -> None:
        layer = index["layers"][0]
        layer["size"] += 10
        layer["chunks"].append({"offset": layer["size"] - 10, "size": 10, "digest": "sha256:" + "1" * 64})

    lying = lie(store.content, image, index=grow)
    with pytest.raises(InvalidContent, match=r"gives layer .* bytes and the manifest"):
        ModelReader(StoreSource(lying.store, lying.root), lying.root)


def test_a_blob_that_is_shorter_than_promised(store: LocalStore, image: Descriptor) -> None:
    def cut(blob: bytearray, number: int) -> None:
        if number == 0:
            del blob[-1:]

    lying = lie(store.content, image, blob=cut)
    reader = ModelReader(StoreSource(lying.store, lying.root), lying.root)
    with pytest.raises(SizeMismatch):
        reader.read(next(iter(reader.files)))


def test_files_are_where_the_tar_has_them(store: LocalStore, image: Descriptor, reader: ModelReader) -> None:
    for layer in reader.layers:
        reader.check_places(layer)

    def swap(index: Any) -> None:
        files = index["layers"][-1]["files"]
        files[0]["path"], files[1]["path"] = files[1]["path"], files[0]["path"]

    def rename(index: Any) -> None:
        index["layers"][-1]["files"][0]["path"] = "another"

    def leave_out(index: Any) -> None:
        del index["layers"][-1]["files"][0]

    for edit, number in ((swap, -1), (rename, -1), (leave_out, -1), (shift_files, 0)):
        lying = lie(store.content, image, index=edit)
        misled = ModelReader(StoreSource(lying.store, lying.root), lying.root)
        with pytest.raises(InvalidContent):
            misled.check_places(misled.layers[number])


def test_a_configuration_that_is_none(tmp_path: Path, store: LocalStore, build: Build) -> None:
    write_checkpoint(tmp_path / "llama", MODEL)
    root = build(tmp_path / "llama").index
    reader = ModelReader(StoreSource(store.content, root), root)
    for raw in (b"[]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(InvalidDocument, match=r"config\.json is not a JSON object"):
            parse_config(raw, "config.json")
    assert reader.config()["model_type"] == "llama"


def test_an_image_without_an_index(store: LocalStore, image: Descriptor) -> None:
    manifest = parse_manifest(read_document(store.content, image), image.media_type)
    assert isinstance(manifest, Manifest)
    plain = Manifest(
        config=manifest.config, layers=tuple(d for d in manifest.layers if d.annotations.get(LAYER) != "index")
    )
    write_document(store.content, plain.content)
    with pytest.raises(NotFound, match="no model index") as caught:
        ModelReader(StoreSource(store.content, plain.descriptor), plain.descriptor)
    assert caught.value.hint == "`modelcar pull REF -o DIR` brings the whole model"
    assert json.loads(plain.content)["layers"]


@pytest.mark.slow
def test_many_ranges_in_many_chunks_cost_no_more_than_their_number(
    tmp_path: Path, store: LocalStore, build: Build
) -> None:
    """As a rank's tensors are: each of a hundred thousand ranges must not be looked at for each of as many chunks."""
    size = 16

    def cut(document: Any) -> None:
        for layer in document["layers"]:
            with store.content.open(Digest.parse(layer["digest"])) as blob:
                content = blob.read()
            pieces = [(start, content[start : start + size]) for start in range(0, len(content), size)]
            layer["chunks"] = [
                {"offset": start, "size": len(piece), "digest": str(Digest.of(piece))} for start, piece in pieces
            ]

    checkpoint = make_checkpoint(tmp_path / "one", shards=1, elements=600_000)
    lying = lie(store.content, first_manifest(store.content, build(checkpoint).index), index=cut)
    reader = ModelReader(StoreSource(lying.store, lying.root), lying.root)
    path, file = max(reader.files.items(), key=lambda pair: pair[1].size)
    wanted = [(start, min(start + 7, file.size)) for start in range(0, file.size, 10)]
    assert len(wanted) > 100_000
    whole, got = reader.read(path), set[tuple[int, bytes]]()
    pieces = Counter[int]()

    def deliver(_path: str, offset: int, data: memoryview) -> None:
        got.add((offset, bytes(data)))
        pieces.update(range(offset, offset + len(data)))

    reader.fetch({path: wanted}, deliver)
    assert all(whole.startswith(data, offset) for offset, data in got)
    assert pieces == Counter(n for start, stop in wanted for n in range(start, stop))
