"""hf:// through the commands, with the Hub's real client against a hub on loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import constants

from modelcar.checkpoint import HubOptions, pieces
from modelcar.oci import Digest, Reference
from modelcar.registry import Registry
from modelcar.store.tree import walk
from tests.support.checkpoints import files_of
from tests.support.hub import COMMIT, Failure, FakeHub, Repo
from tests.support.weights import simple_safetensors
from tests.unit.cli.conftest import ModelcarCli

pytestmark = pytest.mark.slow

SOURCE = "hf://org/name"
WEIGHTS = ".safetensors"


@pytest.fixture
def hub(checkpoint: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the model of `checkpoint`; pieces are small, and nobody waits between attempts."""
    with FakeHub() as hub:
        hub.repos["org/name"] = Repo(dict(files_of(checkpoint)))
        options = partial(HubOptions, endpoint=hub.endpoint, cache=tmp_path / "cache")  # read from HF_… at import
        monkeypatch.setattr("modelcar.images.sources.HubOptions", options)
        monkeypatch.setattr("modelcar.images.provenance.HubOptions", options)
        monkeypatch.setattr(pieces, "PIECE", 4096)
        monkeypatch.setattr("modelcar.checkpoint.hub_source.sleep", lambda _: None)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def cached(tmp_path: Path) -> list[str]:
    root = tmp_path / "cache" / "models--org--name" / "snapshots" / COMMIT
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def headers_of(hub: FakeHub) -> int:
    """Bytes that the heads and headers of all weights have together."""
    files = {path: content for path, content in hub.repos["org/name"].files.items() if path.endswith(WEIGHTS)}
    contents = [content if isinstance(content, bytes) else content.read_bytes() for content in files.values()]
    return sum(512 + 8 + int.from_bytes(content[:8], "little") for content in contents)


def test_a_plan_reads_no_weights(modelcar: ModelcarCli, hub: FakeHub, checkpoint: Path, tmp_path: Path) -> None:
    plan = modelcar.json("plan", SOURCE)
    assert hub.sent_of(WEIGHTS) <= headers_of(hub)
    assert not [path for path in cached(tmp_path) if path.endswith(WEIGHTS)]
    local = modelcar.json("plan", checkpoint)
    assert [layer["files"] for layer in plan["layers"]] == [layer["files"] for layer in local["layers"]]
    assert plan["bytesToRead"] == local["bytesToRead"]
    assert plan["annotations"]["dev.modelcar.source.revision"] == COMMIT
    assert modelcar.json("plan", SOURCE, "--tp", "2")["ranks"]
    assert not [path for path in cached(tmp_path) if path.endswith(WEIGHTS)]


def test_a_build_is_that_of_the_snapshot(modelcar: ModelcarCli, hub: FakeHub, ref: str, tmp_path: Path) -> None:
    pushed = modelcar.json("build", SOURCE, "-t", ref, "--push")
    sizes = {
        path: len(bytes(content)) for path, content in hub.repos["org/name"].files.items() if isinstance(content, bytes)
    }
    assert hub.sent_of(WEIGHTS) <= sum(n for path, n in sizes.items() if path.endswith(WEIGHTS)) + headers_of(hub)
    assert cached(tmp_path) == sorted(sizes)
    modelcar("pull", ref, "-o", tmp_path / "copy", "-q")
    assert files_of(tmp_path / "copy") == hub.repos["org/name"].files
    folder = tmp_path / "cache" / "models--org--name" / "snapshots" / COMMIT
    assert modelcar.json("build", folder, "-t", "acme/other:v1")["digest"] == pushed["digest"]


def test_what_the_hub_promises_is_recorded(modelcar: ModelcarCli, hub: FakeHub, ref: str) -> None:
    modelcar("build", SOURCE, "-t", ref, "-q")
    recorded = {file["path"]: file["digest"] for file in modelcar.json("inspect", ref)["files"]}
    promised = {
        path: f"sha256:{hashlib.sha256(bytes(c)).hexdigest()}"
        for path, c in hub.repos["org/name"].files.items()
        if isinstance(c, bytes)
    }
    assert recorded == promised


def test_a_rerun_moves_no_weights(modelcar: ModelcarCli, hub: FakeHub, ref: str) -> None:
    first = modelcar.json("build", SOURCE, "-t", ref, "--push")
    hub.sent.clear()
    again = modelcar.json("build", SOURCE, "-t", ref, "--push")
    assert again["digest"] == first["digest"]
    assert hub.sent_of(WEIGHTS) == 0


