"""What it takes to read all weights of a folder of a bucket, in parallel, to nothing.

python -m tests.bench.programs.objects library|source s3://BUCKET/FOLDER
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from modelcar.checkpoint.objects.names import Location, parse_location
from modelcar.checkpoint.objects.source import open_objects
from modelcar.checkpoint.objects.stores import open_store

_RANGE: Final = 8 << 20
_AT_ONCE: Final = 16

Reader = Callable[[int, int, int], int]


def main(how: str, source: str) -> None:
    location = parse_location(source)
    began = time.perf_counter()
    sizes, read = _by_library(location) if how == "library" else _by_source(location)
    ranges = [(n, at, min(at + _RANGE, size)) for n, size in enumerate(sizes) for at in range(0, size, _RANGE)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        received = sum(pool.map(lambda each: read(*each), ranges))
    assert received == sum(sizes)
    print(time.perf_counter() - began)


def _by_library(location: Location) -> tuple[list[int], Reader]:
    import obstore

    store = open_store(location)
    found = [meta for page in obstore.list(store, prefix=location.key) for meta in page]
    paths = [meta["path"] for meta in found]

    def read(n: int, start: int, stop: int) -> int:
        return len(obstore.get_range(store, paths[n], start=start, end=stop))

    return [meta["size"] for meta in found], read


def _by_source(location: Location) -> tuple[list[int], Reader]:
    source = open_objects(location, lambda _: True, Path("nowhere"))
    files = source.files

    def read(n: int, start: int, stop: int) -> int:
        came = 0

        def nothing(_offset: int, data: memoryview) -> None:
            nonlocal came
            came += len(data)

        source.copy(files[n], start, stop, nothing)
        return came

    return [file.size for file in files], read


if __name__ == "__main__":
    main(*sys.argv[1:])
