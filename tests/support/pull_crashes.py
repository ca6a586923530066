"""`python -m tests.support.pull_crashes FOLDER`: kill a download between any two steps, and within its chunks.

For k = 0, 1, 2 … a child fills a partial blob in `FOLDER/<k>` and is killed by SIGKILL just before its k-th call that
changes the disk, until one gets through. After each, the next process goes on: every byte must be right, and what the
dead one had kept, parts of chunks as well, must not be fetched again.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from modelcar.errors import ModelcarError
from modelcar.lazy.download import Downloads
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.parts import PART
from modelcar.lazy.settings import FetchSettings
from tests.support.cache_crashes import die_at
from tests.support.chunks import Content, Fault, MemorySource

__all__ = ["main"]

CONTENT = Content(9 * PART + 1000)
FAST = FetchSettings(backoff=0.01, blob_streams=1)
GRIDS = [CONTENT.plain, CONTENT.table(4 * PART)]


def opened(folder: Path, grid: Grid) -> PartialBlob:
    with suppress(ModelcarError):
        return PartialBlob.open(folder)
    return PartialBlob.create(folder, grid)


def fill(folder: Path, grid: Grid) -> int:
    """Returns how many bytes were fetched. One connection breaks on the way."""
    source = MemorySource(CONTENT.data, faults=[Fault(cut=2 * PART)])
    blob = opened(folder, grid)
    with Downloads(source, FAST) as downloads:
        downloads.fill(blob)
    assert blob.read(0, blob.size) == CONTENT.data
    blob.close()
    return source.sent


def kept(folder: Path, grid: Grid) -> int:
    """Bytes that the dead process had."""
    with suppress(ModelcarError):
        blob = PartialBlob.open(folder)
        blob.close()
        return blob.present + sum(blob.arrived(number) for number in range(len(grid)))
    return 0


def main(folder: Path) -> None:
    for grid in GRIDS:
        step = 0
        while True:
            place = folder / grid.name / str(step)
            child = os.fork()
            if child == 0:
                try:
                    die_at(step)
                    os._exit(0 if fill(place, grid) == grid.size else 2)
                except BaseException as e:
                    print(f"step {step}: {e!r}", file=sys.stderr)
                    os._exit(3)
            _, status = os.waitpid(child, 0)
            had = kept(place, grid)
            fetched = fill(place, grid)
            assert fetched == grid.size - had, f"{grid.name}, step {step}: {had} were here, {fetched} fetched"
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            step += 1
        print(grid.name, step)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
