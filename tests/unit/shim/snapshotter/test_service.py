"""The service over a socket, in messages that another encoder writes and reads."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.errors import StorageError, UsageError, WorldError
from registry_shim.snapshotter import service
from registry_shim.snapshotter.grpc import Status
from registry_shim.snapshotter.run import SnapshotterSettings, listening, opened
from registry_shim.snapshotter.service import handlers
from tests.support.grpc_client import Answer, GrpcClient
from tests.support.protobufs import message, read
from tests.support.snapshots import RememberingMounter, chain_id, lazy_labels
from tests.unit.shim.snapshotter.serving import served

pytestmark = pytest.mark.slow

SERVICE = "/containerd.services.snapshots.v1.Snapshots/"


class Caller:
    """Requests as containerd writes them; the first field is the snapshotter's name."""

    def __init__(self, client: GrpcClient) -> None:
        self._client = client

    def __call__(self, method: str, *fields: tuple[int, int | str | bytes]) -> Answer:
        return self._client.call(f"{SERVICE}{method}", message((1, "modelcar"), *fields))


def labelled(number: int, labels: dict[str, str]) -> list[tuple[int, bytes]]:
    return [(number, message((1, key), (2, value))) for key, value in labels.items()]


def texts(content: bytes, number: int) -> list[str]:
    return [value.decode() for value in read(content).get(number, []) if isinstance(value, bytes)]


def nested(content: bytes, number: int) -> list[bytes]:
    return [value for value in read(content).get(number, []) if isinstance(value, bytes)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def call(tmp_path: Path, root: Path, mounter: RememberingMounter) -> Iterator[Caller]:
    with (
        opened(root, mounter) as snapshotter,
        served(tmp_path / "socket", dict(handlers(snapshotter)), explain=service.explain),
        GrpcClient(tmp_path / "socket") as client,
    ):
        yield Caller(client)


def test_an_image_is_unpacked_and_run_and_removed(call: Caller, root: Path) -> None:
    prepared = call("Prepare", (2, "k8s.io/1/extract"))
    (mount,) = nested(prepared.messages[0], 1)
    assert texts(mount, 1) == ["bind"]
    assert texts(mount, 4) == ["rw", "rbind"]
    assert Path(texts(mount, 2)[0]).is_relative_to(root)
    assert call("Commit", (2, "k8s.io/2/layer"), (3, "k8s.io/1/extract"), *labelled(4, {"a": "b"})).messages == (b"",)
    container = call("Prepare", (2, "k8s.io/3/container"), (3, "k8s.io/2/layer"))
    (mount,) = nested(container.messages[0], 1)
    assert [texts(mount, 1), texts(mount, 2)] == [["overlay"], ["overlay"]]
    assert call("Mounts", (2, "k8s.io/3/container")) == container
    view = call("View", (2, "k8s.io/4/view"), (3, "k8s.io/2/layer"))
    assert texts(nested(view.messages[0], 1)[0], 4) == ["ro", "rbind"]
    for name in ("k8s.io/4/view", "k8s.io/3/container", "k8s.io/2/layer"):
        assert call("Remove", (2, name)).status == Status.OK
    assert call("Cleanup").status == Status.OK
    assert list((root / "snapshots").iterdir()) == []


def test_what_is_said_of_a_snapshot(call: Caller) -> None:
    call("Prepare", (2, "k8s.io/1/extract"))
    call("Commit", (2, "k8s.io/2/layer"), (3, "k8s.io/1/extract"), *labelled(4, {"a": "b"}))
    call("Prepare", (2, "k8s.io/3/container"), (3, "k8s.io/2/layer"))
    call("View", (2, "k8s.io/4/view"), (3, "k8s.io/2/layer"))
    kinds = {}
    for name in ("k8s.io/2/layer", "k8s.io/3/container", "k8s.io/4/view"):
        (found,) = nested(call("Stat", (2, name)).messages[0], 1)
        assert texts(found, 1) == [name]
        kinds[name] = (read(found)[3], texts(found, 2))
        created = read(nested(found, 4)[0])
        assert created[1][0] > 1_700_000_000  # type: ignore[operator]  # a number
    assert kinds == {
        "k8s.io/2/layer": ([3], []),
        "k8s.io/3/container": ([2], ["k8s.io/2/layer"]),
        "k8s.io/4/view": ([1], ["k8s.io/2/layer"]),
    }
    updated = call(
        "Update",
        (2, message((1, "k8s.io/2/layer"), *labelled(6, {"c": "d", "e": "f"}))),
        (3, message((1, "labels.c"))),
    )
    entries = [read(entry) for entry in nested(nested(updated.messages[0], 1)[0], 6)]
    assert [(entry[1], entry[2]) for entry in entries] == [([b"a"], [b"b"]), ([b"c"], [b"d"])]
    used = read(call("Usage", (2, "k8s.io/2/layer")).messages[0])
    assert used.get(2, [0]) == [0]


def test_a_listing_comes_in_several_messages(call: Caller) -> None:
    names = {f"k8s.io/{n}/x" for n in range(230)}
    for name in names:
        call("Prepare", (2, name))
    listed = call("List").messages
    assert [len(nested(each, 1)) for each in listed] == [100, 100, 30]
    assert {texts(found, 1)[0] for each in listed for found in nested(each, 1)} == names
    assert call("List", (2, 'name=="k8s.io/7/x"'), (2, "name==k8s.io/8/x")).messages != listed


def test_a_lazy_layer_is_found_as_containerd_looks_for_it(call: Caller) -> None:
    labels = lazy_labels("weights")
    answer = call("Prepare", (2, "k8s.io/1/extract"), *labelled(4, labels))
    assert answer.status == Status.ALREADY_EXISTS
    target = chain_id("weights")
    listed = call("List", (2, f'labels."containerd.io/snapshot.ref"=={target},parent==""')).messages
    (found,) = nested(listed[0], 1)
    (name,) = texts(found, 1)
    assert name.endswith(target)
    assert read(found)[3] == [3]
    assert {texts(e, 1)[0]: texts(e, 2)[0] for e in nested(found, 6)} == labels
    assert call("Stat", (2, name)).status == Status.OK
    nobody = f'labels."containerd.io/snapshot.ref"=={target},parent=="other"'
    assert call("List", (2, nobody)).messages == ()


def test_refusals(call: Caller, mounter: RememberingMounter) -> None:
    assert call("Stat", (2, "absent")).status == Status.NOT_FOUND
    call("Prepare", (2, "key"))
    assert call("Prepare", (2, "key")).status == Status.ALREADY_EXISTS
    assert call("Prepare", (2, "other"), (3, "key")).status == Status.FAILED_PRECONDITION
    assert call("Prepare").status == Status.INVALID_ARGUMENT
    assert call("Prepare", (2, b"\xff")).status == Status.INVALID_ARGUMENT
    wrong = message((1, "key"), *labelled(6, {}))
    assert call("Update", (2, wrong), (3, message((1, "kind")))).status == Status.INVALID_ARGUMENT
    mounter.failure = WorldError("the registry is away", hint="wait for it")
    call("Prepare", (2, "k8s.io/1/extract"), *labelled(4, lazy_labels("weights")))
    (found,) = nested(call("List", (2, "kind==committed")).messages[0], 1)
    answer = call("Prepare", (2, "k8s.io/2/container"), (3, texts(found, 1)[0]))
    assert answer.status == Status.UNAVAILABLE
    assert answer.message.endswith("cannot be mounted now: the registry is away (wait for it)")


def test_what_nobody_expected_says_little(caplog: pytest.LogCaptureFixture) -> None:
    assert service.explain(RuntimeError("secret")) == (Status.UNKNOWN, "internal error: RuntimeError")
    assert "secret" in caplog.text


def test_one_process_has_a_folder(root: Path, mounter: RememberingMounter) -> None:
    with (
        opened(root, mounter),
        pytest.raises(StorageError, match="in use by another process"),
        opened(root, mounter),
    ):
        pytest.fail("both have it")


def test_one_process_has_a_socket(tmp_path: Path) -> None:
    """containerd would be left without the snapshotter that it knows, and its mounts without anybody who tells."""
    place = tmp_path / "run" / "s"
    with listening(place), pytest.raises(StorageError, match="another process listens"), listening(place):
        pytest.fail("both have it")
    assert not place.exists()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    with listening(place), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place))


