"""Requests that get through: with credentials, over redirects, again after a failure that may pass."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from modelcar.backoff import Backoff, retry_after
from modelcar.errors import ProtocolViolation, RegistryError
from modelcar.oci import Reference
from modelcar.registry.auth import Authorizer, Presented, Target
from modelcar.registry.cancel import current_scope
from modelcar.registry.challenges import merge_scopes
from modelcar.registry.credentials import Credentials, GivenLogin, Login, config_files
from modelcar.registry.problems import no_answer, refusal, show_url
from modelcar.registry.settings import ClientSettings
from modelcar.registry.transport import Answer, Body, Broken, Transport
from modelcar.throttle import Throttle

__all__ = ["BACKOFF", "OK", "RETRIED", "Call", "Remote", "Session"]

BACKOFF: Final = Backoff(0.5, 30.0)
OK: Final = frozenset({200})
RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may pass
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_MOST_RENEWALS = 3  # of a token, for one request
_MAX_WAIT = 120.0  # seconds; a registry that wants more is reported instead
_NETWORK_NAMES = {"docker.io": "registry-1.docker.io"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository, what we want to do there, and where its registry is on the network."""

    registry: str
    repository: str
    base: str
    scopes: tuple[str, ...]
    plain: bool

    def url(self, path: str) -> str:
        return f"{self.base}/v2/{self.repository}/{path}"

    def also(self, *scopes: str) -> Remote:
        return replace(self, scopes=merge_scopes(*self.scopes, *scopes))

    @property
    def target(self) -> Target:
        return Target(self.registry, self.repository, self.scopes, self.plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as it can be repeated.

    Attributes:
        what: for messages: "uploading sha256:… to org/model".
        expect: statuses that are returned; all others are raised.
        body: makes the body, anew for every try.
        attempts: how often to try; the session's number by default.
        patience: how long (seconds) to wait for the answer once everything is sent.
    """

    method: str
    url: str
    what: str
    expect: Collection[int] = OK
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Body] | None = None
    redirects: bool = False
    attempts: int | None = None
    patience: float | None = None


class Session:
    """What all requests of one `Registry` share. Safe to use from several threads."""

    def __init__(self, settings: ClientSettings, sleep: Callable[[float], None] | None = None) -> None:
        self.settings = settings
        self.transport = Transport(settings)
        self.throttle = Throttle(settings.limit_rate)
        self._sleep = sleep
        self._authorizer: Authorizer | Presented = Authorizer(
            Credentials(config_files(settings.docker_config)), self._fetch_token
        )
        self._bases: dict[str, str] = {}
        self._let_in: set[Target] = set()  # what was asked for with permission, and had
        self._answered: set[str] = set()  # registries that have answered once: worth more patience
        self._lock = threading.Lock()

    def acting_as(self, authorization: str) -> Session:
        """The same connections, but requests carry this header as it is; with `""` they are anybody's."""
        other = copy.copy(self)
        anybody = Authorizer(Credentials([]), self._fetch_token, eager=False)
        other._authorizer = Presented(authorization) if authorization else anybody  # noqa: SLF001  # our twin
        return other

    def logged_in_as(self, login: Login | None) -> Session:
        """The same connections, and another account, whatever is asked for; with `None` nobody's."""
        other = copy.copy(self)
        other._authorizer = Authorizer(GivenLogin(login), self._fetch_token)  # noqa: SLF001  # our twin
        return other

    def remote(self, ref: Reference, actions: str = "pull") -> Remote:
        base = self._base(ref)
        chosen = self._is_plain(ref) or self.settings.address is not None
        plain = chosen and base.startswith("http:")
        return Remote(ref.registry, ref.repository, base, (f"repository:{ref.repository}:{actions}",), plain)

    def call(self, remote: Remote, call: Call) -> Answer:
        """Send `call` until it is answered with a status that it expects.

        Raises:
            RegistryError: the registry refuses, or cannot be reached.
        """
        for attempt in count(1):
            allowed = call.attempts or self.settings.attempts
            try:
                answer = self._once(remote, call)
            except Broken as e:
                self.check_cancelled()
                if not e.connected and remote.registry not in self._answered:
                    allowed = min(allowed, 2)  # more likely a typo than an outage
                if e.final or attempt >= allowed:
                    raise no_answer(e, remote.registry, call.what) from None
                delay, why = BACKOFF.after(attempt), str(e)
            else:
                self._answered.add(remote.registry)
                if answer.status in call.expect:
                    return answer
                delay = max(BACKOFF.after(attempt), retry_after(answer.headers.get("Retry-After")))
                if answer.status not in RETRIED or attempt >= allowed or delay > _MAX_WAIT:
                    raise self.refusal(answer, remote, call.what)
                answer.discard()
                why = f"the answer was {answer.status}"
            self.again_after(delay, f"{remote.registry}: {call.what}: {why}")
        raise AssertionError("unreachable")

    def challenge(self, remote: Remote) -> str | None:
        """The `WWW-Authenticate` header of the registry's front door, if it has one."""
        what = "asking whether it wants a login"
        try:
            answer = self.transport.request("GET", self._with_namespace(f"{remote.base}/v2/", remote), {})
        except Broken as e:
            raise no_answer(e, remote.registry, what) from None
        if answer.status not in (200, 401):
            raise self.refusal(answer, remote, what)
        answer.discard()
        return answer.headers.get("WWW-Authenticate") if answer.status == 401 else None

    def once(self, remote: Remote, call: Call) -> Answer:
        """Send `call` a single time; the answer may have any status. Raises `Broken` where there is none."""
        answer = self._once(remote, call)
        self._answered.add(remote.registry)
        return answer

    def fetch(self, remote: Remote, call: Call, limit: int) -> tuple[Answer, bytes]:
        """The answer to `call` with its whole body, asked for again where that breaks off.

        Raises:
            ProtocolViolation: it has more than `limit` bytes.
        """
        for attempt in count(1):
            answer = self.call(remote, call)
            try:
                return answer, answer.content(limit, f"{remote.registry}: {call.what}")
            except Broken as e:
                self.check_cancelled()
                if attempt >= self.settings.attempts:
                    raise no_answer(e, remote.registry, call.what) from None
                self.again_after(BACKOFF.after(attempt), f"{remote.registry}: {call.what}: {e}")
        raise AssertionError("unreachable")

    def refusal(self, answer: Answer, remote: Remote, what: str) -> Exception:
        """The exception for `answer`, with all that we know to be secret taken out."""
        return refusal(answer, remote.registry, what, self._authorizer.secrets(remote.target))

    def resolve_url(self, base: str, location: str, remote: Remote, what: str) -> str:
        """An absolute URL for a `Location` or `Link` seen at `base`; never one that gives up TLS."""
        try:
            url = urljoin(base, location)
            old, new = urlsplit(base), urlsplit(url)
            _ = new.port
        except ValueError:
            old, new, url = urlsplit(base), urlsplit(""), ""
        if new.scheme not in ("http", "https") or not new.hostname:
            raise ProtocolViolation(f"{remote.registry}: {what}: the registry points to something that is no URL")
        if old.scheme == "https" and new.scheme == "http":
            if new.hostname == old.hostname and new.port in (None, 80, old.port):
                # A registry that does not know of the TLS proxy in front of it.
                return new._replace(scheme="https", netloc=old.netloc).geturl()
            raise ProtocolViolation(
                f"{remote.registry}: {what}: the registry redirects from https to {show_url(url)}",
                hint="nothing is sent or fetched without TLS that was asked for with it",
            )
        return url

    def again_after(self, seconds: float, failure: str) -> None:
        """Pause before another try; `failure` is a line for the log on what was tried, and why it failed."""
        _log.debug("%s: again in %.1f s", failure, seconds)
        self.pause(seconds)

    def pause(self, seconds: float) -> None:
        """Sleep, but not longer than anyone is interested."""
        scope = current_scope()
        if self._sleep is not None:
            self._sleep(seconds)
            self.check_cancelled()
        elif scope is not None:
            scope.wait(seconds)
        else:
            time.sleep(seconds)

    @staticmethod
    def check_cancelled() -> None:
        if (scope := current_scope()) is not None:
            scope.check()

    def close(self) -> None:
        self.transport.close()

    def _once(self, remote: Remote, call: Call) -> Answer:
        """One try: may take a second request for credentials, and more for redirects."""
        url, redirects, wanted, renewed = call.url, 0, None, 0
        while True:
            ours = same_origin(url, remote.base)
            authorization = self._authorizer.header(remote.target) if ours else None
            headers = {**call.headers, "Authorization": authorization} if authorization else call.headers
            address = self._with_namespace(url, remote) if ours else url
            answer = self.transport.request(
                call.method, address, headers, call.body() if call.body else None, call.patience
            )
            answer.challenge = wanted
            if authorization and answer.status < 400:
                self._let_in.add(remote.target)
            # Who was let in before may be unlucky: the token that another thread has just had is void again.
            if answer.status == 401 and ours and renewed < (_MOST_RENEWALS if remote.target in self._let_in else 1):
                renewed += 1
                wanted = answer.headers.get("WWW-Authenticate", "")
                try:
                    again = self._authorizer.challenged(remote.target, wanted, authorization)
                except BaseException as e:
                    answer.close()
                    if isinstance(e, RegistryError):
                        e.challenge = wanted
                    raise
                if not again:
                    return answer
                answer.discard()
            elif call.redirects and answer.status in _REDIRECTS and "Location" in answer.headers:
                redirects += 1
                if redirects > _MAX_REDIRECTS:
                    answer.close()
                    raise ProtocolViolation(f"{remote.registry}: {call.what}: more than {_MAX_REDIRECTS} redirects")
                answer.discard()
                url = self.resolve_url(url, answer.headers["Location"], remote, call.what)
            else:
                return answer

    def _fetch_token(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, what: str) -> Answer:
        """A request to a token server: no redirects, no credentials but those in `headers`."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        for attempt in count(1):
            last = attempt >= self.settings.attempts
            try:
                answer = self.transport.request(method, url, headers, body)
            except Broken as e:
                self.check_cancelled()
                if last or e.final:
                    raise no_answer(e, host, what) from None
                delay, why = BACKOFF.after(attempt), str(e)
            else:
                delay = max(BACKOFF.after(attempt), retry_after(answer.headers.get("Retry-After")))
                if answer.status not in RETRIED or last or delay > _MAX_WAIT:
                    return answer
                answer.discard()
                why = f"the answer was {answer.status}"
            self.again_after(delay, f"{host}: {what}: {why}")
        raise AssertionError("unreachable")

    def _with_namespace(self, url: str, remote: Remote) -> str:
        if not self.settings.namespace or "?ns=" in url or "&ns=" in url:
            return url
        return f"{url}{'&' if '?' in url else '?'}ns={quote(remote.registry, safe='')}"

    def _is_plain(self, ref: Reference) -> bool:
        """Whether somebody chose to speak to it without TLS."""
        return self.settings.plain_http or ref.registry in self.settings.plain_http_at

    def _base(self, ref: Reference) -> str:
        if self.settings.address is not None:
            return self.settings.address.rstrip("/")
        host = _NETWORK_NAMES.get(ref.registry, ref.registry)
        if self._is_plain(ref):
            return f"http://{host}"
        if not ref.is_loopback:
            return f"https://{host}"
        with self._lock:  # also while asking: one request for all threads
            base = self._bases.get(host)
            if base is None:
                base = self._bases[host] = self._find_loopback(host)
        return base

    def _find_loopback(self, host: str) -> str:
        """Plain HTTP is usual on this machine, TLS is not unheard of: ask which it is."""
        schemes = ("https", "http") if self.settings.ca_file else ("http", "https")
        for scheme in schemes:
            try:
                answer = self.transport.request("GET", f"{scheme}://{host}/v2/", {}, patience=5)
            except Broken as e:
                self.check_cancelled()
                if scheme == "https" and "certificate" in str(e):
                    return f"{scheme}://{host}"  # TLS it is; the next request says what is wrong with it
                continue
            text = answer.beginning()
            if scheme == "http" and answer.status == 400 and b"HTTPS" in text:
                continue
            return f"{scheme}://{host}"
        return f"{schemes[0]}://{host}"


def same_origin(url: str, base: str) -> bool:
    """Whether two URLs have scheme, host and port in common: only then are credentials sent along."""

    def origin(text: str) -> tuple[str, str | None, int | None]:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

    return origin(url) == origin(base)
