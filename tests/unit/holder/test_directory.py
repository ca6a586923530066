"""`holder publish --link directory`: one link, replaced and never descended into."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .harness import end, tree, write_model

if TYPE_CHECKING:
    from .harness import Holder

pytestmark = pytest.mark.slow

DIRECTORY = ("--link", "directory")


def test_the_folder_is_one_link(holder: Holder, to: Path) -> None:
    process = holder.publish(to / "model", *DIRECTORY)
    assert tree(to) == {"model": f"/proc/{process.pid}/root{holder.model}"}
    assert (to / "model/onnx/model.onnx").read_text() == "onnx/model.onnx A"
    assert holder.run("ready", "--to", to / "model", *DIRECTORY).returncode == 0


def test_an_existing_link_to_a_folder_is_replaced(holder: Holder, to: Path, tmp_path: Path) -> None:
    """`ln -sf` puts its link *into* the folder that the old one leads to, and loops."""
    old = write_model(tmp_path / "old", "x")
    (to / "model").symlink_to(old)
    process = holder.publish(to / "model", *DIRECTORY)
    assert tree(old) == {"x": "x A"}
    assert tree(to) == {"model": f"/proc/{process.pid}/root{holder.model}"}


def test_a_reader_sees_the_old_model_or_the_new_one(holder: Holder, to: Path, tmp_path: Path) -> None:
    old = write_model(tmp_path / "old", "x", content="old")
    new = write_model(tmp_path / "new", "x", content="new")
    holder.publish(to / "model", *DIRECTORY, model=old)
    seen: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.append((to / "model/x").read_text())
            except OSError as error:
                seen.append(str(error))
                return

    reader = threading.Thread(target=read)
    reader.start()
    for model in (new, old, new):
        holder.publish(to / "model", *DIRECTORY, model=model)
    done.set()
    reader.join()
    assert set(seen) <= {"x old", "x new"}
    assert (to / "model/x").read_text() == "x new"


def test_siblings_share_a_volume(holder: Holder, to: Path, tmp_path: Path) -> None:
    lora = write_model(tmp_path / "lora", "adapter")
    holder.publish(to / "base", *DIRECTORY)
    second = holder.publish(to / "lora", *DIRECTORY, model=lora)
    assert (to / "base/config.json").exists()
    end(second)
    assert (to / "base/config.json").exists()
    assert holder.run("ready", "--to", to / "base", *DIRECTORY).returncode == 0
    assert holder.run("ready", "--to", to / "lora", *DIRECTORY, model=lora).returncode == 1


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_link_stays(holder: Holder, to: Path, kind: str) -> None:
    (to / "model").mkdir() if kind == "folder" else (to / "model").write_text("mine")
    before = tree(to)
    assert f"{to}/model: exists and is no link: mount" in holder.refusal("publish", "--to", to / "model", *DIRECTORY)
    assert tree(to) == before


def test_a_crash_between_link_and_rename_is_forgotten(holder: Holder, to: Path) -> None:
    (to / ".model.new").symlink_to("/proc/1/root/models")
    holder.publish(to / "model", *DIRECTORY)
    assert list(tree(to)) == ["model"]
