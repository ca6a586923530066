"""On nodes and in containers the shim has no home that it could write to, often none at all, nor a user with a name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.waiting import eventually
from tests.unit.shim.command import COMMAND, ROOT

pytestmark = pytest.mark.slow

NOWHERE = "/proc"  # where not even root can create anything
SHIM = COMMAND[:-1]
HOMES: dict[str, dict[str, str]] = {
    "none": {},
    "one that is not there": {"HOME": "/nonexistent"},
    "one that cannot be written": {"HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE, "XDG_RUNTIME_DIR": NOWHERE},
    "none, and no room for what is temporary": {"TMPDIR": "/nonexistent"},
}
UNKNOWN = 12345
# Another user may read what this interpreter is made of, wherever it lies, and is root in nothing else.
KEPT = "-all,+dac_read_search"
AS_UNKNOWN = (
    *("setpriv", f"--reuid={UNKNOWN}", f"--regid={UNKNOWN}", "--clear-groups"),
    *(f"--inh-caps={KEPT}", f"--ambient-caps={KEPT}", f"--bounding-set={KEPT}"),
)


class Shim:
    """`registry-shim` as some user, in some home, over a folder of its own."""

    def __init__(self, root: Path, home: Mapping[str, str], before: Sequence[str]) -> None:
        self.root = root
        self._before = before
        # Another user cannot write down which lines have run, and would complain of it.
        mute = ("XDG_", "COVERAGE_") if before else ("XDG_",)
        left = {k: v for k, v in os.environ.items() if k not in ("HOME", "TMPDIR") and not k.startswith(mute)}
        self._environment = {**left, **home}

    def run(self, *words: str | Path) -> tuple[int, str, str]:
        done = subprocess.run(
            [*self._before, *SHIM, *map(str, words)],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    @contextmanager
    def running(self, *words: str | Path) -> Iterator[str]:
        """The line with which it says that it is ready. Its end is clean, and it has complained of nothing."""
        with subprocess.Popen(
            [*self._before, *SHIM, *map(str, words)],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline()
            finally:
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


@pytest.fixture(
    params=[(), pytest.param(AS_UNKNOWN, marks=[pytest.mark.root, pytest.mark.debian("setpriv")])],
    ids=["as who we are", "as a user without a name"],
)
def before(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user finds and may write to."""
    with TemporaryDirectory(prefix="shim-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture(params=HOMES)
def shim(request: pytest.FixtureRequest, public: Path, before: tuple[str, ...]) -> Shim:
    return Shim(public, HOMES[request.param], before)


def test_it_serves_and_answers(shim: Shim) -> None:
    at = ("--root", shim.root)
    with shim.running("serve", *at, "--listen", "127.0.0.1:0", "--upstream", "ghcr.io") as line:
        assert line.startswith("listening on http://127.0.0.1:")
        status, out, err = shim.run("status", *at, "--json")
        assert (status, err) == (0, "")
        assert json.loads(out)["about"]["upstreams"] == ["ghcr.io"]
        for words in (["gc"], ["precache", "--list"], ["pin", "ghcr.io/acme/llm:v1"]):
            assert shim.run(*words, *at)[0::2] == (0, "")
    status, out, err = shim.run("status", *at)
    assert (status, out, len(err.splitlines())) == (3, "", 2)


@pytest.mark.parametrize("shim", ["none", "one that cannot be written"], indirect=True)
def test_the_snapshotter_listens(shim: Shim) -> None:
    state, socket = shim.root / "state", shim.root / "socket"
    with shim.running("snapshotter", "--root", shim.root, "--state", state, "--socket", socket) as line:
        assert line == f"listening at {socket}\n"
        eventually(socket.is_socket)


@pytest.mark.parametrize("shim", ["none", "one that cannot be written"], indirect=True)
def test_the_doctor_looks(shim: Shim) -> None:
    status, out, err = shim.run("doctor", "--root", shim.root, "--json")
    assert status == 1
    assert not json.loads(out)["healthy"]
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--writable", "--listen", "127.0.0.1:0", "--root", f"{NOWHERE}/registry"),
        ("serve", "--upstream", "ghcr.io", "--listen", "127.0.0.1:0", "--root", f"{NOWHERE}/registry"),
        ("snapshotter", "--state", f"{NOWHERE}/state", "--socket", f"{NOWHERE}/socket"),
        (
            "hosts-toml",
            "--engine",
            "containerd",
            "--registry",
            "ghcr.io",
            "--shim",
            "http://127.0.0.1:5000",
            "-o",
            f"{NOWHERE}/out",
        ),
        ("precache", "ghcr.io/acme/llm:v1", "--root", NOWHERE),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, before: tuple[str, ...], words: list[str]) -> None:
    status, out, err = Shim(tmp_path, {}, before).run(*words)
    assert (status, out) == (3, ""), err
    first, *hint = err.splitlines()
    assert first.startswith("registry-shim: ")
    assert all(line.startswith("  hint: ") for line in hint)
    assert len(hint) <= 1
