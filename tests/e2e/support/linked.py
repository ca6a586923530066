"""What programs are linked with."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["shared_libraries"]

_LIBRARY: Final = re.compile(r"(?:=> )?(/\S+) \(0x")


def shared_libraries(binaries: Iterable[Path]) -> set[Path]:
    """The shared libraries that programs and libraries are linked with, without those that come with a wheel."""
    said = subprocess.run(["ldd", *binaries], capture_output=True, text=True).stdout
    return {Path(found) for found in _LIBRARY.findall(said) if ".libs/" not in found}
