"""Models in images: the same tensors as from the folder, few bytes, and none that its index does not vouch for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.checkpoint.formats.header import MAX_RAW
from modelcar.errors import DigestMismatch, InvalidContent, NotFound, RemoteNotFound, UsageError
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.layers.index import INDEX_PATH, IndexedFile, ModelIndex
from modelcar.loading.load import load, stream
from modelcar.loading.parts import Part
from modelcar.oci import Descriptor, Manifest, Platform, Reference, parse_manifest
from modelcar.packaging.base import scratch_base
from modelcar.packaging.build import build_image
from modelcar.packaging.inspect import index_layer_of, parse_index_layer
from modelcar.packaging.plan import LayerKind
from modelcar.registry import Registry
from modelcar.registry.download import BlobStream
from modelcar.store import LocalStore, Names, OciLayout, read_document
from modelcar.store.transfer import copy_image
from registry_shim.testing import running_registry
from tests.support.checkpoints import age, make_checkpoint
from tests.support.scanned_images import image_of, layer_of
from tests.support.weights import safetensors_bytes

LARGE = 3 * CHUNK_SIZE // 2 // 2  # elements of BF16: a chunk and a half


class Image:
    """A model in a store, and in a layout that it is read from."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.store = LocalStore(folder / "home")
        with self.store.session():
            built = build_image(
                open_checkpoint(str(checkpoint)), self.store, [scratch_base(Platform.parse("linux/amd64"))]
            )
        self.root = built.index
        self.layout = folder / "layout"
        self.publish(self.root)

    def publish(self, root: Descriptor) -> None:
        layout = OciLayout(self.layout)
        copy_image(self.store.content, layout, root)
        Names(layout).put("v1", root)

    @property
    def source(self) -> str:
        return f"oci:{self.layout}:v1"

    @property
    def manifest(self) -> Manifest:
        document = parse_manifest(read_document(self.store.content, self.root), self.root.media_type)
        if isinstance(document, Manifest):
            return document
        child = parse_manifest(read_document(self.store.content, document.manifests[0]))
        assert isinstance(child, Manifest)
        return child

    @property
    def index(self) -> ModelIndex:
        layer = index_layer_of(self.manifest)
        assert layer is not None
        return parse_index_layer(read_document(self.store.content, layer))

    def publish_index(self, index: ModelIndex) -> None:
        """The same layers under another index."""
        old = index_layer_of(self.manifest)
        new = layer_of(self.store, {INDEX_PATH: index.to_json()}, LayerKind.INDEX)
        self.publish(image_of(self.store, [new if d == old else d for d in self.manifest.layers]))

    def change_files(self, change: Callable[[IndexedFile], IndexedFile]) -> None:
        layers = (replace(layer, files=tuple(map(change, layer.files))) for layer in self.index.layers)
        self.publish_index(replace(self.index, layers=tuple(layers)))

    def damage(self, path: str, at: int) -> None:
        """Flip a bit of a file in the layout."""
        layer, file = next((x, f) for x in self.index.layers for f in x.files if f.path == path)
        blob = self.layout / "blobs" / layer.digest.algorithm / layer.digest.hex
        blob.chmod(0o600)
        with blob.open("r+b") as content:
            content.seek(file.offset + at % file.size)
            byte = content.read(1)[0]
            content.seek(-1, os.SEEK_CUR)
            content.write(bytes([byte ^ 1]))


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path, make_checkpoint(tmp_path / "model", shards=2, elements=LARGE))


@pytest.fixture
def registry() -> Iterator[str]:
    with running_registry() as address:
        yield address


def pushed(image: Image, registry: str) -> Reference:
    ref = Reference.parse(f"{registry}/org/model:v1")
    with Registry() as client:
        client.push(image.store.content, image.root, ref)
    return ref


def contents(source: Any, **options: Any) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {n: (t.dtype, t.shape, bytes(t.data)) for n, t in load(source, framework="raw", **options).items()}


@pytest.mark.slow
def test_an_image_gives_the_tensors_of_its_folder(image: Image, registry: str) -> None:
    expected = contents(image.checkpoint)
    assert len(expected) == 2
    assert contents(image.source) == expected
    assert contents(pushed(image, registry)) == expected
    assert contents(f"{registry}/org/model:v1", workers=1) == expected


@pytest.mark.slow
def test_an_image_that_is_not_there(registry: str, tmp_path: Path) -> None:
    with pytest.raises(RemoteNotFound):
        load(f"{registry}/org/nothing:v1")
    with pytest.raises(NotFound):
        load(f"oci:{tmp_path / 'nothing'}")


