"""A commit of a model on the Hub, as a place that files are brought from, into the Hub's own cache.

The Hub's client knows tokens, endpoints and errors, lists the files, and keeps the cache: whatever is brought here is a
cache hit for every other program. Large files come by ranges of our own, because the client begins a file anew after it
was killed (huggingface_hub 2.4, `_download_to_tmp_and_move`) and hands nothing out before the last byte.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any, Final
from urllib.parse import urlsplit

from modelcar.backoff import Backoff, retry_after
from modelcar.checkpoint.hub import HubOptions, cached_snapshot, silent_bar
from modelcar.checkpoint.hub_errors import Wanted, is_final, translated
from modelcar.checkpoint.hub_listing import direct_connections, list_files
from modelcar.checkpoint.hubcache import HubSnapshot
from modelcar.checkpoint.links import resolve_link
from modelcar.checkpoint.provenance import Provenance
from modelcar.checkpoint.ranges import Ranges, Write
from modelcar.checkpoint.remote import RemoteFile
from modelcar.errors import EmptySource, ModelcarError, SourceChanged, WorldError
from modelcar.exchanges import told

__all__ = ["HubSource", "open_hub"]

_log = logging.getLogger(__name__)
_ATTEMPTS: Final = 6
_BACKOFF: Final = Backoff(0.5, 16.0)
_LONGEST_WAIT: Final = 60.0  # seconds
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_STALE: Final = frozenset({401, 403, 404, 410})  # what storage says of a signed URL whose time is over
_PUBLISHED: Final = 0o644


def open_hub(wanted: Wanted, options: HubOptions) -> HubSource | Path:
    """The files of a model at one commit: on the Hub, or the folder of its snapshot in the cache where that is all
    there is.

    Raises:
        SourceError: there is no such model or revision, or no file of it is wanted.
        WorldError: no access, no network.
    """
    from huggingface_hub import constants

    if options.offline or constants.HF_HUB_OFFLINE:
        return cached_snapshot(wanted, options)
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare

    try:
        connections = direct_connections()
        headers = build_hf_headers(token=options.token, library_name="modelcar")
        commit, listed = list_files(wanted, options, headers, connections)
    except Exception as e:
        if is_final(e):
            raise translated(e, wanted) from e
        try:
            return cached_snapshot(wanted, options)
        except ModelcarError:
            raise translated(e, wanted) from e
    if not listed:
        raise EmptySource(f"no file of {wanted} is wanted", hint="look at the patterns of --allow and --ignore")
    source = HubSource(wanted, options, commit, listed, headers, connections)
    source.note_revision()
    return source


class HubSource:
    """`RemoteSource` for one commit."""

    at_once = 6  # what one connection is short of, several make up for

    def __init__(
        self,
        wanted: Wanted,
        options: HubOptions,
        commit: str,
        files: tuple[RemoteFile, ...],
        headers: dict[str, str],
        connections: Ranges | None,
    ) -> None:
        from huggingface_hub import constants

        self._wanted, self._options, self.files = wanted, options, files
        self._endpoint = options.endpoint or constants.ENDPOINT
        cache = Path(options.cache or constants.HF_HUB_CACHE).expanduser().resolve()
        folder = cache / f"models--{wanted.repo.replace('/', '--')}"
        self.snapshot = HubSnapshot(folder=folder, repo=wanted.repo, commit=commit)
        self._headers = headers
        self._timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        self._agent = {name: value for name, value in self._headers.items() if name.lower() == "user-agent"}
        self._connections = connections
        self._places: dict[str, tuple[str, str]] = {}  # path: where its bytes are served, and its etag

    @property
    def name(self) -> str:
        return str(self._wanted)

    @property
    def root(self) -> Path:
        return self.snapshot.root

    @property
    def provenance(self) -> Provenance:
        return Provenance(repo=self._wanted.repo, revision=self.snapshot.commit, endpoint=self._wanted.endpoint)

    def note_revision(self) -> None:
        """Let the cache know what a branch or tag stands for, so that it can be asked for offline."""
        revision = self._wanted.revision or "main"
        with self._translating():
            self.snapshot.write_ref(revision)

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes | memoryview:
        if start >= stop:
            return b""
        with self._translating():
            for attempt in range(1, _ATTEMPTS + 1):
                last = attempt == _ATTEMPTS
                try:
                    data, wait = self._attempt(file, start, stop, last=last)
                except (ModelcarError, _Final):
                    raise
                except Exception:
                    if last:
                        raise
                    data, wait = None, 0.0
                if data is not None:
                    return data
                delay = min(max(wait, _BACKOFF.after(attempt)), _LONGEST_WAIT)
                _log.debug("%s: bytes %d-%d of %s: again in %.1f s", self.name, start, stop - 1, file.path, delay)
                sleep(delay)
        raise AssertionError  # the last attempt raises

    def copy(self, file: RemoteFile, start: int, stop: int, write: Write) -> None:
        if start >= stop:
            return
        if self._connections is not None:
            with self._translating():
                url, _ = self._located(file)
            headers = self._headers if _origin(url) == _origin(self._endpoint) else self._agent
            start += self._connections.get(url, headers, start, stop, file.size, write)
        if start < stop:
            write(start, memoryview(self.read(file, start, stop)))

    def bring(self, file: RemoteFile) -> Path:
        import huggingface_hub

        _log.debug("%s: %s comes by way of the library's cache", self.name, file.path)
        with self._translating():
            path = huggingface_hub.hf_hub_download(
                self._wanted.repo,
                file.path,
                revision=self.snapshot.commit,
                endpoint=self._endpoint,
                token=self._options.token,
                cache_dir=self.snapshot.folder.parent,
                library_name="modelcar",
                tqdm_class=silent_bar(),
            )
        return Path(path).resolve()

    def existing(self, file: RemoteFile) -> Path | None:
        link = self.snapshot.root / file.path
        if not link.exists() and not self._links_anew(link, file):
            return None
        if not link.is_symlink():
            return link.resolve()
        return resolve_link(link, file.path, self.snapshot.owns)[-1]

    def _links_anew(self, link: Path, file: RemoteFile) -> bool:
        """Whether a process had brought the file and was killed before it made the link, as `keep` may be; now made."""
        blob = self.snapshot.folder / "blobs" / (file.sha256 or "unknown")
        try:
            if blob.stat().st_size != file.size:
                return False
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
        except FileExistsError:  # another process was quicker, or it hangs
            return link.exists()
        except OSError:  # there is none; or there are no links here, and the library copies
            return False
        return True

    def place(self, file: RemoteFile) -> Path:
        blobs = self.snapshot.folder / "blobs"
        with self._translating():
            _, etag = self._located(file)
            blobs.mkdir(parents=True, exist_ok=True)
        return blobs / f"{etag}.modelcar.incomplete"

    def keep(self, file: RemoteFile, path: Path) -> Path:
        with self._translating():
            _, etag = self._located(file)
            path.chmod(_PUBLISHED)
            path.rename(path.with_name(etag))
        return self.bring(file)  # which finds it there, and only makes the link

    def _attempt(self, file: RemoteFile, start: int, stop: int, *, last: bool) -> tuple[memoryview | None, float]:
        """The bytes, or how long to wait before the next attempt."""
        from huggingface_hub.utils import get_session, hf_raise_for_status  # type: ignore[attr-defined, unused-ignore]  # exported lazily, which some versions do not declare

        url, _ = self._located(file)
        own = _origin(url) == _origin(self._endpoint)
        headers = {
            **(self._headers if own else {}),
            "Range": f"bytes={start}-{stop - 1}",
            "Accept-Encoding": "identity",
        }
        with (
            told(_log, "GET", url) as exchange,
            get_session().stream(
                "GET", url, headers=headers, timeout=self._timeout, follow_redirects=not own
            ) as answer,
        ):
            status = exchange.status = answer.status_code
            if status == 206 or (status == 200 and (start, stop) == (0, file.size)):
                data = _received(answer, file, start, stop, self.name)
                exchange.received = len(data)
                return data, 0.0
            if status in _STALE and not own:
                self._places.pop(file.path, None)
                if not last:
                    return None, 0.0
            if status in _BUSY and not last:
                return None, retry_after(answer.headers.get("Retry-After"))
            exchange.over()
            answer.read()
            try:
                hf_raise_for_status(answer)
            except Exception as e:
                raise _Final from e
        raise WorldError(
            f"{self._wanted.endpoint} serves no ranges of {file.path} (HTTP {status})", hint="check HF_ENDPOINT"
        )

    def _located(self, file: RemoteFile) -> tuple[str, str]:
        """Where the bytes of a file are served, and the etag that the cache calls them by."""
        known = self._places.get(file.path)
        if known is not None:
            return known
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(self._wanted.repo, file.path, revision=self.snapshot.commit, endpoint=self._endpoint)
        with told(_log, "HEAD", url) as exchange:
            found = get_hf_file_metadata(url, token=self._options.token, library_name="modelcar")
            exchange.status = 200
        if found.size is not None and found.size != file.size:
            raise _changed(self.name, file)
        etag = found.etag or file.version
        if file.sha256 is not None and len(etag) == len(file.sha256) and etag != file.sha256:
            raise _changed(self.name, file)
        if not etag.isalnum():  # it becomes a file's name
            etag = file.version
        self._places[file.path] = (found.location, etag)
        return self._places[file.path]

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except ModelcarError:
            raise
        except _Final as e:
            cause = e.__cause__
            assert isinstance(cause, Exception)  # noqa: S101  # it is raised from one
            raise translated(cause, self._wanted) from cause
        except Exception as e:  # the one boundary behind which none of the client's many exceptions gets
            raise translated(e, self._wanted) from e


class _Final(Exception):
    """An answer that another attempt would not change; its cause says which."""


def _received(answer: Any, file: RemoteFile, start: int, stop: int, name: str) -> memoryview:
    """The body, if it is what was asked for; not a byte more is held."""
    given = answer.headers.get("Content-Range", "")
    if given and given != f"bytes {start}-{stop - 1}/{file.size}":
        raise _changed(name, file)
    data, came = memoryview(bytearray(stop - start)), 0
    for part in answer.iter_raw():
        if came + len(part) > len(data):
            raise _changed(name, file)
        data[came : came + len(part)] = part
        came += len(part)
    if came < len(data):
        raise ConnectionError("the answer ended early")
    return data


def _changed(name: str, file: RemoteFile) -> SourceChanged:
    return SourceChanged(
        f"{name} serves another {file.path} than it lists", hint="try again; check HF_ENDPOINT if it is a mirror"
    )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()
