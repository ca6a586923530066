"""Keep the scripts that CI systems run equal everywhere: `python -m scripts.update_ci [--check]`.

The scripts of examples/ci are the originals. Actions have copies, and YAML that cannot include a file has them between
two marks, `# >>> NAME` and `# <<< NAME`.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SCRIPTS = ("package-model.sh", "promote-model.sh")
_PAGES = ("gitlab-template.yml", "tekton.yaml")
_MARKS = re.compile(
    r"(?P<head>^(?P<indent> *)# >>> (?P<name>\S+)\n).*?(?P<tail>^(?P=indent)# <<< (?P=name)\n)",
    re.DOTALL | re.MULTILINE,
)


def files(root: Path = ROOT) -> Mapping[Path, str]:
    """What the copies have to be, by path below `root`."""
    examples = Path("examples/ci")
    scripts = {name: (root / examples / name).read_text() for name in _SCRIPTS}
    actions = {Path(".github/actions") / name.removesuffix(".sh") / name: text for name, text in scripts.items()}
    pages = {examples / name: _filled((root / examples / name).read_text(), scripts) for name in _PAGES}
    return {**actions, **pages}


def _filled(page: str, scripts: Mapping[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        return found["head"] + textwrap.indent(scripts[found["name"]], found["indent"]) + found["tail"]

    return _MARKS.sub(fill, page)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Keep the scripts that CI systems run equal everywhere.")
    parser.add_argument("--check", action="store_true", help="only say what differs, with exit status 1")
    options = parser.parse_args(arguments)
    stale = [path for path, text in files().items() if not _is(ROOT / path, text)]
    for path in stale:
        if options.check:
            sys.stderr.write(f"{path} is not as examples/ci says; run `python -m scripts.update_ci`\n")
        else:
            (ROOT / path).write_text(files()[path])
            if path.suffix == ".sh":
                (ROOT / path).chmod(0o755)
    return int(options.check and bool(stale))


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
