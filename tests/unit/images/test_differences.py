"""What two models differ in, and how many bytes of it there are on either side."""

from __future__ import annotations

from modelcar.images.differences import Amount, Change, compare
from tests.unit.images.sides import A, B, file, side


def test_amounts() -> None:
    found = compare(side(*A), side(*B))
    files = {
        Change.SAME: Amount(1, 1, 880, 880),
        Change.CHANGED: Amount(1, 1, 840, 600),
        Change.REMOVED: Amount(1, 0, 3, 0),
        Change.ADDED: Amount(0, 1, 0, 5),
    }
    assert found.file_amounts == files
    assert found.layer_amounts == files, "there is a layer a file"
    assert found.tensor_amounts == {
        Change.SAME: Amount(2, 2, 880, 880),
        Change.UNKNOWN: Amount(1, 1, 400, 400),
        Change.CHANGED: Amount(1, 1, 400, 200),
        Change.REMOVED: Amount(1, 0, 40, 0),
    }
    assert found.file_amounts[Change.CHANGED].count == 1


def test_a_folder_has_no_layers() -> None:
    assert compare(side(*A), side(*A, image=False)).layers == ()


def test_a_tensor_that_lies_elsewhere_is_not_said_to_be_the_same() -> None:
    moved = file("other.safetensors", "same", ("w.0", 800, "F32"), ("w.1", 80, "F32"))
    assert compare(side(A[0]), side(moved)).tensor_amounts == {Change.UNKNOWN: Amount(2, 2, 880, 880)}


def test_layers_from_the_bottom_up_then_what_is_new() -> None:
    found = compare(side(*A), side(*B)).layers
    assert [(layer.files, layer.change, layer.before, layer.after) for layer in found] == [
        (("one.safetensors",), Change.SAME, 880, 880),
        (("two.safetensors",), Change.CHANGED, 840, None),
        (("old.json",), Change.REMOVED, 3, None),
        (("two.safetensors",), Change.CHANGED, None, 600),
        (("new.json",), Change.ADDED, None, 5),
    ]


def test_one_model_twice_differs_in_nothing() -> None:
    found = compare(side(*A), side(*A))
    assert found.is_none
    assert set(found.tensor_amounts) == set(found.layer_amounts) == {Change.SAME}
