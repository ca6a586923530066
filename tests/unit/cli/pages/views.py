"""An image as its page is made of it: a plain one, and one that says of itself what does harm."""

from __future__ import annotations

from modelcar.cli.layers import layers_of, shared_layers
from modelcar.cli.pages.claimed import ClaimedVerdict
from modelcar.cli.pages.image import ImageView
from modelcar.signing.claims import Claim
from modelcar.signing.statement import COSIGN_SIGN
from tests.unit.cli.pages.images import image, indexed, layer, tensor

__all__ = ["NAME", "hostile_view", "model_view", "view"]

NAME = "ghcr.io/acme/llm:v1"


def view(**parts: object) -> ImageView:
    return ImageView(**{"name": NAME, "inspected": image(), "config": {}, **parts})  # type: ignore[arg-type]  # settings by their names


def model_view() -> ImageView:
    weights = [layer("one", 6_000_000), layer("two", 3_000_000)]
    index = [
        indexed(weights[0], ("a.safetensors", [tensor("layers.0.up", size=4000), tensor("layers.1.up", size=4000)])),
        indexed(weights[1], ("b.safetensors", [tensor("head", size=800, dtype="BF16")])),
    ]
    inspected = image(
        *weights,
        layer("small", 900_000, "files"),
        layer("holder", 100_000, "holder"),
        index=index,
        annotations={
            "org.opencontainers.image.title": "Tiny",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "dev.modelcar.model.parameters": "22713216",
        },
        runtime={"User": "65532", "Env": ["A=1"]},
    )
    other = image(weights[0])
    return view(
        inspected=inspected,
        config={"hidden_size": 384, "model_type": "tiny"},
        shared=shared_layers(layers_of(inspected), "ghcr.io/acme/llm:v0", other),
        attached=[Claim(kind="signature", predicate_type=COSIGN_SIGN, format="bundle", signer="key sha256:ab")],
        verdicts=[ClaimedVerdict(verdict="clean", rules="modelcar 1", scanned_at="2026-11-20T12:00:00Z", findings=0)],
    )


def hostile_view(text: str) -> ImageView:
    weights = layer(text, 5, text)
    index = [indexed(weights, (text, [tensor(text, dtype=text)]))]
    annotations = {
        text: text,
        **{f"org.opencontainers.image.{key}": text for key in ("title", "description", "licenses")},
    }
    annotations |= {f"dev.modelcar.model.{key}": text for key in ("architecture", "parameters", "precision")}
    inspected = image(weights, layer("other", 5, None), index=index, annotations=annotations, runtime={text: [text]})
    claim = Claim(kind="attestation", predicate_type=text, format="legacy", signer=text)
    return view(
        name=text,
        inspected=inspected,
        config={text: text, "deep": {text: [text]}, "hidden_size": text},
        problem=text,
        attached=[claim],
        verdicts=[ClaimedVerdict(verdict="clean", rules=text, scanned_at=text, findings=0)],
        shared=shared_layers(layers_of(inspected), text, inspected),
    )
