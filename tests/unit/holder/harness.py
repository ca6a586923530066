"""The program as tests run it, and the models it publishes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.support.waiting import eventually

Process = subprocess.Popen[str]


class Holder:
    """Starts the program and sees to it that nothing outlives a test."""

    def __init__(self, program: Path, model: Path) -> None:
        self.program = program
        self.model = model
        self._running: list[Process] = []

    def command(self, verb: str, *arguments: str | Path, model: Path | None = None) -> list[str]:
        return [str(self.program), verb, "--model", str(model or self.model), *map(str, arguments)]

    def run(self, verb: str, *arguments: str | Path, model: Path | None = None) -> subprocess.CompletedProcess[str]:
        """To its end, which must come: for what fails, and for `ready`."""
        command = self.command(verb, *arguments, model=model)
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20)

    def refusal(self, verb: str, *arguments: str | Path, model: Path | None = None) -> str:
        """The one line with which the program ends, with exit status 1."""
        done = self.run(verb, *arguments, model=model)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert done.stderr.startswith("holder: ")
        assert done.stderr.endswith("\n")
        assert done.stderr.count("\n") == 1
        return done.stderr

    def start(self, verb: str, *arguments: str | Path, model: Path | None = None) -> Process:
        process = subprocess.Popen(self.command(verb, *arguments, model=model), stdout=subprocess.PIPE, text=True)
        self._running.append(process)
        return process

    def publish(self, to: Path, *arguments: str | Path, model: Path | None = None) -> Process:
        """Start publishing and wait until it says so."""
        process = self.start("publish", "--to", to, *arguments, model=model)
        assert process.stdout
        line = process.stdout.readline()
        assert line == f"holder: {to}: published: /proc/{process.pid}/root{model or self.model}\n"
        return process

    def stop_all(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()


def write_model(folder: Path, *names: str, content: str = "A") -> Path:
    """Files that contain their own name and `content`."""
    for name in names or ("config.json", "model.safetensors", "onnx/model.onnx", "onnx/deep/er/data"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{name} {content}")
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Every name below `folder`: a link's target, a file's content, or `/`."""
    found = {}
    for base, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(base, name)
            kind = str(path.readlink()) if path.is_symlink() else "/" if path.is_dir() else path.read_text()
            found[str(path.relative_to(folder))] = kind
    return found


def end(process: Process, with_signal: signal.Signals = signal.SIGKILL) -> int:
    process.send_signal(with_signal)
    return process.wait(timeout=60)


def status_after(pid: int, with_signal: signal.Signals) -> int:
    """For what `subprocess` cannot start: signals the process and returns its exit status, negative for a signal."""
    os.kill(pid, with_signal)
    try:
        eventually(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
