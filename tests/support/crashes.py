"""`python -m tests.support.crashes FOLDER`: kill a process between any two steps of what it does to a store.

For k = 0, 1, 2 … a child works in `FOLDER/<k>` and is killed by SIGKILL just before its k-th call that changes the
disk, until one gets through. It has one thread, so that forking is safe.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelcar.errors import ModelcarError
from modelcar.store import LocalStore
from tests.support.images import put_image, random_image
from tests.support.virtual import VirtualImage

__all__ = ["IMAGES", "die_at", "work"]

CHANGES = ["open", "write", "pwrite", "fsync", "rename", "unlink", "mkdir", "copy_file_range"]
IMAGES = [random_image(seed, sizes=(100,)) for seed in range(3)]


def work(home: Path) -> None:
    """Everything that the store does: create, write, recipes, names, removal, collection, copies."""
    store = LocalStore(home / "home")
    with store.session():
        for name, image in zip("ab", IMAGES, strict=False):
            store.names.put(name, put_image(store.content, image))
        virtual = VirtualImage(home, store.content)
        store.names.put("virtual", virtual.root)
        store.content.materialise(virtual.layers[0].digest, store.content.map(virtual.layers[0].digest))
    store.names.put("b", IMAGES[0].root)
    store.names.remove("a")
    with store.session():
        put_image(store.content, IMAGES[2])  # never named
    store.collect()


def die_at(step: int) -> None:
    """SIGKILL comes just before this process's `step`-th call from now on that changes the disk."""
    left = step

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **named: Any) -> Any:
            nonlocal left
            if call.__name__ != "open" or (len(args) > 1 and args[1] & os.O_CREAT):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
            return call(*args, **named)

        return wrapper

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))


def main(folder: Path) -> None:
    step = 0
    while True:
        place = folder / str(step)
        place.mkdir()
        child = os.fork()
        if child == 0:
            try:
                die_at(step)
                work(place)
            except ModelcarError as e:
                print(f"step {step}: {e}", file=sys.stderr)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.WEXITSTATUS(status))
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
