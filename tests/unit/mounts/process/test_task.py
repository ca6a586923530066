"""What processes are told survives their command lines."""

from __future__ import annotations

import os

import pytest

from modelcar.errors import UsageError, WorldError
from modelcar.mounts.process.front import front
from modelcar.mounts.process.launch import start, start_mount
from modelcar.mounts.process.task import Held, Task, read_plan
from tests.support.plans import plan_of

HELD = Held(device="0:45", front=(5, 6, 7), plan=8, journal=9, supervisor=10)


@pytest.mark.parametrize("held", [None, HELD])
def test_a_task_is_read_as_it_was_written(held: Held | None) -> None:
    task = Task(front="fuse", target="/a \n\u00fc", socket="/run/s", mount="m-1", patience=1.5, held=held)
    assert Task.parse(task.to_argument()) == task
    assert str(task.folder) == task.target


def test_all_that_is_held_is_inherited() -> None:
    assert sorted(HELD.all) == [5, 6, 7, 8, 9, 10]


def test_a_plan_is_read_from_its_start_by_everybody_who_has_the_descriptor() -> None:
    plan = plan_of([10], {"a": (0, 0, 10)})
    descriptor = os.memfd_create("plan")
    os.write(descriptor, plan.to_json())
    assert read_plan(descriptor) == plan
    assert read_plan(descriptor) == plan
    os.close(descriptor)


def test_an_unknown_front_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mount")
    with pytest.raises(UsageError, match="'smb' is not a way to mount"):
        front("smb")
    with pytest.raises(UsageError, match="'smb' is not a way to mount"):
        start_mount(plan_of([], {}), front="smb", socket=folder, mount="m", target=folder)


def test_a_target_must_be_a_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mount")
    with pytest.raises(UsageError, match="missing: is not a folder"):
        start_mount(plan_of([], {}), front="fuse", socket=folder, mount="m", target=folder / "missing")


@pytest.mark.slow
def test_what_an_opener_says_is_what_its_starter_raises() -> None:
    with pytest.raises(WorldError, match="the disk is away") as caught:
        start(["/bin/sh", "-c", """echo '{"error": "the disk is away", "hint": "fetch it"}'"""], plan_of([], {}))
    assert caught.value.hint == "fetch it"
    with pytest.raises(WorldError, match="ended with status 9 before it began"):
        start(["/bin/sh", "-c", "exit 9"], plan_of([], {}))


@pytest.mark.slow
def test_an_opener_gets_no_credentials_of_its_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    with pytest.raises(WorldError) as caught:
        start(["/bin/sh", "-c", """printf '{"error": "%s", "hint": null}\\n' "$HF_TOKEN/$LC_ALL" """], plan_of([], {}))
    assert str(caught.value) == "/C.UTF-8"


@pytest.mark.slow
def test_an_opener_gets_the_plan_as_its_input() -> None:
    plan = plan_of([10], {"a": (0, 0, 10)})
    with pytest.raises(WorldError) as caught:
        start(["/bin/sh", "-c", """printf '{"error": "%s", "hint": null}\\n' "$(head -c 12 | tr -d '"{')" """], plan)
    assert str(caught.value) in plan.to_json().decode().replace('"', "").replace("{", "")
