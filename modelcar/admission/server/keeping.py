"""The webhook's own certificates, kept where all its replicas see them, and renewed by whichever comes first."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from modelcar.admission.server.certificates import Lifetimes, Papers, renewed
from modelcar.errors import Conflict, ModelcarError, WorldError
from modelcar.serving.threads import in_thread
from modelcar.tls import server_context

__all__ = ["Keeper", "Kept", "Vault"]

_LOOK_SECONDS: Final = 60.0
_ATTEMPTS: Final = 10
_log = logging.getLogger("modelcar.admission")


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in a vault. `version` is `None` where there is nothing yet, not even an empty Secret."""

    data: Mapping[str, bytes]
    version: str | None


class Vault(Protocol):
    """A Secret, and the webhook configuration whose authorities it has. Every method raises `ClusterError`."""

    def read(self) -> Kept: ...

    def write(self, data: Mapping[str, bytes], version: str | None) -> None:
        """Raises `Conflict` unless `version` is still there."""

    def publish(self, bundle: bytes) -> None:
        """Let the API server trust these authorities, in PEM."""


class Keeper:
    """Certificates from a vault: `modelcar.tls.Contexts`. Call `start` before anything else."""

    def __init__(
        self,
        vault: Vault,
        names: Sequence[str],
        lifetimes: Lifetimes,
        *,
        look_seconds: float = _LOOK_SECONDS,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._vault = vault
        self._names = tuple(names)
        self._lifetimes = lifetimes
        self._look_seconds = look_seconds
        self._clock = clock
        self._papers: Papers | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def until(self) -> float:
        """When the current certificate ends, in seconds since 1970."""
        return self._papers.server.until.timestamp() if self._papers else 0.0

    async def start(self) -> None:
        """Have a certificate, or raise `ClusterError` or `WorldError`."""
        await self.look()

    async def watch(self) -> None:
        """Renew, or take what another replica renewed, again and again; run it as a task."""
        while True:
            await asyncio.sleep(self._look_seconds * random.uniform(0.8, 1.2))  # noqa: S311  # replicas take turns
            try:
                await self.look()
            except ModelcarError as e:
                _log.error("the webhook's certificates are not renewed: %s", e)
            except Exception as e:  # a defect, and still the one that is there has to be looked after
                _log.error("the webhook's certificates are not renewed", exc_info=e)

    async def look(self) -> None:
        """Take what is in the vault, after renewing it if it is time."""
        papers = await in_thread(self._looked)
        if self._papers is None or papers.chain != self._papers.chain:
            self._context = await in_thread(context_of, papers.chain)
            _log.info("the webhook's certificate is valid until %s", papers.server.until.isoformat())
        self._papers = papers

    def current(self) -> ssl.SSLContext:
        if self._context is None:
            raise WorldError("there is no certificate yet")
        return self._context

    def _looked(self) -> Papers:
        for _ in range(_ATTEMPTS):
            kept = self._vault.read()
            papers = Papers.from_data(kept.data)
            if papers is not None:
                self._vault.publish(papers.bundle)  # before anything is issued by what was not published
            wanted = renewed(papers, self._names, self._lifetimes, self._clock())
            if wanted is papers:
                return papers
            try:
                self._vault.write(wanted.to_data(), kept.version)
            except Conflict:
                continue  # another replica did it
            self._vault.publish(wanted.bundle)
            return wanted
        raise WorldError(f"the webhook's certificates were changed by others {_ATTEMPTS} times in a row")


def context_of(chain: bytes) -> ssl.SSLContext:
    """For connections to the owner of this certificate and key. The key reaches no disk."""
    memory = os.memfd_create("certificate")
    with open(memory, "wb") as file:
        file.write(chain)
        file.flush()
        path = Path(f"/proc/self/fd/{memory}")
        return server_context(path, path)
