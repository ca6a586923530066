"""The one door to the network: everything about urllib3, sockets and TLS is behind it.

One request goes out and one answer comes back, or `Broken` is raised. Retries, redirects and credentials are decided by
the callers (`session`), so nothing here follows or repeats anything.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
    SystemTimeWarning,
)

from modelcar import __version__
from modelcar.errors import ProtocolViolation, UsageError
from modelcar.exchanges import Exchange, of_our_own
from modelcar.layers.bytemap import FileSlice
from modelcar.oci.reference import is_loopback
from modelcar.registry.cancel import CancelScope, current_scope
from modelcar.registry.sending import send_bytes, send_slice
from modelcar.registry.settings import ClientSettings
from modelcar.renewed import Renewed
from modelcar.tls import client_context

__all__ = ["Answer", "Body", "Broken", "Transport"]

USER_AGENT: Final = f"modelcar/{__version__}"
Body = bytes | Iterable[bytes | FileSlice]

_CONNECT_TIMEOUT = 15.0  # seconds, unless the settings allow less
_UNSENT = 1 << 20  # bytes that the kernel may hold without sending them
_SMALL = 64 << 10  # bytes worth reading to keep a connection alive
_TIMES = (9, 10)  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and ..._HAS_EXPIRED
_NAME_ITS_CA = "give its CA with --ca-file"
_log = logging.getLogger(__name__)
urllib3.disable_warnings(SystemTimeWarning)  # what a wrong clock does to certificates is told as an error


class Broken(Exception):
    """No answer, or not all of it. `str` says why in a few words; `final` that trying again is pointless."""

    def __init__(self, reason: str, *, hint: str | None = None, final: bool = False, connected: bool = True) -> None:
        super().__init__(reason)
        self.hint = hint
        self.final = final
        self.connected = connected


class _Connection(HTTPConnection):
    """Sends file ranges by the kernel, keeps answers that came before all was sent, and can be cancelled."""

    scope: CancelScope | None = None
    _truncated = False

    def connect(self) -> None:
        self.scope = current_scope()
        if self.scope is None:
            self._connect()
        else:
            self.scope.adopt(self)
            self.scope.meanwhile(self._connect, self.close)

    def _connect(self) -> None:
        patience, self.timeout = self.timeout, min(self.timeout or _CONNECT_TIMEOUT, _CONNECT_TIMEOUT)
        try:
            super().connect()
        finally:
            self.timeout = patience
        self.sock.settimeout(patience)
        # What the kernel holds back is lost when a registry answers early, and has moved in no sense of the word.
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._truncated = False
        self.scope = current_scope()
        if self.scope is not None:
            self.scope.adopt(self)
        super().request(*args, **kwargs)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if self.scope is not None:
            self.scope.check()
        try:
            if isinstance(data, FileSlice):
                send_slice(self.sock, data)
            else:
                send_bytes(self.sock, data)
        except ConnectionError:
            self._truncated = True
            raise

    def getresponse(self) -> Any:
        response = super().getresponse()
        if self._truncated and self.sock is not None:
            # The rest of the body was never sent, so nothing may follow on this connection; the answer keeps reading.
            sock, self.sock = self.sock, None
            sock.close()
        return response


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


@dataclass(slots=True)
class Answer:
    """A response whose body is read on demand. Close it, or read it to its end."""

    status: int
    reason: str
    headers: Mapping[str, str]
    url: str
    _response: urllib3.BaseHTTPResponse
    _exchange: Exchange
    challenge: str | None = None
    """What the registry first wanted, where credentials have been tried since."""

    def read(self, n: int) -> bytes:
        """Up to `n` bytes, fewer only at the end, where it is `b""`. Raises `Broken`."""
        try:
            data = self._response.read(n)
        except (HTTPError, OSError, http.client.HTTPException) as e:
            raise self._broke_off(e) from None
        self._exchange.received += len(data)
        return data

    def read_some(self, n: int) -> bytes:
        """Up to `n` bytes as soon as there are any; `b""` at the end. Raises `Broken`."""
        try:
            data = self._response.read1(n)
        except (HTTPError, OSError, http.client.HTTPException) as e:
            raise self._broke_off(e) from None
        self._exchange.received += len(data)
        return data

    def content(self, limit: int, what: str) -> bytes:
        """The whole body. Raises `Broken`, or `ProtocolViolation` if it has more than `limit` bytes."""
        try:
            data = self._read_all(limit + 1)
        finally:
            self.close()
        if len(data) > limit:
            raise ProtocolViolation(f"{what}: the answer has more than {limit} bytes", status=self.status)
        return data

    def _read_all(self, limit: int) -> bytes:
        """The rest of the body, or `limit` bytes of it. Only an empty read proves that nothing was cut off."""
        data = bytearray()
        while len(data) < limit and (block := self.read(limit - len(data))):
            data += block
        return bytes(data)

    def beginning(self) -> bytes:
        """As much of the body as an error message deserves, or nothing where that breaks."""
        try:
            return self._read_all(_SMALL)
        except Broken:
            return b""
        finally:
            self.close()

    def discard(self) -> None:
        """Done with it: a short rest is read so that the connection can be used again."""
        self.beginning()

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._exchange.over()
        if self._response.closed:
            self._response.release_conn()
        else:
            self._response.close()

    def _broke_off(self, error: Exception) -> Broken:
        broken = _broken(error)
        self._exchange.broken(str(broken))
        self.close()
        return broken

    @property
    def length(self) -> int | None:
        """What `Content-Length` says, if it says a number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None


