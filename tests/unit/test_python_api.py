"""What `import modelcar` gives, and that its how-to works as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelcar
from modelcar.cli import main
from registry_shim.testing import running_registry
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.signing import cheap_passwords

pytestmark = pytest.mark.slow

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "python.md"


def test_the_public_names() -> None:
    assert modelcar.__all__ == [
        "Checkpoint",
        "ClientSettings",
        "LocalStore",
        "ModelcarError",
        "Progress",
        "Reference",
        "Registry",
        "__version__",
        "build",
        "convert",
        "errors",
        "load",
        "open_checkpoint",
        "open_model",
        "pull",
        "push",
        "stream",
    ]
    for name in modelcar.__all__:
        assert getattr(modelcar, name) is not None
        assert name in dir(modelcar)
    with pytest.raises(AttributeError, match="'modelcar' has no attribute 'sell'"):
        modelcar.sell  # noqa: B018  # asked for, not used


def test_importing_it_imports_nothing_else() -> None:
    program = "import sys; before = set(sys.modules); import modelcar; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd="/",
                          env={"PYTHONPATH": str(HOW_TO.parents[2])})  # fmt: skip
    loaded = {name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}
    assert loaded == {"modelcar"}


def test_errors_are_at_hand_without_another_import() -> None:
    program = (
        "import modelcar\ntry: modelcar.open_checkpoint('/nowhere')\nexcept modelcar.errors.SourceError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "there is no '/nowhere'\n"


def test_the_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_checkpoint(tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    blocks = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    assert len(blocks) == 8
    with running_registry() as address:
        exec("\n".join(blocks).replace("localhost:5000", address), {})  # noqa: S102  # our own document
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "my-model")
    printed = capsys.readouterr().out
    assert "copy is not empty" in printed
    assert "TinyForCausalLM ('Apache-2.0',)" in printed
    assert "['v1', 'v1-modelpack', 'v3', 'v3-modelpack', 'v4', 'v4-modelpack']" in printed
    assert set(files_of(tmp_path / "small-files")) < set(files_of(tmp_path / "my-model"))
    assert "clean " in printed
    assert "the first shard's header has 88 bytes" in printed


@pytest.mark.parametrize("packing", ["estargz", "soci"])
def test_an_image_for_another_snapshotter(tmp_path: Path, packing: str) -> None:
    store = modelcar.LocalStore(tmp_path / "home")
    checkpoint = modelcar.open_checkpoint(make_checkpoint(tmp_path / "model"))
    plain = modelcar.build(checkpoint, "localhost:5000/a:v1", scan=False, store=store)
    packed = modelcar.build(checkpoint, "localhost:5000/a:v2", packing=packing, scan=False, store=store)
    assert packed.digest != plain.digest
    images = (plain.image, packed.image)
    sizes = [[layer.descriptor.size for layer in image.layers if layer.kind == "weights"] for image in images]
    assert (sizes[0] == sizes[1]) == (packing == "soci")


def test_a_packing_that_there_is_not(tmp_path: Path) -> None:
    store = modelcar.LocalStore(tmp_path / "home")
    with pytest.raises(modelcar.errors.UsageError, match="'zip' is not a way to pack layers"):
        modelcar.build(make_checkpoint(tmp_path / "model"), "localhost:5000/a:v1", packing="zip", store=store)


def test_build_signs_and_pushes_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    cheap_passwords(monkeypatch)
    assert main(["keygen", "-o", str(tmp_path / "key")]) == 0
    model = make_checkpoint(tmp_path / "model")
    with running_registry() as address:
        key = next(tmp_path.glob("key*.key"))
        built = modelcar.build(model, f"{address}/acme/x:v1", push=True, sign_key=key)
        assert built.signatory is not None
        assert built.moved is not None
        assert built.moved.sent > 300_000
        public = str(next(tmp_path.glob("key*.pub")))
        assert main(["verify", built.name, "--key", public, "--remote"]) == 0
        parts = modelcar.pull(built.name, tmp_path / "parts", include=["*.json"], remote=True)
        assert set(files_of(tmp_path / "parts")) == {path for path in files_of(model) if path.endswith(".json")}
        store = modelcar.LocalStore(tmp_path / "other")
        assert modelcar.pull(built.name, store=store).root == parts.root
        assert list(store.names.list()) == [built.name]
    monkeypatch.delenv("COSIGN_PASSWORD")
    with pytest.raises(modelcar.errors.UsageError, match="the key has a password"):
        modelcar.build(model, "localhost:5000/a:v1", sign_key=key, store=store)


def test_what_makes_no_sense(tmp_path: Path) -> None:
    store, model = modelcar.LocalStore(tmp_path / "home"), make_checkpoint(tmp_path / "model")
    with pytest.raises(modelcar.errors.UsageError, match="--no-cache keeps no weights"):
        modelcar.build(model, "localhost:5000/a:v1", keep=False, store=store)
    with pytest.raises(modelcar.errors.UsageError, match="takes a whole image"):
        modelcar.pull("localhost:5000/a:v1", include=["*"], store=store)
    with pytest.raises(modelcar.errors.UsageError, match="no name to keep it under"):
        modelcar.pull("oci:/nowhere", store=store)
    assert list(store.names.list()) == []
