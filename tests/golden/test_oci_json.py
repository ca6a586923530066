"""Documents are written as Go writes them, so that tools which decode and encode one leave its digest alone.

`oci/oci_json.go` made the golden files, with Go 1.26.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.oci import Index, Manifest, parse_manifest

FOLDER = Path(__file__).parent / "oci"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda p: p.stem)
def test_document_made_anew_equals_what_go_wrote(path: Path) -> None:
    document = parse_manifest(path.read_bytes())
    assert isinstance(document, Index if path.stem.startswith("index") else Manifest)
    assert document.edited().content == path.read_bytes()


def test_annotations_are_sorted_whatever_their_order() -> None:
    index = parse_manifest((FOLDER / "index.json").read_bytes())
    reversed_ = index.edited(annotations=dict(sorted(index.annotations.items(), reverse=True)))
    assert reversed_.digest == index.digest
