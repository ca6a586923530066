from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.checkpoint import open_checkpoint
from modelcar.errors import MalformedFile, SourceError, UnsafePath
from tests.support.weights import gguf_bytes, simple_safetensors
from tests.unit.checkpoint.conftest import Tree

Folder = Callable[..., Path]

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"


def sharded(weight_map: object, **more: bytes) -> Tree:
    index = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    return {ONE: simple_safetensors("a", "b"), TWO: simple_safetensors("c"), INDEX: index, **more}


RIGHT = {"a": ONE, "b": ONE, "c": TWO}


def test_index_of_a_variant(folder: Folder) -> None:
    tree = sharded(RIGHT) | {"m.safetensors.index.fp16.json": '{"weight_map": {"a": "gone.safetensors"}}'}
    with pytest.raises(MalformedFile, match="names the shard 'gone"):
        open_checkpoint(str(folder(tree))).headers()


def test_right_index(folder: Folder) -> None:
    headers = open_checkpoint(str(folder({f"sub/{p}": c for p, c in sharded(RIGHT).items()}))).headers()
    assert list(headers) == [f"sub/{ONE}", f"sub/{TWO}"]


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({**RIGHT, "d": "model-3.safetensors"}, "names the shard 'model-3.safetensors', which is not there"),
        ({**RIGHT, "d": "config.json"}, "names the shard 'config.json', which is not there"),
        ({**RIGHT, "b": TWO}, f"places tensor 'b' in '{TWO}', but it lies in '{ONE}'"),
        ({**RIGHT, "d": TWO}, f"places tensor 'd' in '{TWO}', but no file has it"),
        ({"a": ONE, "c": TWO}, f"does not know tensor 'b', which lies in '{ONE}'"),
        ({**RIGHT, "d": 7}, "gives no file name for tensor 'd'"),
        ({}, "has no 'weight_map'"),
        ([], "has no 'weight_map'"),
        (None, "has no 'weight_map'"),
    ],
)
def test_wrong_index(weight_map: object, said: str, folder: Folder) -> None:
    checkpoint = open_checkpoint(str(folder(sharded(weight_map))))
    with pytest.raises(MalformedFile) as caught:
        checkpoint.headers()
    assert str(caught.value) == f"{INDEX}: {said}"
    assert caught.value.hint


@pytest.mark.parametrize("shard", ["../w.safetensors", "/w.safetensors", "a//b", "", "./a", "a\\b"])
def test_index_that_leads_elsewhere(shard: str, folder: Folder) -> None:
    checkpoint = open_checkpoint(str(folder(sharded({"a": shard}))))
    with pytest.raises(UnsafePath, match="no path below it"):
        checkpoint.headers()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "holds no JSON object"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ('{"a":' + "9" * 10_000 + "}", "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        ("{" + '"":0,' * 2_000_001, "holds more than 2000000 values"),
        (" " * (64 * 2**20 + 1), "the limit is 67108864"),
    ],
)
def test_index_that_is_a_bomb_or_broken(content: str | bytes, said: str, folder: Folder) -> None:
    checkpoint = open_checkpoint(str(folder({**sharded(RIGHT), INDEX: content})))
    with pytest.raises(MalformedFile, match=said):
        checkpoint.headers()


def test_tensor_in_two_shards_is_fine_where_the_index_says_which(folder: Folder) -> None:
    tree = sharded(RIGHT) | {TWO: simple_safetensors("c", "a")}
    assert len(open_checkpoint(str(folder(tree))).headers()) == 2


@pytest.mark.parametrize("ending", ["safetensors", "gguf"])
def test_missing_shard_without_an_index(ending: str, folder: Folder) -> None:
    content = simple_safetensors("a") if ending == "safetensors" else gguf_bytes()
    checkpoint = open_checkpoint(str(folder({f"w-0000{n}-of-00003.{ending}": content for n in (1, 3)})))
    with pytest.raises(MalformedFile, match=rf"is one of 3 shards, and 'w-00002-of-00003\.{ending}' is missing"):
        checkpoint.headers()


def test_shards_that_claim_to_be_very_many(folder: Folder) -> None:
    checkpoint = open_checkpoint(str(folder({"w-00001-of-99999.gguf": gguf_bytes()})))
    with pytest.raises(SourceError, match=r"'w-00002-of-99999\.gguf' is missing"):
        checkpoint.headers()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.safetensors", gguf_bytes(), "is a gguf file under the name of a safetensors file"),
        ("m.safetensors", b"\x80\x02}q\x00.", "is a pickle file under the name of a safetensors file"),
        ("m.safetensors", b"PK\x03\x04" + bytes(60), "is a zip file under the name of a safetensors file"),
        ("m.gguf", simple_safetensors("a"), "is a safetensors file under the name of a gguf file"),
        ("m.gguf", b"text", "is no gguf file under the name of a gguf file"),
        ("m.safetensors", b"text", "is 4 bytes long"),
    ],
)
def test_file_that_is_not_what_its_name_says(name: str, content: bytes, said: str, folder: Folder) -> None:
    checkpoint = open_checkpoint(str(folder({name: content})))
    with pytest.raises(MalformedFile, match=f"{name}: {said}"):
        checkpoint.headers()


def test_content_decides_whatever_the_name(folder: Folder) -> None:
    root = folder({"renamed.bin": simple_safetensors("a"), "other.dat": gguf_bytes()})
    assert {path: header.format for path, header in open_checkpoint(str(root)).headers().items()} == {
        "renamed.bin": "safetensors",
        "other.dat": "gguf",
    }
