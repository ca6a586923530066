"""`registry-shim node`: a round every few seconds, from what the cluster wants to what the shim has, and back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.admission.resolve.logins import PullSecret
from modelcar.cluster.api import Cluster
from modelcar.cluster.names import NodePhase
from modelcar.cluster.resources import MODEL_NODES, PODS, Object
from modelcar.cluster.secrets import read_secret
from modelcar.cluster.watching import Followed
from modelcar.errors import ClusterError, ModelcarError
from modelcar.store.disk import atomic_write, explain, make_dirs
from registry_shim.cluster.progress import events
from registry_shim.cluster.seen import Shim, Sight, look
from registry_shim.cluster.telling import Events, Labels, Statuses
from registry_shim.cluster.wishes import SecretName, image_list, logins, models_of, pull_secrets

__all__ = ["LIST_NAME", "LOGINS_NAME", "Agent", "AgentSettings"]

LIST_NAME: Final = "modelcaches.yaml"
LOGINS_NAME: Final = "pull-secrets.json"
"""In the shim's folder; its upstreams name it as `docker_config`."""
_IDLE: Final = 4
"""Rounds that are left out while there is nothing to tell."""
_log = logging.getLogger("registry_shim.cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Attributes:
    node: the name of this node.
    root: the shim's folder.
    lists: the folder of lists that the shim follows; `ROOT/precache.d` unless it is configured otherwise.
    interval: seconds between two rounds, and so between two reports.
    secrets_seconds: seconds between two looks at pull secrets.
    """

    node: str
    root: Path
    lists: Path | None = None
    interval: float = 2.0
    secrets_seconds: float = 300.0


class Agent:
    """`start` follows the cluster, `round` does all there is to do, `run` makes rounds; `close` ends it.

    A round that fails in one part does the others. Nothing is undone while the API server is away.
    """

    def __init__(
        self, cluster: Cluster, shim: Shim, settings: AgentSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._shim = shim
        self._settings = settings
        self._clock = clock
        self._changed = threading.Event()
        self._stopped = threading.Event()
        mine = f"metadata.name={settings.node}"
        self._model_node = Followed(cluster, MODEL_NODES, fields=mine, changed=self._changed)
        waiting = f"spec.nodeName={settings.node},status.phase=Pending"
        self._pods = Followed(cluster, PODS, fields=waiting, changed=self._changed)
        self._statuses = Statuses(cluster)
        self._labels = Labels(cluster, settings.node, clock)
        self._events = Events(cluster, settings.node, clock)
        self._secrets: tuple[float, dict[str, SecretName]] | None = None
        self._problems: dict[str, str] = {}
        self._said: dict[str, str] = {}

    def start(self) -> None:
        for followed in (self._model_node, self._pods):
            followed.start()

    def close(self) -> None:
        self.stop()
        for followed in (self._model_node, self._pods):
            followed.close()

    def stop(self) -> None:
        """`run` returns soon; for signal handlers."""
        self._stopped.set()
        self._changed.set()

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped.is_set():
            self._changed.clear()
            busy = self.round()
            self._stopped.wait(self._settings.interval)
            if not busy:  # to look costs the shim a walk through its folder
                self._changed.wait(_IDLE * self._settings.interval)

    def round(self) -> bool:
        """Returns whether there will soon be news. What is expected to go wrong is logged, once until it changes."""
        found = self._model_node.objects()
        model_node = found[0] if found else None
        if found is not None:
            self._attempt("list", lambda: self._want(model_node))
        sight = look(self._shim)
        if model_node is not None:
            self._attempt("status", lambda: self._report(model_node, sight))
        if not sight.problem:
            wanted = {str(model.get("digest")) for model in _reported(model_node)}
            self._attempt("labels", lambda: self._labels.tell(sight.images, wanted))
            self._attempt("events", lambda: self._events.tell(events(self._pods.objects() or [], sight)))
        done = all(model.get("phase") == NodePhase.READY for model in _reported(model_node))
        return bool(sight.problem or self._pods.objects() or not done)

    def _want(self, model_node: Object | None) -> None:
        """Lists and logins, where they have changed. Raises `StorageError`, `ClusterError`."""
        models = models_of(model_node)
        lists = self._settings.lists or self._settings.root / "precache.d"
        _write(lists / LIST_NAME, image_list(models))
        wanted, now = pull_secrets(models), self._clock()
        if (
            self._secrets is None
            or self._secrets[1] != wanted
            or now - self._secrets[0] > self._settings.secrets_seconds
        ):
            secrets, problems = self._read(wanted)
            content, more = logins(secrets)
            _write(self._settings.root / LOGINS_NAME, content)
            self._problems = problems | more
            self._secrets = None if problems else (now, wanted)

    def _read(self, wanted: Mapping[str, SecretName]) -> tuple[dict[str, PullSecret], dict[str, str]]:
        """What can be had, and why the rest cannot, by image."""
        secrets, problems = {}, {}
        for image, (namespace, name) in wanted.items():
            try:
                secret = read_secret(self._cluster, namespace, name)
            except ClusterError as e:
                problems[image] = f"the pull secret {namespace}/{name} cannot be read: {e}"
                continue
            if secret is None:
                problems[image] = f"there is no pull secret {namespace}/{name}, or it is of another type"
            else:
                secrets[image] = secret
        return secrets, problems

    def _report(self, model_node: Object, sight: Sight) -> None:
        try:
            self._statuses.tell(model_node, sight, self._problems)
        except ClusterError:
            self._statuses.forget()
            raise

    def _attempt(self, what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except ModelcarError as e:
            if self._said.get(what) != str(e):
                _log.warning("%s: %s", what, e)
            self._said[what] = str(e)
        else:
            self._said.pop(what, None)


def _reported(model_node: Object | None) -> list[dict[str, Any]]:
    models = ((model_node or {}).get("status") or {}).get("models") or []
    return [model for model in models if isinstance(model, dict)]


def _write(path: Path, content: bytes) -> None:
    """Nothing if that is in there already. The folder and the file are the shim's user's alone."""
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        make_dirs(path.parent)
    except OSError as e:
        raise explain(e, f"cannot read {path}") from None
    atomic_write(path, content, mode=0o600)