class Transport:
    """Connection pools, TLS trust and proxies. Safe to share between threads. Certificates that change on disk count
    for the next connection."""

    def __init__(self, settings: ClientSettings, context: ssl.SSLContext | None = None) -> None:
        """`context` is for TLS to one server whose authority is known, instead of what the settings say.

        Raises `StorageError` or `UsageError` where the files of certificates cannot be used.
        """
        self._settings = settings
        self._lock = threading.Lock()
        self._managers: dict[tuple[str | None, ssl.SSLContext | None], urllib3.PoolManager] = {}
        proxies = {} if settings.direct else urllib.request.getproxies()
        self._proxies = {k: v for k, v in proxies.items() if k in ("http", "https", "all")}
        self._given = context
        self._trust = _renewed(settings) if settings.mutual_tls or settings.ca_file else None
        self._context: ssl.SSLContext | None = None

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None, patience: float | None = None
    ) -> Answer:
        """One request, one answer. `patience` is how long to wait for the answer once all is sent.

        Raises:
            Broken: there is no answer.
        """
        exchange = Exchange(_log, method, url)
        timeout = urllib3.Timeout(connect=self._settings.timeout, read=patience or self._settings.timeout)
        try:
            with of_our_own():
                response = self._manager(url).urlopen(
                    method,
                    url,
                    body=_counted(body, exchange),
                    headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
                    redirect=False,
                    retries=False,
                    timeout=timeout,
                    preload_content=False,
                    decode_content=False,
                )
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as e:
            broken = _broken(e)
            exchange.broken(str(broken))
            raise broken from None
        exchange.status = response.status
        return Answer(response.status, response.reason or "", response.headers, url, response, exchange)

    def close(self) -> None:
        for manager in self._managers.values():
            manager.clear()

    def _manager(self, url: str) -> urllib3.PoolManager:
        """The connection pools for `url`: those through its proxy, or direct ones. Made when they are first needed."""
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        if proxy and (is_loopback(parts.hostname or "") or _goes_direct(parts.netloc)):
            proxy = None
        tls = parts.scheme == "https" or (proxy or "").startswith("https:")
        with self._lock:
            context = self._current_context() if tls else None
            manager = self._managers.get((proxy, context))
            if manager is None:
                manager = self._managers[proxy, context] = self._new_manager(proxy, context)
        return manager

    def _current_context(self) -> ssl.SSLContext:
        """Connections that were made with another one serve the requests that they have, and no more."""
        if self._given is not None:
            return self._given
        if self._trust is None:
            self._trust = _renewed(self._settings)  # takes a while, which plain HTTP should not pay for
        context = self._trust.current()
        if context is not self._context:
            self._context = context
            self._managers = {key: manager for key, manager in self._managers.items() if key[1] is None}
        return context

    def _new_manager(self, proxy: str | None, context: ssl.SSLContext | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": self._settings.concurrency + 2}
        if context is not None:
            options["ssl_context"] = context
            if self._settings.mutual_tls is not None:
                options["assert_hostname"] = False  # the context has looked at the certificate
        if proxy is None:
            return _with_our_connections(urllib3.PoolManager(**options))
        full = proxy if "://" in proxy else f"http://{proxy}"
        try:
            auth = urllib3.util.parse_url(full).auth
            headers = urllib3.make_headers(proxy_basic_auth=auth) if auth else None
            outer = context if full.startswith("https:") else None
            manager = urllib3.ProxyManager(full, proxy_headers=headers, proxy_ssl_context=outer, **options)
        except (HTTPError, ValueError):
            raise UsageError(
                "a proxy variable of the environment does not hold a URL that can be used",
                hint="HTTP_PROXY and HTTPS_PROXY look like http://proxy:3128",
            ) from None
        return _with_our_connections(manager)


def _counted(body: Body | None, exchange: Exchange) -> Body | None:
    if body is None or isinstance(body, bytes):
        exchange.sent = len(body or b"")
        return body
    return _pieces(body, exchange)


def _pieces(body: Iterable[bytes | FileSlice], exchange: Exchange) -> Iterator[bytes | FileSlice]:
    for piece in body:
        yield piece
        exchange.sent += piece.size if isinstance(piece, FileSlice) else len(piece)


def _goes_direct(address: str) -> bool:
    return bool(urllib.request.proxy_bypass(address.rpartition("@")[2]))


def _with_our_connections(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return manager


def _renewed(settings: ClientSettings) -> Renewed[ssl.SSLContext]:
    if settings.mutual_tls is not None:
        return Renewed("the certificate for peers", settings.mutual_tls.client_context, settings.mutual_tls.files)
    ca_file = settings.ca_file
    return Renewed("the CA file", partial(client_context, ca_file), (ca_file,) if ca_file else ())


def _broken(error: Exception) -> Broken:
    """urllib3's, the socket's or TLS's exception in our words. None of theirs is quoted whole: they hold URLs."""
    if isinstance(error, ProxyError):
        inner = _broken(error.original_error)
        return Broken(
            f"the proxy cannot be used: {inner}",
            hint="see HTTPS_PROXY and NO_PROXY",
            final=inner.final,
            connected=False,
        )
    if isinstance(error, (SSLError, ssl.SSLError)):
        return _tls_broken(error)
    if isinstance(error, NameResolutionError):
        return _unknown_host(error)
    if isinstance(error, ConnectTimeoutError):
        return _no_connection(error)
    if isinstance(error, ReadTimeoutError) or isinstance(_cause(error), TimeoutError):
        return Broken("nothing moved until the timeout")
    if isinstance(error, (LocationParseError, ValueError)) and not isinstance(error, OSError):
        return Broken("the URL is not valid", final=True)
    if isinstance(_cause(error), (http.client.BadStatusLine, http.client.LineTooLong)) and not isinstance(
        _cause(error), http.client.RemoteDisconnected
    ):
        return Broken("what answered does not speak HTTP", hint="if the registry speaks TLS, do not use plain HTTP")
    return Broken("the connection was cut")


def _cause(error: BaseException) -> BaseException:
    """The innermost exception that urllib3 wrapped."""
    while len(error.args) > 1 and isinstance(error.args[1], BaseException):
        error = error.args[1]
    return error


def _no_connection(error: ConnectTimeoutError) -> Broken:
    """Refused, timed out, or no way there. The port is named because it may be a default that nobody typed."""
    connection = error.conn if isinstance(error, NewConnectionError) else next(iter(error.args), None)
    host, port = getattr(connection, "host", ""), getattr(connection, "port", "")
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    cause = error.__cause__
    if isinstance(cause, ConnectionRefusedError):
        hint = "start the registry, or check the name and port"
        if is_loopback(host):
            hint += f"; `registry-shim serve --writable --root DIR --listen {where}` starts one"
        return Broken(f"nothing listens at {where}", hint=hint, connected=False)
    reason = f"{where} cannot be reached: {cause.strerror}" if isinstance(cause, OSError) and cause.strerror else ""
    return Broken(
        reason or f"{where} does not answer", hint="check the name, the port, proxy and firewall", connected=False
    )


def _unknown_host(error: NameResolutionError) -> Broken:
    cause = error.__cause__
    temporary = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN
    reason = "the name cannot be resolved" + (" at the moment" if temporary else "")
    return Broken(reason, hint="check its spelling and your DNS", final=not temporary, connected=False)


def _tls_broken(error: Exception) -> Broken:
    inner: BaseException = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    text = str(inner)
    if isinstance(inner, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        why = getattr(inner, "verify_message", "") or "it cannot be verified"
        hint = "renew it, or set the clock here right" if getattr(inner, "verify_code", 0) in _TIMES else _NAME_ITS_CA
        return Broken(f"its certificate is not accepted: {why}", hint=hint, final=True, connected=False)
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "RECORD_LAYER_FAILURE" in text:
        return Broken("it does not speak TLS", hint="use --plain-http if that is intended", final=True, connected=False)
    if isinstance(inner, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return Broken("the TLS connection was cut")
    reason = getattr(inner, "reason", None) or "handshake failed"
    return Broken(f"TLS failed: {str(reason).replace('_', ' ').lower()}")
