"""podman through its command: it needs no service and no library, and takes an image on standard input."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any, Final

from modelcar.errors import NotFound, WorldError
from modelcar.oci import Platform
from modelcar.programs import Ended, run_program

__all__ = ["PodmanCommand"]

_ANSWER_SECONDS: Final = 30
_WORDS: Final = 4096  # bytes of a complaint


class PodmanCommand:
    """`podman` of this machine and this user.

    Raises:
        NotFound: the program is not installed.
        WorldError: it does not work here.
    """

    def __init__(self) -> None:
        if shutil.which("podman") is None:
            raise NotFound("podman is not installed", hint="install it, or load into docker with --engine docker")
        self._info: dict[str, Any] = json.loads(self._ask("version", "--format", "json"))["Client"]
        self.name = f"podman {self._info.get('Version', '')}".rstrip()

    def platform(self) -> Platform:
        """See `Engine`."""
        system, _, architecture = str(self._info.get("OsArch", "linux/amd64")).partition("/")
        return Platform(os=system, architecture=architecture.partition("/")[0])

    def load(self, pieces: Iterable[bytes]) -> None:
        """See `Engine`."""
        with tempfile.TemporaryFile() as words:
            process = subprocess.Popen(
                ["podman", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words
            )
            try:
                _feed(process, pieces)
            except BaseException:
                process.kill()  # before it takes the end of the stream for the end of the archive
                process.communicate()
                raise
            if process.wait():
                raise WorldError(f"podman did not take the image: {_last_line(words)}")

    def image_id(self, reference: str) -> str | None:
        """See `Engine`."""
        ended = self._run("image", "inspect", "--format", "{{.Id}}", reference)
        identity = ended.output.strip()
        return f"sha256:{identity.removeprefix('sha256:')}" if ended.status == 0 and identity else None

    def _ask(self, *arguments: str) -> str:
        ended = self._run(*arguments)
        if ended.status:
            raise WorldError(f"podman does not work here: {ended.complaint}")
        return ended.output

    @staticmethod
    def _run(*arguments: str) -> Ended:
        return run_program("podman", *arguments, seconds=_ANSWER_SECONDS)


def _feed(process: subprocess.Popen[bytes], pieces: Iterable[bytes]) -> None:
    stream = process.stdin
    if stream is None:
        raise ValueError("a process without standard input")
    with suppress(BrokenPipeError):  # it has ended, and says why
        for piece in pieces:
            stream.write(piece)
    with suppress(BrokenPipeError):
        stream.close()


def _last_line(words: IO[bytes]) -> str:
    size = words.seek(0, 2)
    words.seek(max(0, size - _WORDS))
    lines = words.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("Error: ") if lines else "it does not say why"
