"""What `mkdocs.yml` cannot say: links that leave docs/ lead to copies of what they name, so that the site is whole.

Pages link to code, examples and policies as they lie in the repository, where GitHub shows them. In the site each of
these becomes a page under `repository/`: a document as it is, any other text as a block of code, a folder as a list.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
_FOLDER: Final = "repository"
# Files of this folder, by where they lie in the site. mkdocs-material's own worker would be fetched from elsewhere.
_ASSETS: Final = {"assets/iframe-worker.js": "iframe-worker.js", "assets/site.css": "site.css"}
_LINK: Final = re.compile(r"(\]\()(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(\))")
_FENCE: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"^<!-- *(?:run|setup|not run|exit|background|file)\b.*?-->\n", re.MULTILINE | re.DOTALL)
_LANGUAGES: Final = {
    ".py": "python",
    ".yaml": "yaml",
    ".json": "json",
    ".toml": "toml",
    ".service": "ini",
    ".conf": "ini",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside of docs/, and what that links to if it is a document."""
    for where, name in _ASSETS.items():
        files.append(File.generated(config, where, content=(ROOT / "scripts" / name).read_text()))
    todo = [ROOT / "docs" / file.src_uri for file in files.documentation_pages()]
    seen: set[str] = set()
    while todo:
        page = todo.pop()
        for target in _outside(page):
            name = _page_of(target)
            if name in seen:
                continue
            seen.add(name)
            content = _content(target)
            files.append(File.generated(config, name, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
            todo += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # mkdocs names them
    """Comments for tests go, and links lead to where things lie in the site."""
    uri = page.file.src_uri
    origin = ROOT / uri.removeprefix(f"{_FOLDER}/") if uri.startswith(f"{_FOLDER}/") else ROOT / "docs" / uri
    if uri.startswith(f"{_FOLDER}/") and not origin.is_file():
        return markdown  # made by `_content`, with links that are right already
    parts = _FENCE.split(_COMMENT.sub("", markdown))
    return "".join(
        part if part.lstrip().startswith("```") else _LINK.sub(lambda m: _led(m, origin, uri), part) for part in parts
    )


def _led(link: re.Match[str], origin: Path, uri: str) -> str:
    target = (origin.parent / link[2]).resolve()
    if not target.exists() or not target.is_relative_to(ROOT):
        return link[0]  # mkdocs will say that it leads nowhere
    where = _page_of(target) if not _is_in_docs(target) else target.relative_to(ROOT / "docs").as_posix()
    return f"{link[1]}{posixpath.relpath(where, posixpath.dirname(uri) or '.')}{link[3] or ''}{link[4]}"


def _outside(page: Path) -> Iterator[Path]:
    """Files and folders of the repository, not of docs/, that a document links to."""
    for part in _FENCE.split(page.read_text()):
        if part.lstrip().startswith("```"):
            continue
        for _, name, _, _ in _LINK.findall(part):
            target = (page.parent / name).resolve()
            if target.exists() and target.is_relative_to(ROOT) and not _is_in_docs(target):
                yield target


def _is_in_docs(path: Path) -> bool:
    return path.is_relative_to(ROOT / "docs")


def _page_of(target: Path) -> str:
    name = target.relative_to(ROOT).as_posix()
    return f"{_FOLDER}/{name}" if target.suffix == ".md" else f"{_FOLDER}/{name}.md"


def _content(target: Path) -> str:
    """A page about a file or folder."""
    if target.suffix == ".md":
        return target.read_text()
    name = target.relative_to(ROOT).as_posix()
    if target.is_dir():
        blocks = [_block(path, f"## {path.relative_to(target)}") for path in sorted(target.iterdir()) if path.is_file()]
        return "\n\n".join([f"# {name}", *blocks])
    return _block(target, f"# {name}")


def _block(path: Path, heading: str) -> str:
    return f"{heading}\n\n````{_LANGUAGES.get(path.suffix, 'text')}\n{path.read_text().rstrip()}\n````"
