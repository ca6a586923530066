"""Where the API server is, and as whom it is asked: a pod's service account, or a kubeconfig."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from modelcar.errors import StorageError, UsageError
from modelcar.files import read_bounded
from modelcar.tls import client_context

__all__ = ["Access", "find_access", "from_kubeconfig", "in_cluster"]

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MAX_FILE: Final = 4 << 20  # bytes


def _nobody() -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """An API server and credentials for it.

    Attributes:
        server: `https://HOST:PORT`.
        context: for TLS; trusts the cluster's authority and nobody else. `None` for plain HTTP.
        token: gives the bearer token to send now; empty for none. Asked at every request, as tokens are renewed.
        namespace: the one that is meant where nothing is said.
        authority: its certificates in PEM.
        certificate: ours with its key in PEM, where that is how we log in.
    """

    server: str
    context: ssl.SSLContext | None
    token: Callable[[], str] = _nobody
    namespace: str = "default"
    authority: bytes | None = None
    certificate: bytes | None = field(default=None, repr=False)


def find_access(kubeconfig: Path | None = None) -> Access:
    """`kubeconfig` if it is given, else the pod's service account, else `$KUBECONFIG`, else `~/.kube/config`.

    Raises:
        UsageError: there is none, or it cannot be used.
    """
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig)
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster()
    places = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    for place in places or [Path.home() / ".kube/config"]:
        if place.exists():
            return from_kubeconfig(place)
    raise UsageError("no cluster is known", hint="--kubeconfig FILE, or run it in a pod with a service account")


def in_cluster(account: Path = ACCOUNT, server: str | None = None) -> Access:
    """As the service account of this pod, at `server` or the cluster that this runs in.

    Raises:
        UsageError: this is no pod, or its account is not mounted.
    """
    server = (server or _own_server()).rstrip("/")
    secure = server.startswith("https:")
    _text(account / "token")  # now, rather than at the first request
    authority = _text(account / "ca.crt").encode() if secure else None
    namespace = _text(account / "namespace") if (account / "namespace").exists() else "default"
    return Access(
        server=server,
        context=_context(authority, None, account) if secure else None,
        token=lambda: _text(account / "token"),
        namespace=namespace or "default",
        authority=authority,
    )


def _own_server() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise UsageError("this is no pod: KUBERNETES_SERVICE_HOST is not set", hint="--kubeconfig FILE")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def from_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig: certificates, tokens and files of either; no plug-ins.

    Raises:
        UsageError: it cannot be read, or wants something else.
    """
    try:
        document = yaml.safe_load(read_bounded(path, _MAX_FILE, "a kubeconfig"))
    except StorageError as e:
        raise UsageError(str(e)) from None
    except (yaml.YAMLError, UnicodeError, RecursionError):
        raise UsageError(f"{path} is no kubeconfig: it is not YAML") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} is no kubeconfig")
    context = _named(document, "contexts", document.get("current-context"), "context", path)
    cluster = _named(document, "clusters", context.get("cluster"), "cluster", path)
    user = _named(document, "users", context.get("user"), "user", path) if context.get("user") else {}
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("http://", "https://")):
        raise UsageError(f"{path}: its cluster has no server")
    if user.get("exec") or user.get("auth-provider") or user.get("username"):
        raise UsageError(
            f"{path}: its user needs a plug-in or a password, which this does not do",
            hint="kubectl create token SERVICEACCOUNT makes a token for a kubeconfig of its own",
        )
    if cluster.get("insecure-skip-tls-verify"):
        raise UsageError(f"{path}: insecure-skip-tls-verify is not done", hint="certificate-authority names its CA")
    authority = _pem(cluster, "certificate-authority", path)
    certificate, key = _pem(user, "client-certificate", path), _pem(user, "client-key", path)
    pair = certificate.rstrip() + b"\n" + key if certificate and key else None
    return Access(
        server=server,
        context=_context(authority, pair, path) if server.startswith("https:") else None,
        token=_token(user, path),
        namespace=str(context.get("namespace") or "default"),
        authority=authority,
        certificate=pair,
    )


def _named(document: Mapping[str, Any], section: str, name: object, key: str, path: Path) -> Mapping[str, Any]:
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(key), dict):
            found: Mapping[str, Any] = entry[key]
            return found
    raise UsageError(f"{path}: no {key} is called {name!r}", hint="kubectl config use-context NAME")


def _context(authority: bytes | None, pair: bytes | None, path: Path) -> ssl.SSLContext:
    try:
        context = client_context(authorities=authority.decode() if authority else None)
        if pair is not None:
            with tempfile.TemporaryDirectory() as folder:  # ssl takes key pairs from files alone
                file = Path(folder) / "pair.pem"
                file.touch(mode=0o600)
                file.write_bytes(pair)
                context.load_cert_chain(file)
        return context
    except (ssl.SSLError, ValueError):
        raise UsageError(
            f"{path}: its certificates cannot be used", hint="they are PEM, and the key has no passphrase"
        ) from None


def _pem(entry: Mapping[str, Any], field: str, path: Path) -> bytes | None:
    """`field`, a file beside the kubeconfig, or `field`-data, which goes first."""
    data, file = entry.get(f"{field}-data"), entry.get(field)
    if data:
        try:
            return base64.b64decode(str(data), validate=True)
        except (binascii.Error, ValueError):
            raise UsageError(f"{path}: {field}-data is not base64") from None
    return _text(path.parent / str(file)).encode() if file else None


def _token(user: Mapping[str, Any], path: Path) -> Callable[[], str]:
    file, token = user.get("tokenFile"), user.get("token")
    if file:
        return lambda: _text(path.parent / str(file))
    return lambda: str(token or "")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}") from None
    except UnicodeError:
        raise UsageError(f"{path} is no text") from None