def test_a_download_that_was_broken_off_goes_on(modelcar: ModelcarCli, hub: FakeHub, ref: str) -> None:
    hub.failures["org/name"] = Failure(503, path="model-00002", after=50_000)
    modelcar.refusal(3, "build", SOURCE, "-t", ref, "--push")
    assert not modelcar.json("list")
    before = hub.sent_of("00002-of-00003.safetensors")
    hub.failures.clear()
    modelcar("build", SOURCE, "-t", ref, "--push", "-q")
    shard = hub.repos["org/name"].files["model-00002-of-00003.safetensors"]
    assert isinstance(shard, bytes)
    assert hub.sent_of("00002-of-00003.safetensors") - before < len(shard) + headers_of(hub)
    assert modelcar.json("verify", ref, "--source", "--remote")["source"]["revision"] == COMMIT


def test_storage_that_hangs_up_or_is_busy_is_asked_again(modelcar: ModelcarCli, hub: FakeHub, ref: str) -> None:
    hub.failures["org/name"] = Failure(503, {"Retry-After": "1"}, times=3, path="/storage/")
    hub.failures["again"] = Failure(0, path="model-00001", cut=1000, times=2)
    modelcar("build", SOURCE, "-t", ref, "-q")


def test_a_signed_url_whose_time_is_over_is_asked_for_anew(modelcar: ModelcarCli, hub: FakeHub, ref: str) -> None:
    hub.tokens.add("hf_known")
    modelcar("plan", SOURCE, "-q")
    hub.signed = "s2"
    modelcar("build", SOURCE, "-t", ref, "-q")
    assert not hub.tokens_at_storage, "nobody but the Hub sees the token"


def test_other_bytes_than_promised(modelcar: ModelcarCli, hub: FakeHub, ref: str, tmp_path: Path) -> None:
    hub.lies["model-00002-of-00003.safetensors"] = "ab" * 32
    refusal = modelcar.refusal(1, "build", SOURCE, "-t", ref, "--push")
    assert "model-00002-of-00003.safetensors of hf://org/name hashes to" in refusal.line
    assert not modelcar.json("list")
    assert "model-00002-of-00003.safetensors" not in cached(tmp_path)


def test_no_cache(modelcar: ModelcarCli, hub: FakeHub, ref: str, tmp_path: Path) -> None:
    plain = modelcar.json("build", SOURCE, "-t", "acme/plain:v1")
    modelcar("rm", "acme/plain:v1")
    modelcar("gc", "-q")
    (tmp_path / "cache").rename(tmp_path / "away")
    hub.sent.clear()
    passed = modelcar.json("build", SOURCE, "-t", ref, "--push", "--no-cache")
    assert passed["digest"] == plain["digest"]
    assert not cached(tmp_path)
    assert not [path for path in (modelcar.home / "spool").rglob("*") if path.is_file()]
    kept = sum(path.stat().st_size for path in (modelcar.home / "store").rglob("*") if path.is_file())
    assert kept < plain["modelSize"] // 2
    assert hub.sent_of(WEIGHTS) > plain["modelSize"] // 2
    refusal = modelcar.refusal(2, "export", ref, "-o", tmp_path / "layout")
    assert "is not on this machine: it is in" in refusal.line
    assert "--no-cache" in refusal.hint
    assert modelcar.json("push", ref)["sent"] == 0
    other = modelcar.json("push", ref, ref.replace("/tiny:", "/other:"))
    assert other["sent"] < plain["modelSize"] // 3, "weights are mounted"
    modelcar("inspect", ref, "-q")
    modelcar("pull", ref, "-o", tmp_path / "copy", "-q")
    assert files_of(tmp_path / "copy") == hub.repos["org/name"].files
    hub.sent.clear()
    again = ("build", SOURCE, "-t", ref, "--push", "--no-cache")
    assert modelcar.json(*again, "--no-scan")["digest"] == passed["digest"]
    assert hub.sent_of(WEIGHTS) <= 2 * headers_of(hub), "what the registry has is not brought again"
    hub.sent.clear()
    assert modelcar.json(*again)["verdict"] == "clean"
    assert hub.sent_of(WEIGHTS) <= 2 * headers_of(hub), "nor is what was scanned"
    for path in (modelcar.home / "scans").rglob("*.json"):
        path.unlink()
    assert modelcar.json(*again)["verdict"] == "clean", "what is not brought is scanned from afar"
    modelcar("rm", ref)
    modelcar("gc", "-q")
    assert not [path for path in (modelcar.home / "store" / "elsewhere").rglob("*") if path.is_file()]


def test_no_cache_needs_a_place_to_go(modelcar: ModelcarCli, hub: FakeHub, ref: str, checkpoint: Path) -> None:
    assert modelcar.refusal(2, "build", SOURCE, "-t", ref, "--no-cache").hint.startswith("add --push")
    refusal = modelcar.refusal(2, "build", checkpoint, "-t", ref, "--no-cache", "--push")
    assert "for sources elsewhere" in refusal.line


