"""Every block of commands in README.md, the tutorial and the how-tos is run by a test, or says why it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.documents.expected import difference
from tests.e2e.documents.pages import ROOT, Commands, NotRun, Undecided, Written, parse, paths

PAGE = """# A page

<!-- run: registry=localhost:5000 checkpoint=model -->
<!-- setup:
export NAME=value
-->

```console
$ modelcar build ./model \\
    -t localhost:5000/model:v1
built it in 0.3 s
$ echo done
```

<!-- not run: it needs a cluster -->
```sh
kubectl apply -f pod.yaml
```

- in a list:

  <!-- exit: 1 -->
  ```sh
  for i in 1 2; do
    echo $i
  done
  cat <<END   # a document
  text
  END
  false
  ```

<!-- file: pod.yaml -->
```yaml
kind: Pod
```
"""


@pytest.mark.parametrize("path", paths(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_is_run_or_says_why_not(path: Path) -> None:
    undecided = [(block.line, block.what) for block in parse(path).blocks if isinstance(block, Undecided)]
    assert not undecided


def test_more_is_run_than_not() -> None:
    blocks = [block for path in paths() for block in parse(path).blocks]
    run = sum(isinstance(block, Commands) and not block.hidden for block in blocks)
    assert run > 2 * sum(isinstance(block, NotRun) for block in blocks)


def test_a_page_is_understood(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    page = parse(tmp_path / "page.md")
    assert page.needs == ("registry=localhost:5000", "checkpoint=model")
    setup, console, cluster, script, pod = page.blocks
    assert isinstance(setup, Commands)
    assert setup.hidden
    assert setup.commands == (("export NAME=value", ()),)
    assert isinstance(console, Commands)
    build = "modelcar build ./model \\\n    -t localhost:5000/model:v1"
    assert console.commands == ((build, ("built it in 0.3 s",)), ("echo done", ()))
    assert cluster == NotRun(line=16, reason="it needs a cluster")
    assert isinstance(script, Commands)
    assert [command for command, _ in script.commands] == [
        "for i in 1 2; do\n  echo $i\ndone",
        "cat <<END   # a document\ntext\nEND",
        "false",
    ]
    assert script.status == 1
    assert pod == Written(line=34, path="pod.yaml", text="kind: Pod\n")


def test_without_a_comment_commands_are_undecided(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# A page\n\n```sh\nrm -r x\n```\n\n<!-- not run: -->\n```sh\nls\n```\n")
    assert [type(block) for block in parse(tmp_path / "page.md").blocks] == [Undecided, Undecided]


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["built it in 0.3 s"], "built it in 12.25 s\n"),
        (["sha256:3f1c…"], "sha256:77aa0012\n"),
        (["layer    47.1 MB  sha256:0123456789ab"], "layer  1.2 GB  sha256:fedcba987654\n"),
        (["first", "…", "last"], "first\nsecond\nthird\nlast\n"),
        (["first", "…"], "first\nsecond\n"),
        ([], "whatever\n"),
        (["listening on 127.0.0.1:40123"], "listening on 127.0.0.1:35001\n"),
        (["100 % of it"], "5 % of it\n"),
    ],
)
def test_what_a_machine_decides_may_differ(shown: list[str], printed: str) -> None:
    assert difference(shown, printed) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["built it"], "pushed it\n"),
        (["built it"], "built it\nand more\n"),
        (["built it", "and more"], "built it\n"),
        (["2 files"], "3 files\n"),
        (["…", "last"], "first\nother\n"),
    ],
)
def test_words_may_not(shown: list[str], printed: str) -> None:
    assert difference(shown, printed) is not None
