"""`make demo`: a real checkpoint becomes an image, goes to a registry, comes back, and is compared bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table
from safetensors import safe_open

from examples.quickstart.checkpoint import download, reshard

BIN = Path(sys.executable).parent
CACHE = Path(__file__).parents[2] / ".cache" / "models"
console = Console(highlight=False)


def main() -> int:
    console.print("[bold]modelcar demo[/]: a checkpoint, an image, a registry, and back\n")
    model = download(CACHE)
    with TemporaryDirectory(prefix="modelcar-demo-") as folder:
        root = Path(folder)
        shards = reshard(model, root / "all-MiniLM-L6-v2")
        console.print(f"checkpoint   all-MiniLM-L6-v2, in {shards} safetensors shards\n")
        os.environ["MODELCAR_HOME"] = str(root / "home")
        with registry(root / "registry") as address:
            return tour(root, f"{address}/sentence-transformers/all-minilm-l6-v2:v1")


def tour(root: Path, ref: str) -> int:
    """Build, push, pull, compare; returns the exit status."""
    source, copy = root / "all-MiniLM-L6-v2", root / "copy"
    built = modelcar("build", str(source), "-t", ref)
    again = modelcar("build", str(source), "-t", ref)
    pushed = modelcar("push", ref)
    pulled = modelcar("pull", ref, "-o", str(copy), "--remote")
    began = time.monotonic()
    tensors, compared = compare(source, copy)
    seconds = time.monotonic() - began

    layers = Table(box=None, pad_edge=False, header_style="bold", title="\nthe image", title_justify="left")
    for column, justify in (("layer", "left"), ("kind", "left"), ("size", "right"), ("sha256", "left")):
        layers.add_column(column, justify=justify)  # type: ignore[arg-type]  # one of rich's words for it
    for layer in built["layers"]:
        layers.add_row(layer["label"], layer["kind"], size(layer["size"]), layer["digest"][7:19])
    console.print(layers)

    steps = Table(box=None, pad_edge=False, header_style="bold", title="\nwhat happened", title_justify="left")
    for column, justify in (("step", "left"), ("bytes", "right"), ("time", "right"), ("", "left")):
        steps.add_column(column, justify=justify)  # type: ignore[arg-type]  # one of rich's words for it
    on_disk = disk_usage(root / "home")
    steps.add_row(
        "build", size(built["modelSize"]), f"{built['seconds']:.2f} s", f"{size(on_disk)} written, no weights"
    )
    steps.add_row(
        "build again", "0 B", f"{again['seconds']:.2f} s", f"same digest: {again['digest'] == built['digest']}"
    )
    steps.add_row("push", size(pushed["size"]), f"{pushed['seconds']:.2f} s", "weights sent from where they lie")
    steps.add_row("pull", size(pulled["size"]), f"{pulled['seconds']:.2f} s", f"{pulled['files']} files, verified")
    steps.add_row("compare", size(compared), f"{seconds:.2f} s", f"{tensors} tensors, bit for bit equal")
    console.print(steps)
    console.print(f"\n{ref}\n{pulled['digest']}")
    same = built["digest"] == again["digest"] == pulled["digest"]
    console.print("[bold green]the model came back as it was[/]" if same else "[bold red]digests differ[/]")
    return 0 if same else 1


def modelcar(*arguments: str) -> dict[str, Any]:
    """Run the command as a user would, showing it; returns its JSON answer."""
    console.print(f"[bold]$[/] modelcar {' '.join(arguments)}", soft_wrap=True)
    done = subprocess.run([BIN / "modelcar", *arguments, "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{done.stderr.strip()}\nthe demo stops here (exit status {done.returncode})")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@contextmanager
def registry(root: Path) -> Iterator[str]:
    """The embedded registry on a free port of this machine; yields its address."""
    shim, folder = str(BIN / "registry-shim"), str(root)
    command = [shim, "serve", "--root", folder, "--listen", "127.0.0.1:0", "--writable", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None  # noqa: S101  # a pipe was asked for
            answer = server.stdout.readline()
            if not answer:
                raise SystemExit("the embedded registry did not start")
            yield json.loads(answer)["address"]
        finally:
            server.send_signal(signal.SIGTERM)


def compare(source: Path, copy: Path) -> tuple[int, int]:
    """Compare every file byte for byte and every tensor through `safetensors`; returns (tensors, bytes of them)."""
    files = sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file())
    if files != sorted(p.relative_to(copy) for p in copy.rglob("*") if p.is_file()):
        raise SystemExit("the folders do not hold the same files")
    count = total = 0
    for name in files:
        if (source / name).read_bytes() != (copy / name).read_bytes():
            raise SystemExit(f"{name} differs")
        if name.suffix != ".safetensors":
            continue
        with safe_open(source / name, framework="numpy") as before, safe_open(copy / name, framework="numpy") as after:
            if before.keys() != after.keys():
                raise SystemExit(f"{name} holds other tensors")
            for tensor in before.keys():  # noqa: SIM118  # not a mapping
                a, b = before.get_tensor(tensor), after.get_tensor(tensor)
                if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                    raise SystemExit(f"{tensor} differs")
                count, total = count + 1, total + a.nbytes
    return count, total


def size(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e5 else f"{n / 1e3:.1f} kB" if n >= 1000 else f"{n} B"


def disk_usage(root: Path) -> int:
    return sum(p.stat().st_size for p in root.rglob("*") if p.is_file())


if __name__ == "__main__":
    sys.exit(main())
