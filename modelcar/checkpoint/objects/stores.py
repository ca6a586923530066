"""The client of an object store, with the credentials that its users have set up for other tools."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from modelcar.checkpoint.objects.names import Location
from modelcar.checkpoint.objects.profiles import profile_settings
from modelcar.errors import UsageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ["endpoint_of", "open_store"]

_CLIENT: Final[ClientConfig] = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "15m"}
_RETRIES: Final[RetryConfig] = {
    "max_retries": 5,
    "retry_timeout": timedelta(minutes=2),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10), "base": 2},
}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def open_store(location: Location) -> ObjectStore:
    """The client for a bucket. Nothing is asked of it yet.

    Raises:
        UsageError: the library is not installed, or settings in the environment make no sense.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise UsageError(f"{location.scheme}:// needs the library obstore", hint="pip install 'modelcar[s3]'") from None
    config = profile_settings(os.environ) if location.scheme == "s3" else {}
    client: ClientConfig = {**_CLIENT}
    endpoint = endpoint_of(location, config)
    if endpoint.startswith("http://"):
        client["allow_http"] = True
    options: Any = {"config": config} if config else {}
    try:
        return from_url(
            f"{location.scheme}://{location.bucket}", client_options=client, retry_config=_RETRIES, **options
        )
    except (BaseError, ValueError):  # whose texts may quote a key
        raise UsageError(
            f"the settings for {location.scheme}:// in the environment make no sense",
            hint="check the variables that begin with AWS_, GOOGLE_ or AZURE_",
        ) from None


def endpoint_of(location: Location, config: dict[str, str] | None = None) -> str:
    """The server that is asked, if one was named; as part of what tells places apart."""
    if location.scheme == "az":
        return os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    if location.scheme != "s3":
        return ""
    said = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    return said or (profile_settings(os.environ) if config is None else config).get("aws_endpoint", "")
