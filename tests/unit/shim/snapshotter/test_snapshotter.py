"""What containerd is told, and what lies on the disk, after each of its calls."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelcar.errors import AlreadyExists, NotFound, Refused, WorldError
from modelcar.oci import Digest
from registry_shim.snapshotter.messages import Committing, Mount, Preparing, Updating
from registry_shim.snapshotter.records import Kind, ModelImage
from tests.support.snapshots import RememberingMounter, Workbench, chain_id, labels, lazy_labels
from tests.support.waiting import eventually


def folders(bench: Workbench) -> set[str]:
    return {path.name for path in (bench.root / "snapshots").iterdir()}


def lower(mounts: tuple[Mount, ...]) -> list[Path]:
    (mount,) = mounts
    assert mount.type == "overlay"
    (option,) = (o for o in mount.options if o.startswith("lowerdir="))
    return [Path(path) for path in option.removeprefix("lowerdir=").split(":")]


# As containerd's own overlay


def test_the_lowest_layer_is_a_folder(bench: Workbench) -> None:
    key = bench.key("extract")
    (mount,) = bench.snapshotter.prepare(Preparing(key=key, labels=labels("a")))
    assert (mount.type, mount.options) == ("bind", ("rw", "rbind"))
    assert Path(mount.source).is_dir()
    assert list(Path(mount.source).iterdir()) == []


def test_a_container_gets_an_overlay_of_its_layers_the_highest_first(bench: Workbench) -> None:
    a = bench.unpack("a")
    b = bench.unpack("b", a)
    found = bench.snapshotter.prepare(Preparing(key=bench.key("container"), parent=b))
    assert [(path / "file").read_bytes() for path in lower(found)] == [b"b", b"a"]
    options = dict(option.partition("=")[::2] for option in found[0].options)
    assert Path(options["upperdir"]).is_dir()
    assert Path(options["workdir"]).is_dir()
    assert Path(options["workdir"]).stat().st_dev == Path(options["upperdir"]).stat().st_dev
    assert options["index"] == "off"


def test_a_view_of_one_layer_is_that_layer_read_only(bench: Workbench) -> None:
    a = bench.unpack("a")
    (mount,) = bench.snapshotter.view(Preparing(key=bench.key("view"), parent=a))
    assert (mount.type, mount.options) == ("bind", ("ro", "rbind"))
    assert (Path(mount.source) / "file").read_bytes() == b"a"


def test_a_view_of_several_has_nothing_to_write_to(bench: Workbench) -> None:
    b = bench.unpack("b", bench.unpack("a"))
    found = bench.snapshotter.view(Preparing(key=bench.key("view"), parent=b))
    assert len(lower(found)) == 2
    assert not [option for option in found[0].options if option.startswith(("upperdir", "workdir"))]


def test_mounts_tells_the_same_again(bench: Workbench) -> None:
    b = bench.unpack("b", bench.unpack("a"))
    key = bench.key("container")
    first = bench.snapshotter.prepare(Preparing(key=key, parent=b))
    assert bench.snapshotter.mounts(key) == first
    with pytest.raises(Refused, match="is not active"):
        bench.snapshotter.mounts(b)
    with pytest.raises(NotFound):
        bench.snapshotter.mounts("k8s.io/1/absent")


def test_names_are_used_once_and_parents_are_committed(bench: Workbench) -> None:
    a, key = bench.unpack("a"), bench.key("container")
    bench.snapshotter.prepare(Preparing(key=key, parent=a))
    with pytest.raises(AlreadyExists):
        bench.snapshotter.prepare(Preparing(key=key, parent=a))
    with pytest.raises(Refused, match="not committed"):
        bench.snapshotter.prepare(Preparing(key=bench.key("other"), parent=key))
    with pytest.raises(NotFound):
        bench.snapshotter.prepare(Preparing(key=bench.key("other"), parent="k8s.io/1/absent"))
    bench.snapshotter.cleanup()
    assert len(folders(bench)) == 2


def test_committing(bench: Workbench) -> None:
    a, key = bench.unpack("a"), bench.key("container")
    bench.snapshotter.prepare(Preparing(key=key, parent=a, labels={"x": "lost"}))
    bench.snapshotter.commit(Committing(name="done", key=key, labels={"x": "kept"}))
    found = bench.snapshotter.stat("done")
    assert (found.kind, found.parent, found.labels) == (Kind.COMMITTED, a, {"x": "kept"})
    with pytest.raises(NotFound):
        bench.snapshotter.stat(key)
    with pytest.raises(Refused, match="is not active"):
        bench.snapshotter.commit(Committing(name="again", key="done", labels={}))
    other = bench.key("other")
    bench.snapshotter.prepare(Preparing(key=other, parent=a))
    with pytest.raises(AlreadyExists):
        bench.snapshotter.commit(Committing(name="done", key=other, labels={}))


def test_a_layer_that_was_unpacked_alone_gets_its_parent_when_it_is_committed(bench: Workbench) -> None:
    a, key = bench.unpack("a"), bench.key("extract")
    bench.snapshotter.prepare(Preparing(key=key, labels=labels("b")))
    bench.snapshotter.commit(Committing(name="b", key=key, labels={}, parent=a))
    assert bench.snapshotter.stat("b").parent == a
    other = bench.key("extract")
    bench.snapshotter.prepare(Preparing(key=other, parent="b", labels=labels("c")))
    with pytest.raises(Refused, match="another parent"):
        bench.snapshotter.commit(Committing(name="c", key=other, labels={}, parent=a))


def test_usage_counts_what_lies_on_the_disk(bench: Workbench) -> None:
    key = bench.key("extract")
    (mount,) = bench.snapshotter.prepare(Preparing(key=key, labels=labels("a")))
    folder = Path(mount.source)
    (folder / "large").write_bytes(b"x" * 100_000)
    (folder / "same").hardlink_to(folder / "large")
    (folder / "folder").mkdir()
    (folder / "folder/link").symlink_to("/nowhere")
    used = bench.snapshotter.usage(key)
    assert used.inodes == 3
    assert 100_000 <= used.size < 200_000
    bench.snapshotter.commit(Committing(name="a", key=key, labels={}))
    assert bench.snapshotter.usage("a") == used


def test_removing(bench: Workbench) -> None:
    a = bench.unpack("a")
    b = bench.unpack("b", a)
    with pytest.raises(Refused, match="has children"):
        bench.snapshotter.remove(a)
    bench.snapshotter.remove(b)
    bench.snapshotter.remove(a)
    assert bench.snapshotter.list([]) == ()
    bench.snapshotter.cleanup()
    assert folders(bench) == set()
    with pytest.raises(NotFound):
        bench.snapshotter.remove(a)


def test_a_folder_that_a_crash_left_is_not_taken_for_a_new_snapshots(bench: Workbench) -> None:
    for number in range(1, 5):
        (bench.root / f"snapshots/{number}/fs").mkdir(parents=True)
        (bench.root / f"snapshots/{number}/fs/stale").touch()
    (mount,) = bench.snapshotter.prepare(Preparing(key=bench.key("extract"), labels=labels("a")))
    assert list(Path(mount.source).iterdir()) == []
    bench.snapshotter.cleanup()
    assert folders(bench) == {Path(mount.source).parent.name}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((), {"b": "2"}),
        (("labels",), {"b": "2"}),
        (("labels.b",), {"a": "1", "b": "2"}),
        (("labels.a",), {}),
        (("labels.a", "labels.b"), {"b": "2"}),
    ],
)
def test_updating_labels(bench: Workbench, paths: tuple[str, ...], expected: dict[str, str]) -> None:
    key = bench.key("container")
    bench.snapshotter.prepare(Preparing(key=key, labels={"a": "1"}))
    updated = bench.snapshotter.update(Updating(name=key, labels={"b": "2"}, paths=paths))
    assert updated.labels == expected
    assert bench.snapshotter.stat(key) == updated
    assert updated.updated > updated.created


# Lazy layers


def prepare_lazily(bench: Workbench, name: str, parent: str = "", *, manifest: str = "manifest") -> str:
    """As containerd does; the name of the snapshot that it then finds."""
    with pytest.raises(AlreadyExists):
        bench.snapshotter.prepare(bench.lazily(name, parent, manifest=manifest))
    return bench.found(name, parent)


def test_a_lazy_layer_exists_as_soon_as_it_is_asked_for(bench: Workbench, mounter: RememberingMounter) -> None:
    mounter.open.clear()  # nothing waits for the mount
    name = prepare_lazily(bench, "a")
    found = bench.snapshotter.stat(name)
    assert (found.kind, found.parent, found.labels) == (Kind.COMMITTED, "", lazy_labels("a"))
    assert (bench.snapshotter.usage(name).size, bench.snapshotter.usage(name).inodes) == (0, 0)
    with pytest.raises(NotFound):
        bench.snapshotter.stat("k8s.io/1001/extract-1 " + chain_id("a"))
    assert folders(bench) == set()


def test_layers_of_an_image_are_mounted_together(bench: Workbench, mounter: RememberingMounter) -> None:
    a = prepare_lazily(bench, "a")
    b = prepare_lazily(bench, "b", a)
    top = bench.unpack("top", b)
    found = lower(bench.snapshotter.prepare(Preparing(key=bench.key("container"), parent=top)))
    assert (found[0] / "file").read_bytes() == b"top"
    (target,) = mounter.mounted
    assert [path.parent for path in found[1:]] == [target, target]
    assert len({path.name for path in found}) == 3


def test_asked_for_twice_it_is_the_same(bench: Workbench) -> None:
    first = prepare_lazily(bench, "a")
    assert prepare_lazily(bench, "a", manifest="another") == first
    assert len(bench.snapshotter.list([])) == 1


def test_the_parent_is_the_one_that_was_asked_for(bench: Workbench) -> None:
    """Two namespaces have the same layer under two names, and ask for what lies above each."""
    parents = [bench.unpack("a"), bench.unpack("a")]
    names = [prepare_lazily(bench, "b", parent) for parent in parents]
    assert len(set(names)) == 2
    assert [bench.snapshotter.stat(name).parent for name in names] == parents


def test_what_cannot_be_mounted_is_pulled_like_any_other_layer(bench: Workbench, mounter: RememberingMounter) -> None:
    mounter.refusal = NotFound("the image has no index")
    request = bench.lazily("a")
    (mount,) = bench.snapshotter.prepare(request)
    (Path(mount.source) / "file").write_bytes(b"unpacked")
    bench.snapshotter.commit(Committing(name="a", key=request.key, labels=dict(request.labels)))
    assert bench.snapshotter.stat("a").lazy is None
    assert mounter.asked == []


@pytest.mark.parametrize("missing", sorted(set(lazy_labels("a")) - {"containerd.io/snapshot/cri.image-layers"}))
def test_a_layer_of_which_too_little_is_known_is_pulled_like_any_other(
    bench: Workbench, mounter: RememberingMounter, missing: str
) -> None:
    request = bench.lazily("a")
    rest = {key: value for key, value in request.labels.items() if key != missing}
    assert bench.snapshotter.prepare(Preparing(key=request.key, labels=rest))
    assert mounter.checked == []


def test_a_container_waits_for_its_model_and_is_told_why_it_does_not_come(
    bench: Workbench, mounter: RememberingMounter
) -> None:
    mounter.failure = WorldError("the registry is away", hint="wait")
    a = prepare_lazily(bench, "a")
    with pytest.raises(WorldError, match=r"registry\.example/acme/model:v1 cannot be mounted now: the registry is"):
        bench.snapshotter.prepare(Preparing(key=bench.key("container"), parent=a))
    assert [snapshot.name for snapshot in bench.snapshotter.list([])] == [a]
    mounter.failure = None
    assert bench.snapshotter.prepare(Preparing(key=bench.key("container"), parent=a))


def test_a_container_waits_only_so_long(tmp_path: Path, mounter: RememberingMounter) -> None:
    bench = Workbench(tmp_path / "impatient", mounter, ready_seconds=0.01)
    mounter.open.clear()
    a = prepare_lazily(bench, "a")
    with pytest.raises(WorldError, match="not mounted yet"):
        bench.snapshotter.prepare(Preparing(key=bench.key("container"), parent=a))
    mounter.open.set()
    bench.close()


def test_a_layer_can_be_unpacked_above_one_that_is_not_mounted_yet(
    bench: Workbench, mounter: RememberingMounter
) -> None:
    mounter.open.clear()
    a = prepare_lazily(bench, "a")
    found = lower(bench.snapshotter.prepare(Preparing(key=bench.key("e"), parent=a, labels=labels("b"))))
    assert found[0].is_dir()  # somebody may look into it


def test_many_pods_at_once_ask_for_one_mount(bench: Workbench, mounter: RememberingMounter) -> None:
    mounter.open.clear()
    a = prepare_lazily(bench, "a")
    pods = 30
    entered = threading.Barrier(pods + 1)

    def start(number: int) -> None:
        entered.wait(30)
        bench.snapshotter.prepare(Preparing(key=bench.key(f"container-{number}"), parent=a))

    with ThreadPoolExecutor(pods) as threads:
        started = [threads.submit(start, number) for number in range(pods)]
        entered.wait(30)
        mounter.open.set()
        for each in started:
            each.result(30)
    assert len(mounter.mounted) == 1
    assert len(bench.snapshotter.list([])) == pods + 1


def test_an_image_is_unmounted_with_its_last_layer(bench: Workbench, mounter: RememberingMounter) -> None:
    a = prepare_lazily(bench, "a")
    b = prepare_lazily(bench, "b", a)
    bench.snapshotter.prepare(Preparing(key=bench.key("container"), parent=b))
    (target,) = mounter.mounted
    with pytest.raises(Refused):
        bench.snapshotter.remove(b)
    for snapshot in reversed(bench.snapshotter.list([])):
        assert target in mounter.mounted
        bench.snapshotter.remove(snapshot.name)
        bench.snapshotter.cleanup()
    assert mounter.mounted == {}
    assert list((bench.root / "images").iterdir()) == []


def test_what_does_not_unmount_is_tried_again(bench: Workbench, mounter: RememberingMounter) -> None:
    a = prepare_lazily(bench, "a")
    bench.snapshotter.prepare(Preparing(key=(key := bench.key("container")), parent=a))
    bench.snapshotter.remove(key)
    bench.snapshotter.remove(a)
    mounter.failure = WorldError("busy")
    bench.snapshotter.cleanup()
    assert len(mounter.mounted) == 1
    mounter.failure = None
    bench.snapshotter.cleanup()
    assert mounter.mounted == {}


def test_an_image_that_is_removed_while_it_is_mounted_goes_when_it_is(
    bench: Workbench, mounter: RememberingMounter
) -> None:
    mounter.open.clear()
    name = prepare_lazily(bench, "a")
    found = bench.snapshotter.stat(name).lazy
    assert found is not None
    mounting = bench.images.begin(found.image, bench.root / f"images/{found.image.number}")
    eventually(lambda: mounter.asked, "it is being mounted")
    bench.snapshotter.remove(name)
    bench.snapshotter.cleanup()
    mounter.open.set()
    mounting.result(30)
    assert len(mounter.asked) == 1
    assert mounter.mounted == {}
    assert list((bench.root / "images").iterdir()) == []


def test_an_image_that_is_removed_before_it_is_mounted_is_not(bench: Workbench, mounter: RememberingMounter) -> None:
    place = bench.root / "images/7"
    bench.images.drop([place])
    mounting = bench.images.begin(ModelImage(reference="r", manifest=Digest.of(b"m")), place)
    with pytest.raises(WorldError, match="removed meanwhile"):
        mounting.result(30)
    assert mounter.asked == []


def test_another_process_goes_on(bench: Workbench, tmp_path: Path, mounter: RememberingMounter) -> None:
    a = prepare_lazily(bench, "a")
    top = bench.unpack("top", a)
    bench.snapshotter.prepare(Preparing(key="running", parent=top))
    before = bench.snapshotter.list([])
    mounts = bench.snapshotter.mounts("running")
    bench.close()
    again = Workbench(bench.root, mounter)
    mounter.failure = WorldError("it does not unmount")  # which keeps nobody from going on
    again.snapshotter.recover()
    mounter.failure = None
    assert [path.parent.name for path in mounter.recovered] == ["images"]
    assert again.snapshotter.list([]) == before
    assert again.snapshotter.mounts("running") == mounts
    assert prepare_lazily(again, "a") == a
    again.close()
