"""`holder publish`: real folders and file links, moved as one."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import eventually

from .harness import end, status_after, tree, write_model

if TYPE_CHECKING:
    from .harness import Holder

pytestmark = pytest.mark.slow


def test_the_farm_looks_like_the_model(holder: Holder, to: Path) -> None:
    process = holder.publish(to)
    assert tree(to) == {
        ".modelcar": f"/proc/{process.pid}/root{holder.model}",
        "config.json": ".modelcar/config.json",
        "model.safetensors": ".modelcar/model.safetensors",
        "onnx": "/",
        "onnx/model.onnx": "../.modelcar/onnx/model.onnx",
        "onnx/deep": "/",
        "onnx/deep/er": "/",
        "onnx/deep/er/data": "../../../.modelcar/onnx/deep/er/data",
    }
    assert (to / "onnx/deep/er/data").read_text() == "onnx/deep/er/data A"
    assert (to / "onnx").stat().st_mode & 0o777 == 0o755


def test_publishing_stops_like_holding(holder: Holder, to: Path) -> None:
    process = holder.publish(to)
    process.terminate()
    assert process.wait(timeout=60) == 0


def test_a_restart_moves_everything_by_the_one_link(holder: Holder, to: Path) -> None:
    first = holder.publish(to)
    before = {name: (to / name).lstat().st_ino for name in tree(to) if name != ".modelcar"}
    with (to / "config.json").open() as already_open:
        end(first)
        with pytest.raises(FileNotFoundError):
            (to / "config.json").open()
        holder.publish(to)
        assert (to / "config.json").read_text() == "config.json A"
        assert {name: (to / name).lstat().st_ino for name in before} == before
        assert already_open.read() == "config.json A"


def test_a_reader_sees_the_old_model_or_the_new_one_and_never_neither(holder: Holder, to: Path, tmp_path: Path) -> None:
    """Both holders run here, so that nothing but the switch itself could fail."""
    names = [f"folder{n % 7}/file{n}" for n in range(200)]
    old = write_model(tmp_path / "old", *names, content="old")
    new = write_model(tmp_path / "new", *names, content="new")
    holder.publish(to, model=old)
    seen: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.extend((to / name).read_text().split()[1] for name in names[::20])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        eventually(lambda: seen)
        for model in (new, old, new, old, new):
            holder.publish(to, model=model)
        time.sleep(0.05)
    finally:
        done.set()
        reader.join()
    assert len(seen) % 10 == 0, "the reader met an error"
    assert seen[-1] == "new"


def test_after_kill_and_restart_every_open_works_again(holder: Holder, to: Path) -> None:
    process = holder.publish(to)
    for _ in range(5):
        end(process)
        process = holder.publish(to)
        assert holder.run("ready", "--to", to).returncode == 0
        for name in ("config.json", "onnx/model.onnx", "onnx/deep/er/data"):
            assert (to / name).read_text() == f"{name} A"


def test_another_model_leaves_no_stale_link_and_no_empty_folder(holder: Holder, to: Path, tmp_path: Path) -> None:
    end(holder.publish(to))
    other = write_model(tmp_path / "other", "config.json", "lora/adapter")
    process = holder.publish(to, model=other)
    assert tree(to) == {
        ".modelcar": f"/proc/{process.pid}/root{other}",
        "config.json": ".modelcar/config.json",
        "lora": "/",
        "lora/adapter": "../.modelcar/lora/adapter",
    }


def test_a_file_may_become_a_folder_and_the_reverse(holder: Holder, to: Path, tmp_path: Path) -> None:
    first = write_model(tmp_path / "first", "a", "b/c/d", "b/e")
    second = write_model(tmp_path / "second", "a/x", "b")
    for model in (first, second, first):
        end(holder.publish(to, model=model))
        links = {name for name, kind in tree(to).items() if kind != "/"} - {".modelcar"}
        assert links == {str(file.relative_to(model)) for file in model.rglob("*") if file.is_file()}


def test_what_is_not_the_holders_stays(holder: Holder, to: Path, tmp_path: Path) -> None:
    (to / "notes.txt").write_text("mine")
    (to / "elsewhere").symlink_to("/etc/hostname")
    (to / "cache").mkdir()
    end(holder.publish(to))
    (to / "onnx/deep/mine").write_text("also mine")
    end(holder.publish(to, model=write_model(tmp_path / "other", "config.json")))
    left = tree(to)
    del left[".modelcar"]
    assert left == {
        "notes.txt": "mine",
        "elsewhere": "/etc/hostname",
        "cache": "/",
        "config.json": ".modelcar/config.json",
        "onnx": "/",
        "onnx/deep": "/",
        "onnx/deep/mine": "also mine",
    }


@pytest.mark.parametrize("name", ["config.json", "onnx"])
def test_what_is_in_the_way_is_named_and_kept(holder: Holder, to: Path, name: str) -> None:
    (to / name).write_text("mine")
    assert f"{to}/{name}: is in the way and not the holder's:" in holder.refusal("publish", "--to", to)
    assert (to / name).read_text() == "mine"
    assert not (to / ".modelcar").is_symlink(), "half a model must not become visible"


def test_links_in_the_farm_are_not_followed_out(holder: Holder, to: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").symlink_to("../.modelcar/kept")
    (to / "onnx").symlink_to(outside)
    assert "/onnx: is in the way" in holder.refusal("publish", "--to", to)
    assert tree(outside) == {"kept": "../.modelcar/kept"}


def test_a_folder_in_place_of_the_one_link_is_refused(holder: Holder, to: Path) -> None:
    (to / ".modelcar").mkdir()
    assert f"{to}/.modelcar: exists and is no link:" in holder.refusal("publish", "--to", to)


def test_a_crash_between_link_and_rename_is_forgotten(holder: Holder, to: Path) -> None:
    (to / ".modelcar.new").symlink_to("/proc/1/root/models")
    holder.publish(to)
    assert ".modelcar.new" not in tree(to)


@pytest.mark.parametrize("name", [".modelcar", ".modelcar.new", ".modelcar/index.json"])
def test_a_model_cannot_take_the_holders_names(holder: Holder, to: Path, name: str) -> None:
    write_model(holder.model, name)
    assert "a name that the holder uses itself" in holder.refusal("publish", "--to", to)


def test_links_inside_the_model_become_links_to_their_file(holder: Holder, to: Path) -> None:
    (holder.model / "onnx/latest").symlink_to("deep/er/data")
    (holder.model / "absolute").symlink_to(holder.model / "config.json")
    holder.publish(to)
    assert tree(to)["onnx/latest"] == "../.modelcar/onnx/deep/er/data"
    assert tree(to)["absolute"] == ".modelcar/config.json"


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "nowhere", ".", "onnx", "loop"])
def test_links_that_leave_the_model_or_reach_no_file_are_refused(holder: Holder, to: Path, target: str) -> None:
    (holder.model.parent / "outside").write_text("secret")
    (holder.model / "loop").symlink_to(target)
    assert f"{holder.model}/loop: a link to no file of the model:" in holder.refusal("publish", "--to", to)


def test_special_files_are_refused(holder: Holder, to: Path) -> None:
    os.mkfifo(holder.model / "pipe")
    assert f"{holder.model}/pipe: neither a file nor a folder:" in holder.refusal("publish", "--to", to)


def test_any_name_will_do(holder: Holder, to: Path) -> None:
    names = ["n" * 255, "ä" * 127, "模型/权重.safetensors", "new\nline", " ", "-rf", "%s%n", "a'b\"c`d$e"]
    write_model(holder.model, *names)
    (holder.model / os.fsdecode(b"not-\xff-utf8")).write_text("raw")
    holder.publish(to)
    for name in names:
        assert (to / name).read_text() == f"{name} A"
    assert (to / os.fsdecode(b"not-\xff-utf8")).read_text() == "raw"


def test_deep_folders(holder: Holder, to: Path) -> None:
    name = "/".join(["d"] * 200 + ["file"])
    write_model(holder.model, name)
    holder.publish(to)
    assert (to / name).read_text() == f"{name} A"


def test_too_deep_for_a_link_is_one_clear_line(holder: Holder, to: Path) -> None:
    folder = os.open(holder.model, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 130, dir_fd=folder)
        inner = os.open("d" * 130, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("f" * 80, os.O_CREAT, dir_fd=folder))
    os.close(folder)
    assert "Filename too long: shorten the names" in holder.refusal("publish", "--to", to)


def test_a_missing_volume_is_named(holder: Holder, tmp_path: Path) -> None:
    line = holder.refusal("publish", "--to", tmp_path / "absent")
    assert "absent: No such file or directory: mount an emptyDir there" in line


def test_a_log_that_nobody_reads_does_not_end_it(holder: Holder, to: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pid = os.posix_spawn(
        holder.program,
        holder.command("publish", "--to", to),
        {},
        file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)],
        setsigdef=[],
    )
    os.close(writer)
    try:
        eventually(lambda: holder.run("ready", "--to", to).returncode == 0)
    finally:
        assert status_after(pid, signal.SIGTERM) == 0
