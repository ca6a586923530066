"""A checkpoint: named files, where they came from, and what their headers say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from modelcar.checkpoint.adapters import is_adapter
from modelcar.checkpoint.formats.read import read_header
from modelcar.checkpoint.formats.shards import check_complete, check_index, is_index
from modelcar.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelcar.checkpoint.facts import ModelFacts
    from modelcar.checkpoint.file import CheckpointFile
    from modelcar.checkpoint.formats.header import Header
    from modelcar.checkpoint.provenance import Provenance
    from modelcar.checkpoint.remote import Remote

__all__ = ["Checkpoint"]

HEADERS_AT_ONCE = 8  # requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What `open_checkpoint` returns. Immutable; headers are read when they are first asked for.

    Attributes:
        root: the folder that it was found in, all links resolved.
        provenance: where it came from.
        files: sorted by the bytes of their paths.
        excluded: relative paths of what was left out, folders with a trailing slash.
        remote: where the files come from that are awaited; `None` if all are here.
    """

    root: Path
    provenance: Provenance
    files: tuple[CheckpointFile, ...]
    excluded: tuple[str, ...] = ()
    remote: Remote | None = None
    _memo: dict[str, Mapping[str, Header]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def file(self, path: str) -> CheckpointFile | None:
        """The file at `path`, if there is one."""
        return next((file for file in self.files if file.path == path), None)

    def headers(self) -> Mapping[str, Header]:
        """The headers of all safetensors and GGUF files by path, checked one by one and against each other.

        Raises:
            MalformedFile: a header breaks its format's rules; a shard is missing; an index and its shards disagree.
            SourceChanged: a file is no longer what it was when the checkpoint was opened.
        """
        if "headers" not in self._memo:
            headers = self._read_headers()
            for index in self.files:
                if is_index(index.path):
                    check_index(index, headers)
            check_complete(headers)
            self._memo["headers"] = MappingProxyType(headers)
        return self._memo["headers"]

    def _read_headers(self) -> dict[str, Header]:
        awaited = [file for file in self.files if file.awaited]
        with ThreadPoolExecutor(HEADERS_AT_ONCE, thread_name_prefix="modelcar-headers") as pool:
            from_afar = dict(zip((file.path for file in awaited), pool.map(self._header, awaited), strict=True))
        read = {f.path: from_afar[f.path] if f.awaited else read_header(f) for f in self.files}
        return {path: header for path, header in read.items() if header is not None}

    def _header(self, file: CheckpointFile) -> Header | None:
        """Of a file that is awaited."""
        assert self.remote is not None  # noqa: S101  # or nothing would be awaited
        return read_header(file, self.remote.reading(file))

    def local(self, progress: Progress = SILENT) -> Checkpoint:
        """The same with all its files here, each verified where its source says what it should hash to.

        Raises:
            DigestMismatch: something else came than was promised.
            WorldError: a file cannot be brought.
        """
        from modelcar.checkpoint.arrival import bring_all

        if self.remote is None:
            return self
        return replace(self, files=bring_all(self.remote, self.files, progress), remote=None)

    @property
    def is_adapter(self) -> bool:
        """Whether this is an adapter (LoRA and its kin), of no use without the model that it was trained on."""
        return is_adapter(self.files, self.headers())

    def facts(self) -> ModelFacts:
        """What is known about the model.

        Raises:
            MalformedFile: `config.json` or a header cannot be read.
        """
        from modelcar.checkpoint.gather import gather_facts

        return gather_facts(self)
