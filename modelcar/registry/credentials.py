"""What a person is logged in with: Docker's and podman's files, and credential helpers. Read only when asked for."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from modelcar.errors import StorageError, Unauthorized, UsageError
from modelcar.files import is_there, read_bounded

__all__ = ["Credentials", "GivenLogin", "Login", "LoginSource", "config_files"]

_log = logging.getLogger(__name__)
_DOCKER_HUB = "https://index.docker.io/v1/"
_DOCKER_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_TIMEOUT = 60  # seconds; some of them ask a person
_NOT_FOR_HELPERS = frozenset({"COSIGN_PASSWORD", "SIGSTORE_ID_TOKEN"})  # secrets of signing, not of registries
_MAX_FILE = 4 << 20
_MAX_KNOWN = 4096  # repositories
_KEEP = 300  # seconds that a helper's answer is used: those of clouds expire
_NOT_FOUND = ("credentials not found", "no credentials", "not found in native keychain")


@dataclass(frozen=True, slots=True)
class Login:
    """One account: user name and password, or an identity token, or a token that the registry takes as it is."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.password, self.identity_token, self.registry_token)))


def config_files(chosen: Path | None = None, environment: Mapping[str, str] | None = None) -> list[Path]:
    """Where logins are kept, in the order in which they are looked through; a chosen one is the only one."""
    env = os.environ if environment is None else environment
    if chosen is not None:
        return [chosen / "config.json" if os.path.isdir(chosen) else chosen]  # noqa: PTH112  # never raises
    if path := env.get("REGISTRY_AUTH_FILE"):
        return [Path(path)]
    home = _home(env)
    docker = Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else home and home / ".docker"
    runtime = Path(env["XDG_RUNTIME_DIR"]) if env.get("XDG_RUNTIME_DIR") else None
    config = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home and home / ".config"
    files = (docker, "config.json"), (runtime, "containers/auth.json"), (config, "containers/auth.json")
    return [folder / name for folder, name in files if folder is not None]


