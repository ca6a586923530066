"""The queue's file, lists of images, and times of day."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from modelcar.errors import NoSpace, NotFound, UsageError
from modelcar.oci import Descriptor, Digest
from registry_shim.precache.doors import Presence
from registry_shim.precache.entry import Phase, Progress
from registry_shim.precache.lists import Folder, parse_text
from registry_shim.precache.meter import Meter
from registry_shim.precache.queue import Queue
from registry_shim.precache.settings import PrecacheImage, PrecacheSettings, Window
from registry_shim.precache.windows import is_open, opens_at

V1 = PrecacheImage(reference="r.example/org/m:v1")


def test_a_name_in_two_spellings_is_one_entry(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.json")
    queue.add(PrecacheImage(reference="ubuntu"), "command")
    queue.add(PrecacheImage(reference="docker.io/library/ubuntu:latest", priority=2), "api")
    (entry,) = queue.all()
    assert (entry["reference"], entry["priority"]) == ("docker.io/library/ubuntu:latest", 2)
    assert entry["sources"] == ["api", "command"]


def test_an_entry_is_taken_by_one_worker(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.json")
    queue.add(V1, "command")
    taken = []
    threads = [threading.Thread(target=lambda: taken.append(queue.take())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(entry is not None for entry in taken) == 1


def test_a_failed_one_is_due_again_at_its_time_and_not_before(tmp_path: Path) -> None:
    now = [100.0]
    queue = Queue(tmp_path / "q.json", lambda: now[0])
    queue.add(V1, "command")
    entry = queue.take()
    assert entry is not None
    queue.settle(entry, Phase.FAILED, retry_in=30, error=UsageError("no"))
    assert queue.take() is None
    queue = Queue(tmp_path / "q.json", lambda: now[0])  # nor after a restart
    assert queue.take() is None
    now[0] = 130.0
    assert queue.take() is not None


def test_how_large_a_ready_image_is_survives_a_restart(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.json")
    queue.add(V1, "command")
    entry = queue.take()
    assert entry is not None
    queue.report(entry, Progress(done=10, total=10, chunks=3, chunks_done=3, rate=5.0))
    queue.settle(entry, Phase.READY, retry_in=None)
    progress = Queue(tmp_path / "q.json").get(str(V1.name))["progress"]
    assert (progress["done"], progress["total"], progress["chunks"], progress["chunks_done"]) == (10, 10, 3, 3)


def test_asking_again_does_not_wait_for_the_next_try(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.json")
    queue.add(V1, "command")
    entry = queue.take()
    assert entry is not None
    queue.settle(entry, Phase.FAILED, retry_in=3000)
    queue.add(V1, "command")
    assert queue.take() is entry


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_bytes(b'{"images":[{"reference":"r.example/m:v1","phase":"strange"}]}')
    assert Queue(tmp_path / "q.json").all() == []
    assert (tmp_path / "q.json.damaged").exists()


def test_cancelling_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not among the images"):
        Queue(tmp_path / "q.json").drop("r.example/m:v1")


def test_an_entry_of_two_sources_goes_with_the_last(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.json")
    queue.follow({"file:a.txt": [V1], "file:b.txt": [V1]})
    assert queue.follow({"file:b.txt": [V1]}) == []
    (gone,) = queue.follow({})
    assert gone.name == V1.name
    assert queue.all() == []


def test_what_a_person_asked_for_does_not_go_with_a_list(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.json")
    queue.add(V1, "command")
    queue.follow({"file:a.txt": [V1]})
    assert queue.follow({}) == []
    assert [entry["sources"] for entry in queue.all()] == [["command"]]


def test_lists_of_text() -> None:
    text = "# models\n\nr.example/a:v1 pin load priority=5 platform=linux/arm64 refresh=60 # why\nr.example/b:v1\n"
    assert parse_text(text, "x") == (
        PrecacheImage(
            reference="r.example/a:v1", pin=True, load=True, priority=5, platform="linux/arm64", refresh=60.0
        ),
        PrecacheImage(reference="r.example/b:v1"),
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("r.example/a:v1 fast", "x:1: 'fast' is not an option"),
        ("r.example/a:v1 priority=high", "x:1: invalid literal"),
        ("r.example/a:v1 pin=yes", "x:1: 'pin=yes' is not an option"),
        ("r.example/A:v1", "x:1: .* is not a repository name"),
        ("r.example/a:v1 platform=arm", "x:1: 'arm' is not a platform"),
    ],
)
def test_what_is_wrong_in_a_list_is_told_with_its_line(line: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_text(line, "x")


def test_a_folder_reads_only_what_changed(tmp_path: Path) -> None:
    read: list[str] = []

    def read_yaml(text: str, name: str) -> tuple[PrecacheImage, ...]:
        read.append(name)
        return (V1,)

    folder = Folder(tmp_path, read_yaml)
    (tmp_path / "a.yaml").write_text("images: []")
    (tmp_path / ".hidden.txt").write_text("nonsense nonsense")
    (tmp_path / "readme.md").write_text("nonsense")
    assert folder.images() == {"a.yaml": (V1,)}
    folder.images()
    assert read == ["a.yaml"]
    (tmp_path / "b.txt").write_bytes(b"\xff")
    folder.images()
    assert folder.problems == {"b.txt": "b.txt is not UTF-8 text"}
    (tmp_path / "b.txt").unlink()
    (tmp_path / "a.yaml").unlink()
    assert folder.images() == {}
    assert folder.problems == {}


def test_a_folder_that_is_not_there_has_no_lists(tmp_path: Path) -> None:
    assert Folder(tmp_path / "missing", lambda _text, _name: ()).images() == {}


NIGHT = (Window(start=time(22), end=time(6)),)
DAY = (Window(start=time(9), end=time(17)), Window(start=time(18), end=time(19)))


@pytest.mark.parametrize(
    ("windows", "hour", "opened"),
    [
        ((), 3, True),
        *((NIGHT, hour, opened) for hour, opened in ((22, True), (3, True), (6, False), (12, False))),
        *((DAY, hour, opened) for hour, opened in ((9, True), (17, False), (18, True), (20, False))),
    ],
)
def test_windows(windows: tuple[Window, ...], hour: int, opened: bool) -> None:
    assert is_open(windows, "UTC", datetime(2026, 1, 5, hour, tzinfo=UTC).timestamp()) is opened


def test_windows_are_local_and_follow_the_clock_of_summer() -> None:
    winter, summer = datetime(2026, 1, 5, 21, 30, tzinfo=UTC), datetime(2026, 7, 5, 21, 30, tzinfo=UTC)
    assert is_open(NIGHT, "Europe/Berlin", winter.timestamp())
    assert is_open(NIGHT, "Europe/Berlin", summer.timestamp())
    assert not is_open(NIGHT, "America/New_York", winter.timestamp())
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()
    assert opens_at(NIGHT, "Europe/Berlin", noon) == datetime(2026, 1, 5, 21, tzinfo=UTC).timestamp()
    evening = datetime(2026, 1, 5, 20, tzinfo=UTC).timestamp()
    assert opens_at(DAY, "UTC", evening) == datetime(2026, 1, 6, 9, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("text", ["22:00", "22:00-", "25:00-06:00", "22:00-22:00"])
def test_windows_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        assert Window.parse(text) == Window(start=time(22), end=time(6))


@pytest.mark.parametrize(
    "values", [{"zone": "Mars/Olympus"}, {"rate": -1}, {"parallel": 0}, {"retry": 0.0}, {"retry_most": 1.0}]
)
def test_settings_that_make_no_sense(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="precache: "):
        PrecacheSettings(**values)  # type: ignore[arg-type]  # settings by their names


def test_rates_and_what_is_left() -> None:
    now, here, told = [0.0], [0], list[Progress]()
    blob = Descriptor.of("x", bytes(1000))
    meter = Meter([blob], lambda _: Presence(size=here[0], chunks=1, chunks_in_all=2), told.append, lambda: now[0])
    assert told[-1].eta is None
    now[0], here[0] = 1.0, 100
    meter.look()
    assert (told[-1].done, told[-1].total, told[-1].chunks_done, told[-1].chunks) == (100, 1000, 1, 2)
    assert told[-1].rate == pytest.approx(100)
    assert told[-1].eta == pytest.approx(9)
    now[0] = 100.0
    meter.look()
    assert told[-1].rate == 0
    assert Digest.of(bytes(1000)) == blob.digest


def test_what_cannot_be_written_down_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(tmp_path / "queue.json")
    kept = queue.add(V1, "command")

    def full(*_: object, **__: object) -> None:
        raise NoSpace("cannot write: No space left on device")

    monkeypatch.setattr("registry_shim.precache.queue.atomic_write", full)
    with pytest.raises(NoSpace):
        queue.add(PrecacheImage(reference="r.example/org/other:v1"), "command")
    with pytest.raises(NoSpace):
        queue.add(replace(V1, priority=9), "api")
    with pytest.raises(NoSpace):
        queue.drop(kept)
    assert [(entry["reference"], entry["priority"], entry["sources"]) for entry in queue.all()] == [
        (kept, 0, ["command"])
    ]
    entry = queue.take()
    assert entry is not None
    assert queue.wants(entry)
