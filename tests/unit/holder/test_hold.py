"""`holder` and `holder hold`: check the model, then stay without using anything."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .harness import status_after

if TYPE_CHECKING:
    from .harness import Holder

pytestmark = pytest.mark.slow


def state_and_cpu(pid: int) -> tuple[str, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[11]) + int(fields[12])


def wait_until_asleep(pid: int) -> None:
    for _ in range(1000):
        if "pause" in Path(f"/proc/{pid}/wchan").read_text() or state_and_cpu(pid)[0] == "S":
            return
        time.sleep(0.005)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_stays_and_leaves_at_once_when_told(holder: Holder, stop: signal.Signals) -> None:
    process = holder.start("hold")
    wait_until_asleep(process.pid)
    asleep = state_and_cpu(process.pid)
    time.sleep(0.2)
    assert process.poll() is None
    assert state_and_cpu(process.pid) == asleep
    process.send_signal(stop)
    assert process.wait(timeout=30) == 0


def test_listens_although_its_parent_blocked_the_signals(holder: Holder) -> None:
    stops = [signal.SIGTERM, signal.SIGINT]
    pid = os.posix_spawn(holder.program, holder.command("hold"), {}, setsigmask=stops)
    wait_until_asleep(pid)
    assert status_after(pid, signal.SIGTERM) == 0


def test_a_missing_model_is_one_clear_line(holder: Holder, tmp_path: Path) -> None:
    line = holder.refusal("hold", model=tmp_path / "absent")
    assert f"{tmp_path}/absent: No such file or directory: build the image with the model" in line


@pytest.mark.parametrize("folders", ["", "only/folders"])
def test_an_empty_model_is_refused(holder: Holder, tmp_path: Path, folders: str) -> None:
    (tmp_path / "empty" / folders).mkdir(parents=True)
    assert "/empty: holds no file:" in holder.refusal("hold", model=tmp_path / "empty")


def test_a_model_behind_a_link_is_refused_because_it_would_lead_into_the_readers_root(
    holder: Holder, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(holder.model)
    assert f"the real folder for --model is: {holder.model}" in holder.refusal("hold", model=tmp_path / "link")


def test_control_characters_cannot_break_the_line(holder: Holder, tmp_path: Path) -> None:
    assert "/a?b: No such" in holder.refusal("hold", model=tmp_path / "a\nb")
