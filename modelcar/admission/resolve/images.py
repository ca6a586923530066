"""`Images`: the resolver that asks registries."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from modelcar.admission.admit import Caller, Pod
from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts
from modelcar.admission.resolve.logins import PullSecrets
from modelcar.admission.settings import AdmissionSettings, TrustSettings
from modelcar.registry import ClientSettings

__all__ = ["Images"]

_CLIENT = ClientSettings(timeout=10, attempts=2)


class Images:
    """A `Resolver`. Safe to share between threads; a context manager.

    Args:
        trust: the policies of the beginning. Each `facts` goes by the settings that it is given.
        client: how registries are reached. Its login files are used for images that no pull secret of the pod is for,
            as those of a node are by its kubelet.
        secrets: where pull secrets come from; `None`: pods have none.
    """

    def __init__(
        self, trust: TrustSettings, *, client: ClientSettings = _CLIENT, secrets: PullSecrets | None = None
    ) -> None:
        raise NotImplementedError

    def open(self) -> None:
        """Read the policies.

        Raises:
            UsageError, NotFound, StorageError: one is not what it should be, is not there, or cannot be read.
        """

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:
        """As `Resolver`."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up what is under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
