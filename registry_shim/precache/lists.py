"""Lists of images in a folder: what other tools write to say what a node shall have.

```
*.txt    a reference a line, options behind it:   ghcr.io/org/model:v1 pin priority=5     # why
*.yaml   images: [{reference: …, priority: 5, pin: true, refresh: 10m}]
```
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from modelcar.errors import ModelcarError, StorageError, UsageError
from modelcar.files import read_own
from modelcar.store.disk import explain
from registry_shim.precache.settings import PrecacheImage

__all__ = ["Folder", "parse_text"]

_MAX_FILE: Final = 1 << 20  # bytes
_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {
    "priority": int,
    "platform": str,
    "refresh": float,
}
_FLAGS: Final = ("pin", "load")


def parse_text(text: str, name: str) -> tuple[PrecacheImage, ...]:
    """The images of a `.txt` list. Raises `UsageError` with `name` and the line's number."""
    images = []
    for number, line in enumerate(text.splitlines(), 1):
        reference, *options = line.partition("#")[0].split() or [""]
        if reference:
            try:
                images.append(_image(reference, options))
            except (UsageError, ValueError) as e:
                raise UsageError(f"{name}:{number}: {e}", hint="REFERENCE [pin] [load] [priority=N]") from None
    return tuple(images)


def _image(reference: str, options: list[str]) -> PrecacheImage:
    values: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if equals and key in _OPTIONS:
            values[key] = _OPTIONS[key](value)
        elif not equals and key in _FLAGS:
            values[key] = True
        else:
            raise UsageError(f"{option!r} is not an option")
    return PrecacheImage(reference=reference, **values)


class Folder:
    """The lists of a folder. What cannot be read keeps what it said before."""

    def __init__(self, path: Path, read_yaml: Callable[[str, str], tuple[PrecacheImage, ...]]) -> None:
        """`read_yaml` is given text and name of a `.yaml` file."""
        self._path = path
        self._read_yaml = read_yaml
        self._read: dict[str, tuple[tuple[int, int, int], tuple[PrecacheImage, ...]]] = {}
        self.problems: dict[str, str] = {}
        """By file: why its newest content does not count."""

    def images(self) -> dict[str, tuple[PrecacheImage, ...]]:
        """By the files' names, which are read again if they changed. Raises `StorageError`."""
        found = self._files()
        for name in self._read.keys() - found.keys():
            del self._read[name]
        for name in self.problems.keys() - found.keys():
            del self.problems[name]
        for name, path in found.items():
            try:
                self._look(name, path)
                self.problems.pop(name, None)
            except ModelcarError as e:
                self.problems[name] = str(e)
            except FileNotFoundError:
                continue
            except OSError as e:
                self.problems[name] = str(explain(e, f"cannot read {path}"))
        return {name: images for name, (_, images) in self._read.items()}

    def _look(self, name: str, path: Path) -> None:
        st = path.stat()
        state = (st.st_mtime_ns, st.st_size, st.st_ino)
        if name in self._read and self._read[name][0] == state:
            return
        if st.st_size > _MAX_FILE:
            raise StorageError(f"{name} has more than {_MAX_FILE} bytes")
        try:
            text = read_own(path, _MAX_FILE).decode()
        except UnicodeDecodeError:
            raise UsageError(f"{name} is not UTF-8 text") from None
        parse = parse_text if name.endswith(".txt") else self._read_yaml
        self._read[name] = state, parse(text, name)

    def _files(self) -> dict[str, Path]:
        try:
            return {
                path.name: path
                for path in sorted(self._path.iterdir())
                if path.suffix in (".txt", ".yaml", ".yml") and not path.name.startswith(".")
            }
        except FileNotFoundError:
            return {}
        except OSError as e:
            raise explain(e, f"cannot read {self._path}") from None
