"""The layout of the Hugging Face Hub's cache on disk, read without its library.

```
<cache>/models--org--name/refs/<revision>             the commit that a branch or tag stands for
                         /snapshots/<commit>/<path> → ../../blobs/<etag>
                         /blobs/<etag>                a file, or → ../../blobs/<2 hex>/<xet hash>
<cache>/blobs/<2 hex>/<xet hash>                      a file, shared between repositories
```

An etag is the sha256 of a file in Git LFS or Xet storage (64 hex digits), the git object id of a small one (40).
Source: huggingface_hub 2.4, `file_download.py` and `utils/_shared_blobs.py`; older versions have no shared blobs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from modelcar.errors import SourceError, StorageError

__all__ = ["HubSnapshot", "find_snapshot", "select_snapshot"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO_FOLDER = re.compile(r"(models|datasets|spaces|kernels)--(.+)")
_DOWNLOAD = "download the model first, for example with `hf download`"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSnapshot:
    """One commit of one repository in a cache. `folder` is `<cache>/models--org--name`, all links resolved."""

    folder: Path
    repo: str
    commit: str

    @property
    def root(self) -> Path:
        return self.folder / "snapshots" / self.commit

    def write_ref(self, revision: str) -> None:
        """Note that `revision`, if it is no commit, stands for this one now. `OSError` if that cannot be written."""
        if _COMMIT.fullmatch(revision):
            return
        ref = self.folder / "refs" / revision
        if ref.exists() and ref.read_text(encoding="ascii", errors="replace") == self.commit:
            return
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f".{ref.name}.{os.getpid()}")
        temporary.write_text(self.commit)
        temporary.replace(ref)

    def owns(self, target: Path) -> bool:
        """Whether a link of this snapshot may lead to `target`, an absolute path without links."""
        if target.is_relative_to(self.root) or target.parent == self.folder / "blobs":
            return True
        shared = self.folder.parent / "blobs"
        return (
            target.parent.parent == shared
            and _SHA256.fullmatch(target.name) is not None
            and target.parent.name == target.name[:2]
        )

    def known_sha256(self, hops: tuple[Path, ...]) -> str | None:
        """The content's sha256 according to the Hub, from the places that a chain of links led to."""
        for hop in hops:
            if hop.parent == self.folder / "blobs" and _SHA256.fullmatch(hop.name):
                return hop.name
        return None


def find_snapshot(path: Path) -> HubSnapshot | None:
    """The snapshot that `path` (absolute, without links) is or lies in, if any.

    Raises:
        SourceError: it belongs to a repository that holds no model.
    """
    for place in (path, *path.parents):
        if _COMMIT.fullmatch(place.name) and place.parent.name == "snapshots":
            repo = _repo_of(place.parent.parent)
            if repo is not None:
                return HubSnapshot(folder=place.parent.parent, repo=repo, commit=place.name)
    return None


def select_snapshot(folder: Path) -> HubSnapshot | None:
    """The snapshot to take where someone names a repository's whole cache `folder`; `None` if it is no such folder.

    That of `refs/main`, else the only one.

    Raises:
        SourceError: there is none, or there are several and none of them is `main`.
        StorageError: it cannot be read.
    """
    repo = _repo_of(folder)
    if repo is None:
        return None
    try:
        commits = sorted(entry.name for entry in (folder / "snapshots").iterdir() if _COMMIT.fullmatch(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise StorageError(f"cannot read {folder / 'snapshots'}: {e.strerror}", hint="make it readable") from None
    main = _main_commit(folder)
    if main in commits:
        commits = [main]
    if not commits:
        raise SourceError(f"the cache folder {folder} holds no snapshot", hint=_DOWNLOAD)
    if len(commits) > 1:
        raise SourceError(
            f"the cache folder {folder} holds {len(commits)} snapshots and none is 'main'",
            hint=f"name one of them, for example {folder / 'snapshots' / commits[0]}",
        )
    return HubSnapshot(folder=folder, repo=repo, commit=commits[0])


def _main_commit(folder: Path) -> str:
    try:
        return (folder / "refs" / "main").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _repo_of(folder: Path) -> str | None:
    """`org/name` from `models--org--name`; `None` if it is named otherwise."""
    match = _REPO_FOLDER.fullmatch(folder.name)
    if match is None:
        return None
    kind, rest = match.groups()
    repo = rest.replace("--", "/", 1)
    if "--" in repo:
        return None  # the Hub allows no such name
    if kind != "models":
        raise SourceError(f"{folder} is the cache of {kind[:-1]} {repo}, not of a model", hint="name a model")
    return repo
