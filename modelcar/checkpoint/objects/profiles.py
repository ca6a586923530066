"""`~/.aws/credentials` and `~/.aws/config`, as far as keys and addresses stand in them.

The library that reads S3 knows the environment, web identity, containers and instances by itself, and no profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError, UsageError

__all__ = ["profile_settings"]

_KEYS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_OWN: Final = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")
_PLACES: Final = {"region": ("AWS_REGION", "AWS_DEFAULT_REGION"), "endpoint_url": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT")}
_NAMES: Final = {"endpoint_url": "aws_endpoint", "region": "aws_region", "aws_session_token": "aws_session_token"}


def profile_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What the profile `AWS_PROFILE`, or `default`, says that `environment` does not, by the library's names.

    Raises:
        UsageError: `AWS_PROFILE` names none, or one whose keys come from elsewhere.
        StorageError: a file cannot be read.
    """
    wanted = environment.get("AWS_PROFILE")
    name = wanted or "default"
    found = _section(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials", name)
    config = _section(environment, "AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}")
    if wanted and found is None and config is None:
        raise UsageError(f"there is no profile {wanted!r} in ~/.aws", hint="check AWS_PROFILE")
    section = {**(config or {}), **(found or {})}
    said = {k: v for k, v in section.items() if k in _PLACES and not any(environment.get(n) for n in _PLACES[k])}
    if wanted or not any(environment.get(name) for name in _OWN):
        said |= {k: v for k, v in section.items() if k in _KEYS}
        if wanted and "aws_access_key_id" not in said:
            raise UsageError(
                f"the profile {wanted!r} holds no access key of its own",
                hint='run `eval "$(aws configure export-credentials --format env)"`, and unset AWS_PROFILE',
            )
    return {_NAMES.get(key, key): value for key, value in said.items()}


def _section(environment: Mapping[str, str], variable: str, name: str, section: str) -> dict[str, str] | None:
    path = Path(environment.get(variable) or Path("~/.aws", name)).expanduser()
    parser = ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, Error, UnicodeDecodeError) as e:  # whose texts may quote a key
        raise StorageError(f"cannot read {path} ({type(e).__name__})", hint="see `aws configure list`") from None
    return dict(parser[section]) if parser.has_section(section) else None