def _home(env: Mapping[str, str]) -> Path | None:
    """`None` for users that the system does not know, as containers often run as."""
    if home := env.get("HOME"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:
        return None


class LoginSource(Protocol):
    """Where the login for a repository comes from."""

    def find(self, registry: str, repository: str) -> Login | None:
        """The login for `registry/repository`; `None` means anonymous."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that has been found and must not be shown."""

    def forget(self) -> None:
        """Look again next time: what was found has been refused."""


class GivenLogin:
    """One account for whatever is asked for."""

    def __init__(self, login: Login | None) -> None:
        self._login = login

    def find(self, registry: str, repository: str) -> Login | None:  # noqa: ARG002  # the same for all
        return self._login

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._login.secrets if self._login is not None else ()

    def forget(self) -> None:
        """It stays what it is."""


class Credentials:
    """Finds the login for a repository. Safe to share between threads; a helper runs once at a time."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, Login | None]] = {}

    def find(self, registry: str, repository: str) -> Login | None:
        """The login for `registry/repository`; `None` means anonymous.

        Raises:
            Unauthorized: a file or a helper that should know cannot be used.
        """
        with self._lock:
            at, login = self._known.get((registry, repository), (0.0, None))
            if not at or time.monotonic() - at > _KEEP:
                login = self._search(registry, repository)
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                self._known[registry, repository] = (time.monotonic(), login)
            return login

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that has been found and must not be shown."""
        with self._lock:
            return tuple(secret for _, login in self._known.values() if login for secret in login.secrets)

    def forget(self) -> None:
        """Look again next time: what was found has been refused."""
        with self._lock:
            self._known.clear()

    def _search(self, registry: str, repository: str) -> Login | None:
        for path in self._files:
            config = _read(path)
            login = config and (
                _from_helpers(config, registry)
                or _from_auths(config, path, registry, repository)
                or _from_store(config, registry)
            )
            if login:
                _log.debug("%s: the login for %s comes by way of %s", registry, repository, path)
                return login
        _log.debug("%s: no login is known for %s", registry, repository)
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = read_bounded(path, _MAX_FILE, "a file of logins") if is_there(path) and path.is_file() else b"{}"
        config = json.loads(raw or b"{}")
    except OSError as e:
        raise Unauthorized(f"cannot read the logins in {path}: {e.strerror}") from None
    except (StorageError, UsageError) as e:
        raise Unauthorized(f"the logins are not known: {e}") from None
    except (ValueError, RecursionError):
        raise Unauthorized(f"{path} is not JSON", hint="repair or remove it, and log in again") from None
    return config if isinstance(config, dict) else {}


def _names(registry: str) -> tuple[str, ...]:
    return (*_DOCKER_HUB_NAMES, _DOCKER_HUB) if registry == "docker.io" else (registry,)


def _from_helpers(config: Mapping[str, Any], registry: str) -> Login | None:
    helpers = config.get("credHelpers")
    for name in _names(registry):
        helper = helpers.get(name) if isinstance(helpers, dict) else None
        if isinstance(helper, str) and helper and (login := _ask(helper, name)):
            return login
    return None


def _from_store(config: Mapping[str, Any], registry: str) -> Login | None:
    store = config.get("credsStore")
    if not isinstance(store, str) or not store:
        return None
    return _ask(store, _DOCKER_HUB if registry == "docker.io" else registry)


def _from_auths(config: Mapping[str, Any], path: Path, registry: str, repository: str) -> Login | None:
    """The entry for the repository, else for the nearest folder above it (as podman knows them), else the registry."""
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return None
    entries = {_normal(key): value for key, value in auths.items() if isinstance(value, dict)}
    for key in _keys(registry, repository):
        if (entry := entries.get(key)) and (login := _login(entry, path, key)):
            return login
    return None


def _keys(registry: str, repository: str) -> Iterator[str]:
    parts = repository.split("/")
    for n in range(len(parts), 0, -1):
        yield "/".join((registry, *parts[:n]))
    yield from _names(registry)[:3]


def _normal(key: str) -> str:
    """`https://host/v1/`, as old clients wrote it, is `host`."""
    name = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return name.removesuffix("/v1").removesuffix("/v2")


def _login(entry: Mapping[str, Any], path: Path, key: str) -> Login | None:
    def text(name: str) -> str:
        value = entry.get(name)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if text("auth"):
        try:
            decoded = base64.b64decode(text("auth"), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthorized(f"the entry for {key} in {path} is not base64", hint=f"log in to {key} again") from None
        username, _, password = decoded.partition(":")
        password = password.rstrip("\0")
    login = _token_login(username, password, text("identitytoken"), text("registrytoken"))
    return login if login.secrets else None


def _token_login(username: str, password: str, identity: str = "", registry: str = "") -> Login:
    if username == "<token>":
        return Login(identity_token=identity or password)
    return Login(username, password, identity, registry)


def _ask(helper: str, server: str) -> Login | None:
    """What `docker-credential-<helper> get` answers for `server`. Its output is never shown: it may hold secrets."""
    if not _HELPER_NAME.fullmatch(helper):
        raise Unauthorized("the login file names a credential helper that cannot exist", hint="see credHelpers in it")
    command = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [command, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_TIMEOUT,
            check=False,
            env={name: value for name, value in os.environ.items() if name not in _NOT_FOR_HELPERS},
        )
    except FileNotFoundError:
        raise Unauthorized(
            f"the credential helper {command} for {server} is not installed",
            hint="install it, or take it out of the login file",
        ) from None
    except subprocess.TimeoutExpired:
        raise Unauthorized(f"{command} did not answer for {server} within {_HELPER_TIMEOUT} seconds") from None
    except OSError as e:
        raise Unauthorized(f"{command} cannot be run: {e.strerror}") from None
    if done.returncode:
        said = (done.stdout[:4096] + done.stderr[:4096]).decode("utf-8", "replace").lower()
        if any(phrase in said for phrase in _NOT_FOUND):
            return None
        raise Unauthorized(
            f"{command} failed for {server} with status {done.returncode}",
            hint=f"`echo {server} | {command} get` shows why",
        )
    try:
        answer = json.loads(done.stdout)
        login = _token_login(str(answer["Username"]), str(answer["Secret"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unauthorized(f"{command} answered for {server} with something that is not a login") from None
    return login if login.secrets else None
