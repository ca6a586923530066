"""`holder ready`: a probe that no stale link can deceive."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .harness import end, tree, write_model

if TYPE_CHECKING:
    from .harness import Holder

pytestmark = pytest.mark.slow


def test_ready_is_silent(holder: Holder, to: Path) -> None:
    holder.publish(to)
    done = holder.run("ready", "--to", to)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_paths_may_be_spelt_differently(holder: Holder, to: Path) -> None:
    holder.publish(to)
    done = holder.run("ready", f"--to=/{to}//", "--link=farm")
    assert done.returncode == 0


def test_nothing_published(holder: Holder, to: Path) -> None:
    assert f"{to}: nothing is published yet" in holder.refusal("ready", "--to", to)


def test_a_dead_holder(holder: Holder, to: Path) -> None:
    end(holder.publish(to))
    assert "names no running holder of this folder" in holder.refusal("ready", "--to", to)


@pytest.mark.parametrize("verb", ["sleep", "hold", "publish elsewhere", "publish directory"])
def test_a_process_that_got_the_pid_later(holder: Holder, to: Path, tmp_path: Path, verb: str) -> None:
    """The link resolves and files open, all the same it is not what was published."""
    end(holder.publish(to))
    (tmp_path / "elsewhere").mkdir()
    other = {
        "sleep": lambda: subprocess.Popen(["sleep", "60"], text=True),
        "hold": lambda: holder.start("hold"),
        "publish elsewhere": lambda: holder.publish(tmp_path / "elsewhere"),
        "publish directory": lambda: holder.publish(tmp_path / "one", "--link", "directory"),
    }[verb]()
    try:
        (to / ".modelcar").unlink()
        (to / ".modelcar").symlink_to(f"/proc/{other.pid}/root{holder.model}")
        assert (to / "config.json").read_text() == "config.json A"
        assert "names no running holder of this folder" in holder.refusal("ready", "--to", to)
    finally:
        end(other)


@pytest.mark.parametrize(
    "target",
    ["/models", "/proc/self/root/models", "/proc//root/models", "/proc/7", "/proc/7/cwd", "/proc/7/root/other"],
)
def test_a_link_that_no_holder_made(holder: Holder, to: Path, target: str) -> None:
    (to / ".modelcar").symlink_to(target)
    assert f"does not name a holder and this model, but: {target}" in holder.refusal("ready", "--to", to)


def test_a_folder_in_place_of_the_link(holder: Holder, to: Path) -> None:
    assert "must be the link that the holder publishes" in holder.refusal("ready", "--to", to, "--link", "directory")


def test_another_model(holder: Holder, to: Path, tmp_path: Path) -> None:
    holder.publish(to, model=write_model(tmp_path / "other"))
    assert "does not name a holder and this model" in holder.refusal("ready", "--to", to)


def test_a_model_that_became_empty(holder: Holder, to: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "other", "x")
    holder.publish(to, model=model)
    (model / "x").unlink()
    assert "holds no file" in holder.refusal("ready", "--to", to, model=model)


def test_a_file_without_its_link(holder: Holder, to: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "other", "x")
    holder.publish(to, model=model)
    (to / "x").unlink()
    assert f"{to}/x: No such file or directory" in holder.refusal("ready", "--to", to, model=model)


def test_it_changes_nothing(holder: Holder, to: Path) -> None:
    holder.publish(to)
    before = tree(to)
    holder.run("ready", "--to", to)
    assert tree(to) == before
