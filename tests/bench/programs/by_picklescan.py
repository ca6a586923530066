"""What `picklescan` takes for one file, without its start-up; runs in the environment of the peers.

python by_picklescan.py FILE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

_TIMES = 3


def main(file: Path) -> None:
    import io

    from picklescan.scanner import scan_pickle_bytes

    data = file.read_bytes()
    walls = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        found = scan_pickle_bytes(io.BytesIO(data), str(file))
        walls.append(time.perf_counter() - began)
        if found.scan_err:
            raise SystemExit("picklescan could not read it")
    print(median(walls))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
