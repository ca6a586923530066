"""Every exception that modelcar raises on purpose.

```
ModelcarError                 one clear line for a person; `hint` says what to do; `exit_status` is the command's
├── UsageError            2   the request makes no sense: unknown option value, malformed reference
│   ├── InvalidDigest         not `sha256:<64 hex>` or `sha512:<128 hex>`
│   ├── InvalidReference      not `registry/repo:tag@digest`
│   ├── TooLarge              a registry is known to take no layer of this size
│   └── SourceError           what was given to package cannot be packaged
│       ├── EmptySource           nothing to package there
│       ├── UnsafePath            a path or link leaves the checkpoint, collides, or no tar can hold it
│       └── MalformedFile         a model file is truncated, lies about itself, or is not what its name says
├── NotFound              2   no such image, blob or file where it was looked for
├── Refused               1   the answer is no: not verified, denied, differs
│   ├── AlreadyExists         the name is in use
│   ├── NotVerified           no signature or attestation says what was asked for, by whom it was asked for
│   ├── Denied                a policy says no
│   └── InvalidContent        bytes do not agree with what describes them
│       ├── DigestMismatch        content hashes to another digest
│       ├── SizeMismatch          content is longer or shorter than promised
│       └── InvalidDocument       a manifest, index or config that breaks its specification
└── WorldError            3   network, credentials, disk: may work another time
    ├── SourceChanged         a source file is not what it was when it was hashed
    ├── StorageError          permission denied, damaged store
    │   └── NoSpace               the disk is full, or what may be used of it
    ├── ClusterError          a Kubernetes API server said no or could not be reached; carries its status and reason
    │   ├── ClusterUnreachable    no connection, or it broke and retries did not help; or it is overloaded
    │   ├── ClusterForbidden      401, 403: who we are there may not do this
    │   ├── ObjectNotFound        404
    │   ├── Conflict              409: the object has changed since it was read, or exists already
    │   ├── InvalidObject         400, 422: it does not take the object as it is
    │   └── Expired               410: this version of a list is known no more; list again
    └── RegistryError         a registry said no or could not be reached; carries status and the registry's own codes
        ├── Unreachable           no connection, or it broke and retries did not help
        ├── Unauthorized          401: credentials missing or wrong
        ├── Forbidden             403: credentials are known and do not suffice
        ├── RemoteNotFound        404
        ├── RateLimited           429, after retries
        └── ProtocolViolation     an answer that the distribution specification does not allow
```
"""

from __future__ import annotations


class ModelcarError(Exception):
    """Base of all. `str(e)` is one line without a trailing full stop; `hint`, if any, is what to do about it.

    `reasons`, where a no has several, are lines for a person, the most important first.
    """

    exit_status = 3

    def __init__(self, message: str, *, reasons: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message)
        self.reasons = reasons
        self.hint = hint


class UsageError(ModelcarError):
    exit_status = 2


class InvalidDigest(UsageError):
    pass


class InvalidReference(UsageError):
    pass


class TooLarge(UsageError):
    pass


class SourceError(UsageError):
    pass


class EmptySource(SourceError):
    pass


class UnsafePath(SourceError):
    pass


class MalformedFile(SourceError):
    pass


class NotFound(ModelcarError):
    exit_status = 2


class Refused(ModelcarError):
    exit_status = 1


class AlreadyExists(Refused):
    pass


class NotVerified(Refused):
    pass


class Denied(Refused):
    pass


class InvalidContent(Refused):
    pass


class DigestMismatch(InvalidContent):
    pass


class SizeMismatch(InvalidContent):
    pass


class InvalidDocument(InvalidContent):
    pass


class WorldError(ModelcarError):
    exit_status = 3


class SourceChanged(WorldError):
    pass


class StorageError(WorldError):
    pass


class NoSpace(StorageError):
    pass


class ClusterError(WorldError):
    """A Kubernetes API server's refusal. `status` is the HTTP status, `reason` its own word for it (`AlreadyExists`).

    `retry_after` are the seconds that it asks for.
    """

    retry_after: float | None = None

    def __init__(
        self, message: str, *, status: int | None = None, reason: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason


class ClusterUnreachable(ClusterError):
    pass


class ClusterForbidden(ClusterError):
    pass


class ObjectNotFound(ClusterError):
    pass


class Conflict(ClusterError):
    pass


class InvalidObject(ClusterError):
    pass


class Expired(ClusterError):
    pass


class RegistryError(WorldError):
    """A registry's refusal. `status` is the HTTP status, `codes` the error codes of its JSON body (`("DENIED",)`).

    `challenge` is the `WWW-Authenticate` header of a registry that wants a login, or another one, also where it was the
    token server that failed; `retry_after` the seconds that it asks for.
    """

    challenge: str | None = None
    retry_after: float | None = None

    def __init__(
        self, message: str, *, status: int | None = None, codes: tuple[str, ...] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.codes = codes


class Unreachable(RegistryError):
    pass


class Unauthorized(RegistryError):
    pass


class Forbidden(RegistryError):
    pass


class RemoteNotFound(RegistryError):
    """`missing` is the tag that is not there, as a whole reference, where it was one that was asked for."""

    missing: str | None = None


class RateLimited(RegistryError):
    pass


class ProtocolViolation(RegistryError):
    pass
