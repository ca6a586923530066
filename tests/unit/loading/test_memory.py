"""What loading takes of memory: the tensors, and what is read ahead."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from modelcar.loading.plan import READ_SIZE
from tests.support.weights import safetensors_bytes

pytestmark = pytest.mark.slow

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]

MIB = 1 << 20
TENSOR = 4 * MIB
COUNT = 24
WINDOW = 4 * MIB
SLACK = 8 * MIB
PROGRAM = """
import sys
from pathlib import Path
import modelcar

def peak():
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

small, large, how, window = sys.argv[1:]
modelcar.load(small, framework="raw")
before = peak()
if how == "load":
    tensors = modelcar.load(large, framework="raw")
else:
    for name, tensor in modelcar.stream(large, framework="raw", window=int(window)):
        del tensor
print(peak() - before)
"""


@pytest.fixture
def grown(tmp_path: Path) -> dict[str, int]:
    """By how many bytes each way lets a program grow."""
    sizes = {"small": 1, "large": TENSOR}
    for name, size in sizes.items():
        tensors: Tensors = {f"t{i}": ("U8", (size,), b"\1" * size) for i in range(COUNT)}
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors_bytes(tensors))
    files = [str(tmp_path / f"{name}.safetensors") for name in sizes]

    def run(how: str) -> int:
        command = [sys.executable, "-c", PROGRAM, *files, how, str(WINDOW)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    return {how: run(how) for how in ("load", "stream")}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own count is read")
def test_no_second_copy_is_in_memory_and_a_stream_has_a_window(grown: dict[str, int]) -> None:
    assert math.isclose(grown["load"], COUNT * TENSOR, abs_tol=SLACK)
    assert grown["stream"] < READ_SIZE + WINDOW + TENSOR + SLACK