@pytest.mark.slow
def test_small_parts_cost_few_bytes(image: Image, registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = Registry.open_blob

    def open_blob(self: Registry, ref: Reference, descriptor: Descriptor, *args: Any, **kwargs: Any) -> Any:
        stream = real(self, ref, descriptor, *args, **kwargs)
        asked.append(stream.size)
        return stream

    ref = pushed(image, registry)
    index = index_layer_of(image.manifest)
    assert index is not None
    monkeypatch.setattr(Registry, "open_blob", open_blob)
    part = Part(ranges=((LARGE - 10, LARGE),))
    loaded = load(ref, framework="numpy", rank=lambda name, *_: part if name == "model.layers.2.weight" else None)
    whole = load(image.checkpoint, framework="numpy")
    assert list(loaded) == ["model.layers.2.weight"]
    assert np.array_equal(loaded["model.layers.2.weight"], whole["model.layers.2.weight"][-10:])
    weights = (
        sum(asked) - index.size - sum(f.size for x in image.index.layers for f in x.files if f.path.endswith("json"))
    )
    assert weights <= 2 * CHUNK_SIZE  # one with the file's header, one with the part


@pytest.mark.parametrize("at", [0, 100, CHUNK_SIZE + 5, -1])
def test_not_a_tensor_of_a_damaged_chunk_is_handed_out(image: Image, at: int) -> None:
    image.damage("model-00002-of-00002.safetensors", at)
    seen: list[str] = []

    def take() -> None:
        for name, _ in stream(image.source, framework="raw", window=0):
            seen.append(name)

    with pytest.raises(DigestMismatch, match=r"^model-00002-of-00002.safetensors: the \d+ bytes from \d+ on of layer"):
        take()
    assert seen == ["model.layers.1.weight"]


@pytest.mark.slow
def test_a_registry_that_sends_other_bytes(image: Image, registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = pushed(image, registry)
    real = BlobStream.read

    def read(self: BlobStream, n: int | None = -1, /) -> bytes:
        data = real(self, n)
        return bytes([data[0] ^ 1]) + data[1:] if self.size > CHUNK_SIZE and data else data

    monkeypatch.setattr(BlobStream, "read", read)
    with pytest.raises(DigestMismatch, match=r"are not what the model index promises$"):
        load(ref, framework="raw")


def test_what_is_damaged_elsewhere_is_not_looked_at(image: Image) -> None:
    image.damage("model-00002-of-00002.safetensors", -1)
    assert list(load(image.source, framework="raw", rank=lambda name, *_: Part() if ".1." in name else None)) == [
        "model.layers.1.weight"
    ]


class TestIndexesThatLie:
    def test_tensors_that_are_not_those_of_the_header(self, image: Image) -> None:
        def rename(file: IndexedFile) -> IndexedFile:
            return replace(file, tensors=tuple(replace(t, name=f"other.{t.name}") for t in file.tensors))

        image.change_files(rename)
        with pytest.raises(InvalidContent, match=r"the model index lists other tensors of .* than its own header does"):
            load(image.source)

    def test_a_header_that_the_file_has_not(self, image: Image) -> None:
        """All of the index agrees with itself, and the chunks are those of the layer."""

        def retype(file: IndexedFile) -> IndexedFile:
            tensors = tuple(replace(t, dtype="I16") for t in file.tensors)
            header = file.header.replace(b'"BF16"', b'"I16" ') if file.header else None
            return replace(file, tensors=tensors, header=header)

        image.change_files(retype)
        with pytest.raises(InvalidContent, match="the model index gives it another header than it has"):
            load(image.source)

    def test_a_header_that_is_no_header(self, image: Image) -> None:
        def spoil(file: IndexedFile) -> IndexedFile:
            return replace(file, header=b"\xff" * len(file.header)) if file.header else file

        image.change_files(spoil)
        with pytest.raises(
            InvalidContent, match=r"about the header of .*: claims a header of 18446744073709551615 bytes"
        ):
            load(image.source)

    def test_a_header_that_goes_on_where_the_index_ends(self, image: Image) -> None:
        def lengthen(file: IndexedFile) -> IndexedFile:
            return replace(file, header=b"\0\1" + file.header[2:]) if file.header else file

        image.change_files(lengthen)
        with pytest.raises(InvalidContent, match="the model index misleads about the header of"):
            load(image.source)

    def test_a_file_of_another_format(self, image: Image) -> None:
        image.change_files(lambda file: replace(file, format="gguf") if file.format == "safetensors" else file)
        with pytest.raises(InvalidContent, match="the model index calls it gguf"):
            load(image.source)

    def test_layers_that_the_manifest_does_not_list(self, image: Image) -> None:
        weights = image.manifest.layers[0]
        image.publish(image_of(image.store, [d for d in image.manifest.layers if d != weights]))
        with pytest.raises(InvalidContent, match=r"names the shard 'model-00001-of-00002.safetensors', which is"):
            load(image.source)

    def test_layers_that_the_index_leaves_out(self, image: Image) -> None:
        image.publish_index(replace(image.index, layers=image.index.layers[1:]))
        with pytest.raises(NotFound, match="the model index says nothing of"):
            load(image.source)

    def test_no_index_at_all(self, image: Image) -> None:
        index = index_layer_of(image.manifest)
        image.publish(image_of(image.store, [d for d in image.manifest.layers if d != index]))
        with pytest.raises(NotFound, match="no model index"):
            load(image.source)


def test_a_header_that_is_too_long_for_the_index(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model"
    checkpoint.mkdir()
    content = safetensors_bytes({"a": ("U8", (3,), b"abc")}, pad=MAX_RAW)
    (checkpoint / "model.safetensors").write_bytes(content)
    (checkpoint / "config.json").write_text("{}")
    age(checkpoint)
    image = Image(tmp_path, checkpoint)
    assert image.index.layers[0].files[0].header is None
    assert contents(image.source) == {"a": ("U8", (3,), b"abc")}


def test_a_subfolder_of_an_image(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model"
    for name in ("unet", "vae"):
        (checkpoint / name).mkdir(parents=True)
        file = safetensors_bytes({name: ("U8", (3,), b"abc")})
        (checkpoint / name / "diffusion_pytorch_model.safetensors").write_bytes(file)
    (checkpoint / "model_index.json").write_text('{"_class_name": "Pipeline", "unet": ["a", "b"], "vae": ["a", "b"]}')
    age(checkpoint)
    image = Image(tmp_path, checkpoint)
    assert list(contents(image.source, subfolder="vae")) == ["vae"]
    with pytest.raises(NotFound, match="there are no safetensors files directly in oci:"):
        load(image.source)


class TestRanks:
    def write(self, folder: Path) -> dict[str, np.ndarray[Any, Any]]:
        folder.mkdir()
        rng = np.random.default_rng(1)
        shapes = {
            "model.embed_tokens.weight": (32, 8),
            "model.layers.0.self_attn.q_proj.weight": (16, 8),
            "model.layers.0.self_attn.o_proj.weight": (8, 16),
            "model.layers.0.input_layernorm.weight": (8,),
        }
        tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        config = '{"architectures":["LlamaForCausalLM"],"model_type":"llama","num_hidden_layers":1,"hidden_size":8,'
        config += '"num_attention_heads":4,"num_key_value_heads":4,"head_dim":4,"vocab_size":32}'
        (folder / "config.json").write_text(config)
        content = {name: ("F32", value.shape, value.tobytes()) for name, value in tensors.items()}
        (folder / "model.safetensors").write_bytes(safetensors_bytes(content))
        age(folder)
        return tensors

    def test_the_ranks_of_an_engine_have_the_whole_together(self, tmp_path: Path) -> None:
        tensors = self.write(tmp_path / "model")
        image = Image(tmp_path, tmp_path / "model")
        for source in (tmp_path / "model", tmp_path / "model" / "model.safetensors", image.source):
            ranks = [load(source, framework="numpy", rank=rank, tp=2) for rank in (0, 1)]
            for name, whole in tensors.items():
                pieces = [rank[name] for rank in ranks]
                if "layernorm" in name:
                    assert all(np.array_equal(piece, whole) for piece in pieces)
                else:
                    dim = 1 if "o_proj" in name else 0
                    assert np.array_equal(np.concatenate(pieces, axis=dim), whole)

    def test_a_rank_that_is_not_there(self, tmp_path: Path) -> None:
        self.write(tmp_path / "model")
        with pytest.raises(UsageError):
            load(tmp_path / "model", rank=2, tp=2)

    def test_a_division_without_a_rank(self, tmp_path: Path) -> None:
        self.write(tmp_path / "model")
        with pytest.raises(UsageError, match="`rank` is no number"):
            load(tmp_path / "model", tp=2)
