"""`Images`: the resolver that asks registries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotInTime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from modelcar.admission.admit import Caller, Pod
from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts, ImageFact
from modelcar.admission.resolve.access import Access
from modelcar.admission.resolve.lanes import Lanes
from modelcar.admission.resolve.logins import Keyring, PullSecrets
from modelcar.admission.resolve.lookup import Lookup, Question
from modelcar.admission.resolve.memory import Look, Memory, NotAtHand, Problem
from modelcar.admission.resolve.needs import needs
from modelcar.admission.resolve.verdicts import Judge
from modelcar.admission.settings import AdmissionSettings, TrustMode, TrustSettings
from modelcar.errors import ModelcarError, UsageError, WorldError
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.policy import Workload

__all__ = ["Images"]

_CLIENT: Final = ClientSettings(timeout=10, attempts=2)
_GO_ON_SECONDS: Final = 30.0  # what comes too late for one pod is there for the next one
_SECRETS_SECONDS: Final = 60.0
_SECRETS_LANE: Final = ""  # no registry has that name
_REFRESH_SECONDS: Final = 5.0
_REMEMBERED: Final = 10_000
_EMPTY: Final = Keyring()


class Images:
    """A `Resolver`. Safe to share between threads; a context manager.

    Where all is remembered nobody is asked and no thread is switched. What is not found out within `trust.seconds` is a
    problem of the pod, and goes on for half a minute: whoever tries again profits.

    Args:
        trust: the policies.
        client: how registries are reached. Its login files are used for images that no pull secret of the pod is for,
            as those of a node are by its kubelet.
        secrets: where pull secrets come from; `None`: pods have none.
        may_ask: whether the registry of an image may be asked at all.
    """

    def __init__(
        self,
        trust: TrustSettings,
        *,
        client: ClientSettings = _CLIENT,
        secrets: PullSecrets | None = None,
        may_ask: Callable[[Reference], bool] = lambda _: True,
    ) -> None:
        self._registry = Registry(client)
        self._secrets = secrets
        self._may_ask = may_ask
        self._lanes = Lanes(seconds=_GO_ON_SECONDS)
        self._keyrings: Memory[tuple[str, tuple[str, ...], str], Keyring] = Memory(
            _REMEMBERED, seconds=_SECRETS_SECONDS
        )
        self._lookup = self._new_lookup(trust)
        self._under_way: dict[Question, Future[ImageFact]] = {}
        self._lock, self._refreshing = threading.Lock(), threading.Lock()
        self._refreshed = time.monotonic()

    def open(self) -> None:
        """Read the policies.

        Raises:
            UsageError, NotFound, StorageError: one is not what it should be, is not there, or cannot be read.
        """
        self._lookup.judge.open()

    def change(self, trust: TrustSettings) -> None:
        """Go by other policies from now on, and forget what was said under those of before. Raises as `open`, and then
        those of before hold."""
        lookup = self._new_lookup(trust)
        lookup.judge.open()
        self._lookup = lookup

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:
        """As `Resolver`. Of the settings, those of policies are the ones of the beginning, or of `change`."""
        deadline = time.monotonic() + settings.trust.seconds
        self._refresh()
        keyring = self._keyring(pod, caller.namespace, deadline)
        owner = f"{caller.namespace}/{caller.owner}" if caller.owner else None
        workload = None if settings.trust.mode is TrustMode.OFF else _workload(pod)
        facts: dict[str, ImageFact] = {}
        late: list[tuple[str, Question, Future[ImageFact] | None]] = []
        for image, need in needs(pod, asked).items():
            try:
                ref = self._askable(image)
            except ModelcarError as e:
                facts[image] = ImageFact.unknown(str(e), asked_policies=workload is not None)
                continue
            question = self._lookup.question(ref, keyring.logins(ref), owner, need, workload)
            try:
                facts[image] = self._lookup.fact(question, Look.AT_HAND)
            except NotAtHand:
                late.append((image, question, self._begin(question)))
        for image, question, future in late:
            facts[image] = self._wait(question, future, deadline)
        return {image: _noting(fact, keyring.problems) for image, fact in facts.items()}

    def close(self) -> None:
        """Give up what is under way."""
        self._lanes.close()
        self._registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _askable(self, image: str) -> Reference:
        ref = Reference.parse(image)
        if not self._may_ask(ref):
            raise UsageError(f"{ref.registry} is no registry that may be asked about images (server.registries)")
        return ref

    def _new_lookup(self, trust: TrustSettings) -> Lookup:
        return Lookup(Access(self._registry, seconds=trust.remember_seconds), Judge(trust))

    def _refresh(self) -> None:
        """Policies that have changed are read by one of those who come, while the others go by those of before."""
        if time.monotonic() - self._refreshed < _REFRESH_SECONDS or not self._refreshing.acquire(blocking=False):
            return
        try:
            self._refreshed = time.monotonic()
            self._lookup.judge.refresh()
        finally:
            self._refreshing.release()

    def _begin(self, question: Question) -> Future[ImageFact] | None:
        """Have it found out; equal questions are asked once. `None` if too much is asked already."""
        with self._lock:
            if (running := self._under_way.get(question)) is not None:
                return running
            try:
                future = self._lanes.submit(question.ref.registry, partial(self._lookup.fact, question, Look.ASK))
            except WorldError:
                return None
            self._under_way[question] = future
        future.add_done_callback(lambda _: self._ended(question))
        return future

    def _ended(self, question: Question) -> None:
        with self._lock:
            self._under_way.pop(question, None)

    def _wait(self, question: Question, future: Future[ImageFact] | None, deadline: float) -> ImageFact:
        if future is not None:
            try:
                return future.result(max(0.0, deadline - time.monotonic()))
            except (NotInTime, CancelledError, WorldError):
                pass
        return self._lookup.fact(question, Look.LATE)  # as much of it as there is

    def _keyring(self, pod: Pod, namespace: str, deadline: float) -> Keyring:
        """The logins of the pod's secrets. Where they cannot be had, none, which is a problem for private images."""
        if self._secrets is None:
            return _EMPTY
        spec = _mapping(pod.get("spec"))
        names = tuple(name for name in map(_name, _list(spec.get("imagePullSecrets"))) if name)
        account = spec.get("serviceAccountName")
        key = (namespace, names, account if isinstance(account, str) and account else "default")
        known = self._keyrings.get(key)
        if known is None:
            known = self._ask_for_secrets(key, self._secrets, deadline)
        return Keyring.without(known.text) if isinstance(known, Problem) else known

    def _ask_for_secrets(
        self, key: tuple[str, tuple[str, ...], str], secrets: PullSecrets, deadline: float
    ) -> Keyring | Problem:
        def ask() -> Keyring | Problem:
            return self._keyrings.look(key, lambda: Keyring.of(secrets.for_pod(*key)), Look.ASK)

        try:
            return self._lanes.submit(_SECRETS_LANE, ask).result(max(0.0, deadline - time.monotonic()))
        except (NotInTime, CancelledError, WorldError):
            return Problem("the API server did not give them in time")


def _workload(pod: Pod) -> Workload:
    labels = _mapping(_mapping(pod.get("metadata")).get("labels"))
    return Workload(
        group="", version="v1", resource="pods", labels={k: v for k, v in labels.items() if isinstance(v, str)}
    )


def _noting(fact: ImageFact, problems: tuple[str, ...]) -> ImageFact:
    """A refusal may be due to secrets that could not be used."""
    if fact.digest is not None or fact.problem is None or not problems:
        return fact
    problem = "; ".join((fact.problem, *problems))
    return ImageFact.unknown(problem, asked_policies=fact.trust is not None)


def _name(reference: object) -> str:
    name = _mapping(reference).get("name")
    return name if isinstance(name, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
