"""The mirror as a whole: a request goes in, and what an upstream has, or had, comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from modelcar.cache.indexes import Indexes
from modelcar.cache.lease import Leases
from modelcar.cache.origin import Origin
from modelcar.errors import RegistryError
from modelcar.oci import Digest
from modelcar.oci.reference import is_tag
from modelcar.serving.messages import ClientGone, Request, Response
from registry_shim.distribution.blobs import wanted_of
from registry_shim.distribution.errors import DistributionError, answer
from registry_shim.distribution.ranges import is_current
from registry_shim.distribution.referrers import referrers_list
from registry_shim.distribution.tags import tag_list
from registry_shim.mirror.access import Gatekeeper
from registry_shim.mirror.admission import Admission, Unguarded
from registry_shim.mirror.attachments import Attachments
from registry_shim.mirror.blobs import Blobs
from registry_shim.mirror.facts import Facts, Kept
from registry_shim.mirror.flights import Flights
from registry_shim.mirror.images import Images, Part
from registry_shim.mirror.lists import Lists
from registry_shim.mirror.manifests import Manifests
from registry_shim.mirror.opening import Opener
from registry_shim.mirror.pool import Pools
from registry_shim.mirror.refusals import explained
from registry_shim.mirror.routing import Kind, Route, Routes
from registry_shim.mirror.settings import Access, MirrorSettings
from registry_shim.mirror.streams import Promise
from registry_shim.mirror.tables import Tables
from registry_shim.mirror.upstreams import Upstreams

__all__ = ["Library", "Mirror"]

T = TypeVar("T")

_API: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
_STALE: Final = '110 registry-shim "its upstream cannot be asked; this is what it said last"'


@dataclass(frozen=True, slots=True)
class Library:
    """What is known of upstreams, for whoever asks from a thread of their own: the gate, the pre-cache, peers."""

    facts: Facts
    gatekeeper: Gatekeeper
    images: Images
    tables: Tables
    manifests: Manifests
    lists: Lists
    blobs: Blobs
    attachments: Attachments

    @classmethod
    def build(
        cls,
        facts: Facts,
        leases: Leases,
        upstreams: Upstreams,
        settings: MirrorSettings,
    ) -> Library:
        gatekeeper = Gatekeeper(settings, facts)
        images, tables = Images(facts), Tables(Indexes(leases), settings.index_seconds)

        def learn(origin: Origin, kept: Kept) -> None:
            index = images.learn(origin, kept)
            if index is not None:
                tables.begin(origin, index)

        manifests = Manifests(settings, upstreams, facts, gatekeeper, learn)
        lists = Lists(settings, upstreams, facts, gatekeeper)
        blobs = Blobs(settings, upstreams, facts, gatekeeper, images)
        attachments = Attachments(manifests, lists, blobs, leases)
        return cls(facts, gatekeeper, images, tables, manifests, lists, blobs, attachments)


class Mirror:
    """Answers requests for upstream repositories. Close it."""

    def __init__(
        self,
        settings: MirrorSettings,
        upstreams: Upstreams,
        library: Library,
        leases: Leases,
        *,
        admission: Admission | None = None,
        touch: Callable[[Digest], None] = lambda _: None,
    ) -> None:
        """`touch` is told what is used; it must not block."""
        self.library = library
        self._touch = touch
        self._routes = Routes(settings)
        self._upstreams = upstreams
        self._opener = Opener(leases, library.tables, library.gatekeeper, self.find_blob)
        self._admission = admission or Unguarded()
        self._attachments = settings.attachments
        self._flights = Flights()
        self._pools = Pools(settings.asking, "mirror")

    async def handle(self, request: Request) -> Response | None:
        """`None`: this is for the node's own repositories. The only exception that leaves is `ClientGone`."""
        route: Route | None = None
        try:
            route = self._routes.find(request)
            if route is None:
                return None
            response = await self._dispatch(request, route)
        except ClientGone:
            raise
        except Exception as e:  # the boundary: whatever it is, the client gets the specification's JSON
            response = answer(explained(e, route.kind if route else None, own=self._is_own(route)), request)
        namespace = {"OCI-Namespace": route.registry} if route and route.named else {}
        return replace(response, headers={**_API, **namespace, **response.headers})

    def reload(self, settings: MirrorSettings) -> None:
        """Take over which upstreams there are, how they are reached, and who may read what; times stay as they are.
        Raises `UsageError` if a file that is named there cannot be used; nothing has changed then."""
        self._upstreams.reload(settings)
        self.library.gatekeeper.reload(settings)
        self._routes = Routes(settings)

    async def close(self) -> None:
        self._pools.close()
        await self._flights.close()
        self.library.tables.close()
        self.library.attachments.close()

    async def _dispatch(self, request: Request, route: Route) -> Response:
        authorization = request.headers.get("authorization", "").strip()
        if route.kind is Kind.BASE:
            return await self._base(route, authorization)
        origin = self.library.gatekeeper.identify(route.registry, route.repository, authorization)
        self._admission.admit_repository(origin)
        if route.kind is Kind.MANIFEST:
            return await self._manifest(request, origin, route.rest)
        if route.kind is Kind.BLOB:
            return await self._blob(request, origin, Digest.parse(route.rest))
        if route.kind is Kind.TAGS:
            tags = await self._asked(self.library.lists.tags, origin)
            return _marked(tag_list(request, route.repository, list(tags.entries)), origin, tags.source)
        found = await self._asked(self.library.lists.referrers, origin, Digest.parse(route.rest))
        return _marked(referrers_list(request, list(found.entries)), origin, found.source)

    async def _base(self, route: Route, authorization: str) -> Response:
        """The front door. Some clients learn here, and nowhere else, whom to ask for a token."""
        upstream = self._upstreams[route.registry]
        challenge = None
        if upstream.settings.access is Access.PASSTHROUGH and not authorization:
            ref = Origin(registry=route.registry, repository="a/b").reference(tag="latest")
            origin = Origin(registry=route.registry, repository="a/b", authorization="")
            try:
                challenge = await self._run(upstream.ask, origin, lambda client: client.challenge(ref))
            except RegistryError:
                challenge = None  # what anybody may read is served also while it is gone
        if challenge is None:
            return Response(status=200, headers={"Content-Type": "application/json"}, body=b"{}")
        raise DistributionError(
            "UNAUTHORIZED", f"{route.registry} wants a token", status=401, headers={"WWW-Authenticate": challenge}
        )

    async def _manifest(self, request: Request, origin: Origin, reference: str) -> Response:
        target = Digest.parse(reference) if ":" in reference else reference
        if isinstance(target, str) and not is_tag(target):
            raise DistributionError("MANIFEST_UNKNOWN", "that is neither a tag nor a digest")
        found = self.library.manifests.at_hand(origin, target)
        if found is None:
            found = await self._asked(self.library.manifests.find, origin, target)
            if self._attachments:
                self.library.attachments.begin(origin, target, found)
        warnings = await self._admission.admit(origin, found.descriptor, found.kept.content)
        digest = found.descriptor.digest
        self._touch(digest)
        headers = {
            "Content-Type": found.descriptor.media_type,
            "Docker-Content-Digest": str(digest),
            "ETag": f'"{digest}"',
        }
        if warnings:
            headers["Warning"] = ", ".join(f'299 registry-shim "{_quoted(text)}"' for text in warnings)
        current = is_current(request.headers, headers["ETag"])
        response = Response(
            status=304 if current else 200, headers=headers, body=b"" if current else found.kept.content
        )
        return _marked(response, origin, found.source, digest)

    async def _blob(self, request: Request, origin: Origin, digest: Digest) -> Response:
        part = self.library.blobs.at_hand(origin, digest)
        if part is None:
            part = await self.find_blob(origin, digest)
        await self._admission.admit_blob(origin, digest)
        self._touch(digest)
        size = part.descriptor.size
        wanted = wanted_of(request, digest, size)
        if wanted.status == 304 or request.method == "HEAD" or not size:
            if not size:
                digest.check(b"", "an empty blob")
            return Response(status=wanted.status, headers=wanted.headers, body=Promise(wanted.size) if size else b"")
        stream = await self._opener.open(origin, part, wanted.offset, wanted.size)
        notes = {"repository": origin.name, "digest": str(digest)}
        return Response(status=wanted.status, headers=wanted.headers, body=stream, notes=notes)

    async def find_blob(self, origin: Origin, digest: Digest) -> Part:
        """As `Blobs.find`, in the threads of its upstream."""
        return await self._asked(self.library.blobs.find, origin, digest)

    async def _asked(self, question: Callable[..., T], origin: Origin, *arguments: object) -> T:
        """What `question` answers in a thread; the same question of the same client is put once at a time."""
        key = (question.__qualname__, origin.name, origin.authorization, *arguments)
        return await self._flights.once(key, lambda: self._run(question, origin, *arguments))

    async def _run(self, question: Callable[..., T], origin: Origin, *arguments: object) -> T:
        return await asyncio.wrap_future(self._pools.of(origin.registry).submit(question, origin, *arguments))

    def _is_own(self, route: Route | None) -> bool:
        if route is None or not route.repository:
            return False
        try:
            return self.library.gatekeeper.identify(route.registry, route.repository, "").authorization is None
        except DistributionError:
            return False


def _marked(response: Response, origin: Origin, source: str, digest: Digest | None = None) -> Response:
    """The response with what the log and the metrics should know, and the client if it is stale."""
    notes = {"cache": source, "repository": origin.name, **({"digest": str(digest)} if digest else {})}
    headers = dict(response.headers)
    if source == "stale":
        headers["Warning"] = ", ".join(filter(None, (_STALE, headers.get("Warning"))))
    return replace(response, headers=headers, notes=notes)


def _quoted(text: str) -> str:
    """Fit to stand between quotes in a header."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')
