"""Documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("policies/**/*.md")])
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
ANCHORED = re.compile(r"\]\((?!\w+:)([^)#\s]*)#([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    broken = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert not broken


def test_anchors_are_those_of_headings() -> None:
    """As GitHub makes them, and the site."""
    broken = []
    for page in PAGES:
        for target, anchor in ANCHORED.findall(_prose(page)):
            there = (page.parent / target).resolve() if target else page
            if there.suffix == ".md" and anchor not in _anchors(there):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert not broken


def test_every_page_is_in_the_nav_of_the_site() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"[\w/-]+\.md", nav)
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md"))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    plain = (re.sub(r"\]\([^)]*\)|[`*\[\]]", "", heading) for heading in headings)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in plain}


def _prose(page: Path) -> str:
    """Without blocks of code, in which # begins a comment."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_every_decision_is_listed() -> None:
    listed = LINK.findall((ROOT / "docs/decisions/README.md").read_text())
    assert sorted(listed) == sorted(p.name for p in ROOT.glob("docs/decisions/[0-9]*.md"))


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            links = [(page.parent / target).resolve() for target in LINK.findall(page.read_text())]
            todo += [link for link in links if link.suffix == ".md" and link.is_file()]
    assert {page.resolve() for page in PAGES} <= {page.resolve() for page in seen}


def test_every_dependency_is_justified() -> None:
    """One line each in docs/dependencies.md."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=;~]", requirement)[0] for group in groups for requirement in group} - {"modelcar"}
    rows = [line for line in (ROOT / "docs/dependencies.md").read_text().splitlines() if line.startswith("|")]
    assert names == {name for name in names if any(f"`{name}" in row for row in rows)}
