"""Whether a registry can be reached, speaks TLS that we trust, knows us, and what is known of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from modelcar.doctor.finding import Finding, note, ok, problem
from modelcar.errors import Forbidden, InvalidReference, RegistryError, RemoteNotFound, Unauthorized
from modelcar.oci import Reference
from modelcar.progress import human_size
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.dialects import UNKNOWN, dialect_of

__all__ = ["look_at_registry"]

_SECONDS: Final = 15
_NOBODYS: Final = "modelcar-doctor/none"  # a repository that nobody has


def look_at_registry(host: str, settings: ClientSettings) -> Iterator[Finding]:
    """Ask the registry `host` (HOST or HOST:PORT), or that of a whole reference. Raises `InvalidReference`."""
    name, _, repository = host.partition("/")
    ref = Reference.parse(host) if repository else Reference.parse(f"{host}/{_NOBODYS}")
    if not repository and ref.registry != name:
        raise InvalidReference(f"{host!r} is not a registry", hint="it looks like ghcr.io or registry.internal:5000")
    subject = f"registry {ref.registry}"
    with Registry(replace(settings, timeout=_SECONDS, attempts=2)) as registry:
        try:
            challenge = registry.challenge(ref)
        except RegistryError as e:
            yield problem(subject, str(e), e.hint)
            return
        kind = (challenge or "").partition(" ")[0]
        yield ok(subject, f"answers at /v2/, and {f'wants a login ({kind})' if kind else 'takes anybody'}")
        yield _asked(registry, ref, subject, named=bool(repository))
    dialect = dialect_of(ref.registry)
    if dialect is UNKNOWN:
        yield ok(subject, "is of no kind that is known by its name: what it takes is found out")
        return
    most = f"; takes layers up to {human_size(dialect.largest_layer)}" if dialect.largest_layer else ""
    yield ok(subject, f"is {dialect.family}{most}{f'; {dialect.note}' if dialect.note else ''}")


def _asked(registry: Registry, ref: Reference, subject: str, *, named: bool) -> Finding:
    """What comes of asking for an image, with the login that is kept for this registry, if one is."""
    try:
        registry.resolve(ref)
    except RemoteNotFound:
        return ok(subject, f"there is no {ref}" if named else "answers requests for images")
    except (Unauthorized, Forbidden) as e:
        if named:
            return problem(subject, str(e), e.hint)
        return note(
            subject, f"tells nothing of a repository that nobody has: {e}", "name an image of yours, to be sure"
        )
    except RegistryError as e:
        return problem(subject, str(e), e.hint)
    return ok(subject, f"has {ref}")