def test_what_came_in_the_place_of_our_socket_stays(tmp_path: Path) -> None:
    place = tmp_path / "s"
    with listening(place):
        place.unlink()
        place.write_text("another's")
    assert place.read_text() == "another's"


@pytest.mark.parametrize(
    ("root", "place", "complaint"),
    [
        ("relative", "/run/s", "absolute"),
        ("/x", "s", "absolute"),
        ("/a,b", "/run/s", "comma"),
        ("/a:b", "/run/s", "colon"),
        ("/x", "/run/" + "s" * 103, "too long"),
    ],
)
def test_settings_that_cannot_be(root: str, place: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        SnapshotterSettings(root=Path(root), socket=Path(place))


def test_a_socket_as_far_down_as_containerd_can_connect() -> None:
    longest = Path("/run/" + "s" * 102)
    assert SnapshotterSettings(root=Path("/x"), socket=longest).socket == longest


def test_a_damaged_database_is_one_line(root: Path, mounter: RememberingMounter) -> None:
    root.mkdir()
    (root / "snapshots.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match=r"snapshots\.db: file is not a database") as caught, opened(root, mounter):
        pytest.fail("it opens")
    assert root / "snapshots.db" not in {fd.resolve() for fd in Path("/proc/self/fd").iterdir()}
    del caught  # its traceback has held what was not closed


def test_a_folder_that_holds_other_things_stays_as_it_is(tmp_path: Path, mounter: RememberingMounter) -> None:
    (tmp_path / "somebody's").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(StorageError, match="holds other things than snapshots"), opened(tmp_path, mounter):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["somebody's"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_disk_of_its_own_is_an_empty_folder(tmp_path: Path, mounter: RememberingMounter) -> None:
    (tmp_path / "lost+found").mkdir()
    with opened(tmp_path, mounter):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_socket_has_a_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="/ names no socket"):
        SnapshotterSettings(root=tmp_path, socket=Path("/"))