def test_gated(modelcar: ModelcarCli, hub: FakeHub, ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["org/name"].gated = True
    hub.tokens.add("hf_known")
    refusal = modelcar.refusal(3, "plan", SOURCE)
    assert refusal.line == "hf://org/name is gated"
    assert "hf auth login" in refusal.hint
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refusal = modelcar.refusal(3, "build", SOURCE, "-t", ref)
    assert "refuses hf://org/name to these credentials" in refusal.line
    assert "hf_wrong" not in f"{refusal}"
    monkeypatch.setenv("HF_TOKEN", "hf_known")
    modelcar("build", SOURCE, "-t", ref, "-q")
    assert not hub.tokens_at_storage


def test_two_formats_of_the_same_weights(modelcar: ModelcarCli, hub: FakeHub, ref: str) -> None:
    files = {"model.safetensors": simple_safetensors("a"), "pytorch_model.bin": b"\x80\x02}.", "config.json": b"{}"}
    hub.repos["org/two"] = Repo(
        {
            **files,
            "unet/pytorch_model-00001-of-00002.bin": b"\x80\x02}.",
            "unet/model.safetensors": files["model.safetensors"],
        }
    )
    refusal = modelcar.refusal(2, "build", "hf://org/two", "-t", ref)
    assert refusal.line == ("hf://org/two holds the same weights in 2 formats: model.safetensors and pytorch_model.bin")
    patterns = [word.strip("'") for word in refusal.hint.split() if word.startswith("'")]
    assert patterns == ["pytorch_model.bin", "unet/pytorch_model*.bin*"]
    chosen = [argument for pattern in patterns for argument in ("--ignore", pattern)]
    plan = modelcar.json("plan", "hf://org/two", *chosen)
    assert {f["path"] for layer in plan["layers"] for f in layer["files"]} == {
        "model.safetensors", "config.json", "unet/model.safetensors",
    }  # fmt: skip
    plan = modelcar.json("plan", "hf://org/two", "--allow", "*.bin", "--allow", "config.json")
    assert plan["layers"][0]["files"][0]["format"] == "pickle"


def test_patterns(modelcar: ModelcarCli, hub: FakeHub, checkpoint: Path) -> None:
    refusal = modelcar.refusal(2, "plan", SOURCE, "--allow", "nothing*")
    assert refusal.line == "no file of hf://org/name is wanted"
    assert "for sources elsewhere" in modelcar.refusal(2, "plan", checkpoint, "--allow", "*").line


def test_a_long_listing_comes_in_pages(modelcar: ModelcarCli, hub: FakeHub) -> None:
    hub.page = 2
    plan = modelcar.json("plan", SOURCE)
    assert {f["path"] for layer in plan["layers"] for f in layer["files"]} == hub.repos["org/name"].files.keys()


def test_offline_from_the_cache(modelcar: ModelcarCli, hub: FakeHub, ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = modelcar.json("build", SOURCE, "-t", ref)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert modelcar.json("build", SOURCE, "-t", ref)["digest"] == first["digest"]
    assert not hub.requests


def test_layers_in_the_registry_are_what_the_store_says(modelcar: ModelcarCli, hub: FakeHub, ref: str) -> None:
    modelcar("build", SOURCE, "-t", ref, "--push", "--no-cache", "-q")
    root = modelcar.store.names.get(ref)
    with Registry() as registry:
        for blob in walk(modelcar.store.content, root):
            if "layer" in blob.media_type:
                with registry.open_blob(Reference.parse(ref), blob) as stream:
                    state = Digest.of(b"").hasher()
                    while data := stream.read(1 << 16):
                        state.update(data)
                assert state.hexdigest() == blob.digest.hex


def test_a_diff_reads_no_weights_from_afar(modelcar: ModelcarCli, hub: FakeHub, checkpoint: Path) -> None:
    assert "are the same model" in modelcar("diff", SOURCE, checkpoint)
    assert hub.sent_of(WEIGHTS) <= headers_of(hub)
    files = dict(hub.repos["org/name"].files)
    shard = files["model-00003-of-00003.safetensors"]
    assert isinstance(shard, bytes)
    files["model-00003-of-00003.safetensors"] = shard[:-1] + bytes([shard[-1] ^ 1])
    del files["README.md"]
    hub.repos["org/other"] = Repo(files)
    status, out, _ = modelcar.run("diff", SOURCE, "hf://org/other", "--json")
    assert status == 1
    found = json.loads(out)
    assert {file["path"]: file["change"] for file in found["files"] if file["change"] != "same"} == {
        "README.md": "removed",
        "model-00003-of-00003.safetensors": "changed",
    }
    assert found["tensors"] == []
    assert found["bytesToMove"] == len(shard)
