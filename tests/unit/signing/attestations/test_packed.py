"""What is attested of an image with packed layers: the same files, in the layers that the manifest lists."""

from __future__ import annotations

import pytest

from modelcar.layers.index import IndexedLayer
from modelcar.packaging.plan import Packing
from modelcar.signing.attestations.image import AttestedImage
from modelcar.signing.attestations.invocation import Invocation
from modelcar.signing.attestations.mlbom import mlbom
from modelcar.signing.attestations.oms import oms_statement
from modelcar.signing.attestations.provenance import provenance
from tests.support.checkpoints import make_checkpoint
from tests.unit.signing.attestations.conftest import attested


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[Packing, AttestedImage]:
    """Of one checkpoint, whose shard has two chunks, so that no digest of the whole file is known."""
    place = tmp_path_factory.mktemp("packed")
    folder = make_checkpoint(place / "checkpoint", shards=1, elements=2_200_000)
    return {packing: attested(place / "home", folder, packing=packing) for packing in Packing}


def weights(image: AttestedImage) -> IndexedLayer:
    return image.model.layers[0]


@pytest.mark.parametrize("packing", [Packing.ESTARGZ, Packing.SOCI])
def test_model_signing_manifests_are_those_of_a_plain_image(
    images: dict[Packing, AttestedImage], packing: Packing
) -> None:
    plain = oms_statement(images[Packing.TAR].model, "tiny")
    assert oms_statement(images[packing].model, "tiny") == plain


def test_nothing_of_a_packed_layer_is_taken_for_the_base(images: dict[Packing, AttestedImage]) -> None:
    assert images[Packing.ESTARGZ].base == ()


def test_the_bill_of_materials_names_layers_as_the_manifest_does(images: dict[Packing, AttestedImage]) -> None:
    layer = weights(images[Packing.ESTARGZ])
    said = {
        entry["value"]
        for component in mlbom(images[Packing.ESTARGZ])["components"]
        for entry in component.get("properties", ())
        if entry["name"] == "modelcar:layer"
    }
    assert str(layer.listed_as) in said
    assert str(layer.digest) not in said


def test_provenance_gives_no_place_in_a_blob_that_files_do_not_lie_in(images: dict[Packing, AttestedImage]) -> None:
    layer = weights(images[Packing.ESTARGZ])
    [entry] = [
        each["annotations"]
        for each in provenance(images[Packing.ESTARGZ], Invocation())["buildDefinition"]["resolvedDependencies"]
        if each["name"].endswith(".safetensors")
    ]
    assert entry == {"size": layer.files[0].size, "layer": str(layer.listed_as)}
