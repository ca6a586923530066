"""Completion in real shells: what Tab makes of what was typed."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.support.commands import BIN, Modelcar, program, run
from tests.support.checkpoints import make_checkpoint

pytestmark = pytest.mark.slow

NAMES = ["localhost:5000/acme/llm:v1", "localhost:5000/acme/llm:v2", "registry.example/other:v1"]
SHELLS = [pytest.param(shell, marks=pytest.mark.debian(shell)) for shell in ("bash", "zsh", "fish")]
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
# Instead of the commands, something that shows what they were given.
SETUP = {
    "bash": "PS1='> '; bind 'set enable-bracketed-paste off'; {names}() {{ printf 'GOT<%s>\\n' \"$*\"; }}",
    "zsh": "PS1='> '; autoload -Uz compinit; compinit -u -D; {names}() {{ print -r -- \"GOT<$*>\"; }}",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three images, one of them signed, so that its index has entries that are no images."""
    folder = tmp_path_factory.mktemp("completion")
    modelcar = Modelcar(folder / "home")
    checkpoint = make_checkpoint(folder / "model")
    for name in NAMES:
        modelcar("build", checkpoint, "-t", name, "--base", "scratch")
    (folder / "shards").mkdir()
    (folder / "report.json").touch()
    return folder


def script(shell: str, folder: Path, name: str = "modelcar") -> Path:
    path = folder / f"{name}.{shell}"
    if not path.exists():
        path.write_text(run(BIN / name, "completion", shell).stdout)
    return path


def tabbed(shell: str, folder: Path, line: str, name: str = "modelcar") -> str:
    """What the command is given when `line` is typed, then Tab, then Enter."""
    if shell == "fish":  # it says itself what it would offer, and that has one beginning
        known, _, last = line.rpartition(" ")
        offered = [word.partition("\t")[0] for word in offered_by_fish(folder, f"{name} {line}", name)]
        return f"{known} {os.path.commonprefix(offered) or last}".strip()  # noqa: RUF071  # of words, as Tab does
    leader, follower = pty.openpty()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("XDG_")},
        "HOME": str(folder),
        "MODELCAR_HOME": str(folder / "home"),
        "TERM": "xterm",
        "INPUTRC": "/dev/null",
    }
    process = subprocess.Popen(
        [program(START[shell][0]), *START[shell][1:]],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(follower)
    seen = b""

    def until(pattern: str) -> re.Match[str]:
        nonlocal seen
        deadline = time.monotonic() + 60
        while (match := re.search(pattern, seen.decode(errors="replace"))) is None:
            assert time.monotonic() < deadline, (pattern, seen)
            if select.select([leader], [], [], 0.2)[0]:
                seen += os.read(leader, 65536)
        seen = b""
        return match

    try:
        source = script(shell, folder, name)
        setup = SETUP[shell].format(names=name)
        os.write(leader, f"{setup}; source {source}; printf 'is%s\\n' ready\r".encode())
        until("isready")
        os.write(leader, f"{name} {line}\t".encode())
        time.sleep(0.5)  # zsh throws away what is typed ahead while it completes
        os.write(leader, b"\r")
        return until(r"GOT<([^>\r\n]*)>")[1].strip()
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def offered_by_fish(folder: Path, line: str, name: str = "modelcar") -> list[str]:
    """Each word, a tab, and what is said about it."""
    environment = {"MODELCAR_HOME": str(folder / "home"), "HOME": str(folder)}
    command = f"cd {folder}; source {script('fish', folder, name)}; complete -C '{line}'"
    return run("fish", "--no-config", "-c", command, environment=environment).stdout.splitlines()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("umo", "umount"),
        ("push --limit-r", "push --limit-rate"),
        ("mount --kernel-mount ero", "mount --kernel-mount erofs"),
        ("admission ser", "admission serve"),
        ("push reg", "push registry.example/other:v1"),
        ("push localhost:5", "push localhost:5000/acme/llm:v"),
        ("push --json localhost:5000/acme/llm:", "push --json localhost:5000/acme/llm:v"),
        ("rm registry.example/other:v1 registry.example/oth", "rm registry.example/other:v1 registry.example/other:v1"),
        ("build ./sha", "build ./shards"),
        ("attest --predicate rep", "attest --predicate report.json"),
        ("load oci:sha", "load oci:shards"),
        ("scan rep", "scan report.json"),
        ("completion fi", "completion fish"),
    ],
    ids=lambda value: value.split()[0],
)
def test_tab_completes(shell: str, typed: str, given: str, home: Path) -> None:
    completed = tabbed(shell, home, typed)
    assert completed.removesuffix("/") == given  # zsh takes a folder's slash away again at Enter


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shim_completes_too(shell: str, home: Path) -> None:
    assert tabbed(shell, home, "hosts", "registry-shim") == "hosts-toml"


@pytest.mark.debian("fish")
def test_fish_lists_names_with_what_verbs_do(home: Path) -> None:
    assert offered_by_fish(home, "modelcar push localhost:") == NAMES[:2]
    assert "verify\tCheck that an image is signed by whom you name." in offered_by_fish(home, "modelcar ver")
    (engine,) = offered_by_fish(home, "modelcar load --engine d")
    assert engine.startswith("docker\tInto which")


@pytest.mark.debian("bash")
def test_bash_completes_without_starting_python(home: Path) -> None:
    """The script itself names the images; `modelcar` is not even installed here."""
    path = script("bash", home)
    ask = "COMP_LINE='modelcar verify local'; COMP_POINT=${#COMP_LINE}; _modelcar; printf '%s\\n' \"${COMPREPLY[@]}\""
    environment = {"MODELCAR_HOME": str(home / "home"), "PATH": "/usr/bin:/bin"}
    command = f"COMP_WORDBREAKS=' '; complete() {{ :; }}; compopt() {{ :; }}; source {path}; {ask}"
    done = run("bash", "--norc", "-c", command, environment=environment)
    assert done.stdout.split() == NAMES[:2]
