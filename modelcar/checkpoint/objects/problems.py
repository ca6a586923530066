"""Whatever an object store's client raises, as one line and what to do.

Its own texts hold access keys, signed addresses and whole answers, and are not shown: of them only the store's word for
what is wrong (`NoSuchBucket`) is taken.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelcar.errors import ModelcarError, SourceChanged, SourceError, WorldError

if TYPE_CHECKING:
    from modelcar.checkpoint.objects.names import Location

__all__ = ["is_passing", "translated"]

_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_STATUS: Final = re.compile(
    r"\b(?:status code:?|HTTP status \w+ error|status:?|non-retryable status code:?) \(?(\d{3})\b"
)
_INSTANCE: Final = re.compile(  # asked when nobody else has any
    r"169\.254\.169\.254|/latest/api/token|/latest/meta-data|metadata\.google\.internal"
)
_LOG_IN: Final = {
    "s3": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "check GOOGLE_APPLICATION_CREDENTIALS",
    "az": "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ENDPOINT: Final = {
    "s3": "AWS_ENDPOINT_URL and AWS_REGION",
    "gs": "GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME",
}
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "InvalidBucketName")
_KEYS: Final = (
    "AccessDenied",
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "XAdminUserNotFound",  # of Versity's gateway
)
_ELSEWHERE: Final = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException")


def is_passing(error: BaseException) -> bool:
    """Whether another attempt may have another end."""
    from obstore.exceptions import BaseError, GenericError

    if isinstance(error, GenericError):
        return not _code(error) and (_status(error) or 500) >= 500
    return not isinstance(error, (BaseError, ModelcarError, FileNotFoundError, ValueError))


def translated(error: BaseException, location: Location, path: str | None = None) -> ModelcarError:
    """For what was raised while the file at `path`, or the listing, was asked for."""
    from obstore.exceptions import PermissionDeniedError, PreconditionError, UnauthenticatedError

    if isinstance(error, ModelcarError):
        return error
    code, status = _code(error), _status(error)
    shown = f" ({code or f'HTTP {status}'})" if code or status else ""
    if _INSTANCE.search(str(error)):
        return WorldError(f"there are no credentials for {location}", hint=_LOG_IN[location.scheme])
    if code in _NO_BUCKET:
        return SourceError(
            f"there is no bucket {location.scheme}://{location.bucket}{shown}",
            hint=f"check its name, and {_ENDPOINT[location.scheme]}",
        )
    if code in _ELSEWHERE or "redirect" in str(error).lower():
        return WorldError(
            f"the bucket {location.bucket} is in another region{shown}", hint=f"check {_ENDPOINT[location.scheme]}"
        )
    if code in _KEYS or isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or status in (401, 403):
        return WorldError(f"the store refuses {location} to these credentials{shown}", hint=_LOG_IN[location.scheme])
    if isinstance(error, PreconditionError) or (path is not None and isinstance(error, FileNotFoundError)):
        return changed(location, path or "a file")
    if isinstance(error, FileNotFoundError):
        return SourceError(f"there is nothing at {location}{shown}", hint="check the bucket's and the folder's name")
    what = f"{path} of {location}" if path is not None else str(location)
    return WorldError(
        f"cannot read {what}{shown}", hint=f"check the network and {_ENDPOINT[location.scheme]}, then try again"
    )


def changed(location: Location, path: str) -> SourceChanged:
    return SourceChanged(
        f"{path} of {location} is not what it was when it was listed", hint="try again when nobody writes there"
    )


def _code(error: BaseException) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _status(error: BaseException) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None
