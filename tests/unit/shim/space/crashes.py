"""`python -m tests.unit.shim.space.crashes FOLDER`: kill a shim between any two steps of an eviction.

For k = 0, 1, 2 … a child evicts all that `FOLDER/<k>` has and is killed just before its k-th call that changes the
disk, until one gets through. Prints how many were killed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.crashes import die_at
from tests.unit.shim.space.node import Node


def prepare(root: Path) -> Node:
    """Two images of an index, a signature, one that shares a layer in another repository, and a loose blob."""
    node = Node(root)
    shared = node.layer(1)
    amd = node.image("r.example/m", shared, node.layer(2), config=b"{1}")
    arm = node.image("r.example/m", shared, config=b"{2}")
    index = node.index("r.example/m:v1", {"linux/amd64": amd, "linux/arm64": arm})
    node.image(f"r.example/m:sha256-{index.digest.hex}.sig", node.layer(3), config=b"{3}")
    node.image("other.example/n:v1", shared, node.layer(4), config=b"{4}", age=500)
    node.layer(5)
    return node


def main(folder: Path) -> None:
    step = 0
    while True:
        node = prepare(folder / str(step))
        child = os.fork()
        if child == 0:
            space = node.space()
            space.start(node.content)
            die_at(step)
            space.collect(wanted=1 << 40)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(step)
            sys.exit(os.WEXITSTATUS(status))
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
