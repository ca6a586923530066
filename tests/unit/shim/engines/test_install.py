"""Everything that is written can be taken back, to the byte, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from modelcar.errors import Refused, StorageError
from registry_shim.engines import install as module
from registry_shim.engines.files import PlannedFile
from registry_shim.engines.install import Action, Installer
from registry_shim.engines.manifest import Wired

MINE = Wired(owner="containerd", shim="http://127.0.0.1:5000", registries=("ghcr.io",))
OTHERS = Wired(owner="docker", shim="http://127.0.0.1:5000", registries=("docker.io",))


def planned(path: str, content: bytes, owner: str = "containerd") -> PlannedFile:
    return PlannedFile(path=PurePosixPath(path), content=content, owner=owner)


NEW = planned("/etc/containerd/certs.d/ghcr.io/hosts.toml", b"ours\n")
OVER = planned("/etc/docker/daemon.json", b'{"ours": 1}\n')
BOTH = (NEW, OVER)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "var/lib").mkdir(parents=True)
    daemon = tmp_path / "etc/docker/daemon.json"
    daemon.write_bytes(b'{"theirs": true}')  # and no newline at its end
    daemon.chmod(0o600)
    return tmp_path


@pytest.fixture
def installer(root: Path) -> Installer:
    return Installer(root)


def tree(root: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(root.rglob("*"))
    }


def install(installer: Installer, *files: PlannedFile) -> list[Action]:
    return [change.action for change in installer.install(files, wired=[MINE])]


def test_taken_back_to_the_byte(root: Path, installer: Installer) -> None:
    before = tree(root)
    assert install(installer, *BOTH) == [Action.WRITE, Action.REPLACE]
    assert (root / "etc/containerd/certs.d/ghcr.io/hosts.toml").read_bytes() == b"ours\n"
    assert (root / "etc/docker/daemon.json").read_bytes() == b'{"ours": 1}\n'
    assert [change.action for change in installer.uninstall()] == [Action.RESTORE, Action.REMOVE]
    assert tree(root) == before


def test_a_second_run_changes_nothing(root: Path, installer: Installer) -> None:
    install(installer, *BOTH)
    once = tree(root)
    assert install(installer, *BOTH) == [Action.NOTHING, Action.NOTHING]
    assert tree(root) == once


def test_what_was_there_first_survives_any_number_of_runs(root: Path, installer: Installer) -> None:
    before = tree(root)
    for content in (b"one", b"two", b"three"):
        install(installer, planned(str(OVER.path), content))
    assert installer.original(OVER.path) == b'{"theirs": true}'
    installer.uninstall()
    assert tree(root) == before


def test_what_is_no_longer_wanted_goes(root: Path, installer: Installer) -> None:
    install(installer, *BOTH)
    assert install(installer, NEW) == [Action.NOTHING, Action.RESTORE]
    assert (root / "etc/docker/daemon.json").read_bytes() == b'{"theirs": true}'


def test_what_other_engines_want_stays(root: Path, installer: Installer) -> None:
    installer.install([planned(str(OVER.path), b"docker's", "docker")], wired=[OTHERS])
    install(installer, NEW)
    assert (root / "etc/docker/daemon.json").read_bytes() == b"docker's"
    assert installer.manifest().wired == (OTHERS, MINE)
    installer.uninstall(owners=frozenset({"docker"}))
    assert (root / "etc/docker/daemon.json").read_bytes() == b'{"theirs": true}'
    assert (root / "etc/containerd/certs.d/ghcr.io/hosts.toml").exists()
    assert installer.manifest().wired == (MINE,)


def test_what_a_person_changed_is_refused_before_anything_is_written(root: Path, installer: Installer) -> None:
    install(installer, *BOTH)
    (root / "etc/docker/daemon.json").write_bytes(b"mine now")
    with pytest.raises(Refused, match=r"/etc/docker/daemon\.json was changed"):
        install(installer, planned(str(NEW.path), b"newer"), planned(str(OVER.path), b"newer"))
    assert (root / "etc/docker/daemon.json").read_bytes() == b"mine now"
    assert (root / "etc/containerd/certs.d/ghcr.io/hosts.toml").read_bytes() == b"ours\n"


def test_what_a_person_changed_stays_when_the_rest_is_taken_back(root: Path, installer: Installer) -> None:
    install(installer, *BOTH)
    (root / "etc/docker/daemon.json").write_bytes(b"mine now")
    assert [change.action for change in installer.uninstall()] == [Action.CHANGED, Action.REMOVE]
    assert (root / "etc/docker/daemon.json").read_bytes() == b"mine now"
    assert not (root / "etc/containerd/certs.d").exists()
    (root / "etc/docker/daemon.json").unlink()
    installer.uninstall()  # and now it can go on
    assert (root / "etc/docker/daemon.json").read_bytes() == b'{"theirs": true}'
    assert not (root / "var/lib/modelcar-wiring").exists()


def test_a_file_that_vanished_is_written_again(root: Path, installer: Installer) -> None:
    install(installer, NEW)
    (root / "etc/containerd/certs.d/ghcr.io/hosts.toml").unlink()
    assert [reason for _, reason in installer.drifted()] == ["it is gone"]
    assert install(installer, NEW) == [Action.WRITE]
    assert not list(installer.drifted())


def test_drift_is_seen(root: Path, installer: Installer) -> None:
    install(installer, *BOTH)
    assert not list(installer.drifted())
    (root / "etc/docker/daemon.json").write_bytes(b"mine now")
    assert [(str(entry.path), reason) for entry, reason in installer.drifted()] == [
        ("/etc/docker/daemon.json", "someone changed it")
    ]


def test_folders_that_others_use_stay(root: Path, installer: Installer) -> None:
    install(installer, NEW)
    other = root / "etc/containerd/certs.d/quay.io"
    other.mkdir()
    installer.uninstall()
    assert other.is_dir()
    assert not (root / "etc/containerd/certs.d/ghcr.io").exists()


def test_a_plan_writes_nothing_and_shows_the_difference(root: Path, installer: Installer) -> None:
    before = tree(root)
    changes = installer.plan(BOTH, owners=frozenset({"containerd"}))
    assert tree(root) == before
    assert changes[0].diff.startswith("--- /dev/null\n+++ /etc/containerd/certs.d/ghcr.io/hosts.toml\n")
    assert '-{"theirs": true}' in changes[1].diff
    assert '+{"ours": 1}' in changes[1].diff


def test_links_are_not_written_through(
    root: Path, installer: Installer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (root / "etc/containerd").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="is a link"):
        install(installer, NEW)
    daemon = root / "etc/docker/daemon.json"
    daemon.rename(root / "real.json")
    daemon.symlink_to(root / "real.json")
    with pytest.raises(StorageError, match="is a link"):
        install(installer, OVER)
    assert not list(elsewhere.iterdir())


def test_a_damaged_copy_of_what_was_there_is_not_put_back(root: Path, installer: Installer) -> None:
    install(installer, OVER)
    (kept,) = (root / "var/lib/modelcar-wiring/before").iterdir()
    kept.write_bytes(b"bit rot")
    with pytest.raises(StorageError, match="damaged"):
        installer.uninstall()
    assert (root / "etc/docker/daemon.json").read_bytes() == b'{"ours": 1}\n'


@pytest.mark.parametrize(
    "record",
    [b"", b"[" * 100_000, b"{}", b"[]", b'{"files": [{}], "wired": []}', b'{"files": [], "wired": [{"x": 1}]}'],
)
def test_a_damaged_record_is_said_to_be_one(root: Path, installer: Installer, record: bytes) -> None:
    install(installer, NEW)
    (root / "var/lib/modelcar-wiring/manifest.json").write_bytes(record)
    with pytest.raises(StorageError, match="damaged"):
        installer.manifest()


class Killed(BaseException):
    pass


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> bool:
    """Run `work` and kill it before its file operation number `step`; whether it came that far."""
    left = step
    with monkeypatch.context() as patch:
        for name in ("atomic_write", "make_dirs", "_chmod"):
            real = getattr(module, name)

            def counted(*arguments: object, _real: Callable[..., object] = real, **named: object) -> object:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return _real(*arguments, **named)

            patch.setattr(module, name, counted)
        try:
            work()
        except Killed:
            return True
    return False


def test_a_run_that_is_killed_anywhere_can_be_taken_back_or_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, killed = 0, True
    while killed:
        for repeat in (False, True):
            root = tmp_path / f"{step}-{repeat}"
            (root / "etc/docker").mkdir(parents=True)
            (root / "var/lib").mkdir(parents=True)
            (root / "etc/docker/daemon.json").write_bytes(b"theirs")
            before = tree(root)
            installer = Installer(root)
            install(installer, planned(str(OVER.path), b"an older version of ours"))
            killed = killed_at(step, monkeypatch, lambda i=installer: install(i, *BOTH))  # type: ignore[misc]  # mypy takes no lambda with a default
            if repeat:
                install(installer, *BOTH)
                assert (root / "etc/docker/daemon.json").read_bytes() == OVER.content
                assert not list(installer.drifted())
            assert all(change.action is not Action.CHANGED for change in installer.uninstall())
            folders_left = {"etc/containerd", "etc/containerd/certs.d", "etc/containerd/certs.d/ghcr.io"}
            assert {path: kept for path, kept in tree(root).items() if path not in folders_left} == before
        step += 1
    assert step > 8
