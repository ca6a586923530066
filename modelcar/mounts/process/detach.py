"""Take a mount out of everybody's sight. `python -m modelcar.mounts.process.detach FOLDER DEVICE`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from modelcar.errors import ModelcarError
from modelcar.mounts.process.unmounting import unmount

if __name__ == "__main__":
    with suppress(ModelcarError):
        unmount(Path(sys.argv[1]), lazy=True, device=sys.argv[2])
    os._exit(0)
