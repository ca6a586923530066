"""The format is documented well enough to be read by a program that shares no code with ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.images.operations import build, push
from modelcar.oci import Reference
from modelcar.registry import Registry
from modelcar.store import LocalStore
from registry_shim.testing import running_registry
from tests.support import independent_reader
from tests.support.architectures import llama, write_checkpoint
from tests.support.independent_reader import Liar, Repository
from tests.support.lying_indexes import first_manifest, lie

pytestmark = pytest.mark.slow

MODEL = llama(layers=2, vocabulary=65_536)  # its embedding lies in several chunks
NAME = "org/llama"


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with running_registry() as address:
        yield address


@pytest.fixture(scope="module")
def content(registry: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tensors of an image that is in the registry."""
    folder = tmp_path_factory.mktemp("model")
    content = write_checkpoint(folder / "llama", MODEL)
    store = LocalStore(folder / "home")
    built = build(folder / "llama", f"{registry}/{NAME}:v1", store=store)
    push(f"{registry}/{NAME}:v1", store=store)

    def damage(blob: bytearray, number: int) -> None:
        if number == 0:
            blob[len(blob) // 2] ^= 1

    lying = lie(store.content, first_manifest(store.content, built.image.index), blob=damage, rehash=True)
    with Registry() as client:
        client.push(lying.store, lying.root, Reference.parse(f"{registry}/{NAME}:lying"))
    return content


def test_it_reads_every_tensor(registry: str, content: dict[str, bytes]) -> None:
    repository = Repository(f"http://{registry}", NAME)
    assert len(content["model.embed_tokens.weight"]) == 4 << 20
    for name, (dtype, shape) in MODEL.tensors.items():
        assert repository.tensor("v1", name) == (dtype, list(shape), content[name])
    with pytest.raises(KeyError):
        repository.tensor("v1", "nothing")


def test_it_finds_out_who_lies(registry: str, content: dict[str, bytes]) -> None:
    repository = Repository(f"http://{registry}", NAME)
    results = []
    for name, data in content.items():
        try:
            results.append(repository.tensor("lying", name)[2] == data)
        except Liar:
            results.append(False)
    assert 0 < results.count(False) < len(results)  # what lies in the chunk that does not fit, and nothing else


def test_it_is_a_program(registry: str, content: dict[str, bytes]) -> None:
    command = [sys.executable, "-I", str(independent_reader.__file__), f"http://{registry}", NAME, "v1"]
    done = subprocess.run(
        [*command, "model.norm.weight"], capture_output=True, text=True, check=True, timeout=60, cwd="/"
    )
    assert done.stdout.startswith(f"BF16 [32] {len(content['model.norm.weight'])} ")


def test_it_uses_nothing_of_ours_and_is_short() -> None:
    text = Path(str(independent_reader.__file__)).read_text()
    assert text.count("\n") <= 120
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in sys.stdlib_module_names for name in names), names
