"""What the Hub's own client takes to download a model into an empty cache.

python -m tests.bench.programs.snapshot REPOSITORY
"""

from __future__ import annotations

import sys
import time


def main(repository: str) -> None:
    from huggingface_hub import snapshot_download

    began = time.perf_counter()
    snapshot_download(repository)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
