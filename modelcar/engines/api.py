"""Docker's API, which Docker and podman's socket speak, through Docker's own library for Python."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from modelcar.errors import ModelcarError, UsageError, WorldError
from modelcar.oci import Platform

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["ApiEngine"]

_ANSWER_SECONDS: Final = 10
_LOAD_SECONDS: Final = 3600  # an engine that unpacks tens of gigabytes says nothing meanwhile
_HINT: Final = "is it running, and may you use its socket? `modelcar doctor` looks"


class ApiEngine:
    """An engine behind a socket; a context manager.

    Raises:
        UsageError: the library is not installed.
        WorldError: nobody answers there.
    """

    def __init__(self, kind: str, address: str | None = None) -> None:
        """`address` such as `unix:///run/podman/podman.sock`; `None` is where the docker command would go: DOCKER_HOST,
        or the current context."""
        try:
            import docker
        except ImportError:
            raise UsageError(
                f"to load into {kind} the docker library is needed", hint="pip install 'modelcar[engine]'"
            ) from None
        self._kind = kind
        with _explained(kind):
            _knock(
                address or os.environ.get("DOCKER_HOST") or docker.ContextAPI.kwargs_from_context().get("base_url", "")
            )
            if address is None:
                self._client: DockerClient = docker.from_env(timeout=_ANSWER_SECONDS)
            else:
                self._client = docker.DockerClient(base_url=address, timeout=_ANSWER_SECONDS)
            try:
                self._version: dict[str, Any] = self._client.version()
            except BaseException:
                self._client.close()
                raise
        self.name = f"{kind} {self._version.get('Version', '')}".rstrip()

    def platform(self) -> Platform:
        """See `Engine`."""
        return Platform(os=str(self._version.get("Os", "linux")), architecture=str(self._version.get("Arch", "amd64")))

    def load(self, pieces: Iterable[bytes]) -> None:
        """See `Engine`."""
        with _explained(self._kind):
            api: Any = self._client.api  # of which the stubs know half
            api.timeout = _LOAD_SECONDS
            for line in api.load_image(pieces, quiet=True) or ():
                if "error" in line:
                    raise WorldError(f"{self._kind} did not take the image: {str(line['error']).strip()}")

    def image_id(self, reference: str) -> str | None:
        """See `Engine`."""
        import docker

        with _explained(self._kind):
            api: Any = self._client.api
            try:
                return str(api.inspect_image(reference)["Id"])
            except docker.errors.ImageNotFound:
                return None

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens at a socket: the library would leave its own open there."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_ANSWER_SECONDS)
            probe.connect(address.removeprefix("unix://"))


@contextmanager
def _explained(kind: str) -> Iterator[None]:
    """The library's many exceptions, as ours."""
    import docker
    import requests

    try:
        yield
    except ModelcarError:
        raise
    except docker.errors.APIError as e:
        raise WorldError(f"{kind} refused: {str(e.explanation or e).strip()}") from None
    except (docker.errors.DockerException, requests.RequestException, OSError) as e:
        raise WorldError(f"{kind} does not answer: {_reason(e)}", hint=_HINT) from None


def _reason(error: BaseException) -> str:
    """The operating system's words, which the library wraps several times."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = next((a for a in seen.args if isinstance(a, BaseException)), None) or seen.__context__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
