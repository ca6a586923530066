"""Publishing evidence beside a manifest, without ever losing what lies there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from modelcar.errors import RegistryError
from modelcar.oci import Descriptor, Digest, Manifest, media_types
from modelcar.signing.bundle import BUNDLE
from modelcar.signing.places import Place
from modelcar.signing.simplesigning import SIMPLE_SIGNING, signature_image, signature_tag
from modelcar.signing.verified import SIGNATURE, Bundle, SimpleSignature

__all__ = ["attach_bundle", "attach_layers", "attach_signature"]

_ATTEMPTS: Final = 5
_CREATED: Final = "org.opencontainers.image.created"
_CONTENT: Final = "dev.sigstore.bundle.content"
_PREDICATE_TYPE: Final = "dev.sigstore.bundle.predicateType"


def attach_bundle(
    place: Place, subject: Descriptor, bundle: Bundle, predicate_type: str, *, created: datetime
) -> Digest:
    """Publish `bundle` as a referrer of `subject`, as cosign does; returns the referrer's digest.

    Args:
        created: for people, and for tools that show the newest first; nothing trusts it.
    """
    place.put_blob(media_types.EMPTY, b"{}")
    layer = place.put_blob(BUNDLE, bundle.raw)
    manifest = Manifest(
        artifact_type=BUNDLE,
        config=Descriptor.of(media_types.EMPTY, b"{}", artifact_type=BUNDLE),
        layers=(layer,),
        subject=subject.plain(),
        annotations={
            _CREATED: created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            _CONTENT: "dsse-envelope",
            _PREDICATE_TYPE: predicate_type,
        },
    )
    place.attach(manifest)
    return manifest.digest


def attach_signature(place: Place, subject: Digest, signature: SimpleSignature) -> Digest:
    """Add `signature` to the `.sig` image of `subject`; returns that image's digest."""
    layer = place.put_blob(SIMPLE_SIGNING, signature.payload).annotated(signature.annotations)
    return attach_layers(place, subject, signature_tag(subject), (layer,))


def attach_layers(place: Place, subject: Digest, tag: str, layers: tuple[Descriptor, ...]) -> Digest:
    """Add layers, whose blobs are at `place`, to the image under `tag`; all that it has stay.

    Raises:
        RegistryError: others kept writing at the same time.
    """
    for _ in range(_ATTEMPTS):
        known = place.tagged(tag)
        present = known.layers if known is not None else ()
        missing = tuple(new for new in layers if not any(_same(new, old) for old in present))
        if known is not None and not missing:
            return known.digest
        image, config = signature_image((*present, *missing))
        place.put_blob(media_types.CONFIG, config)
        if place.tag(tag, subject, image, replaces=known.digest if known is not None else None):
            return image.digest
    raise RegistryError(
        f"writing {tag}: others keep overwriting it", hint="try again when nobody else signs this image"
    )


def _same(new: Descriptor, old: Descriptor) -> bool:
    return new.digest == old.digest and new.annotations.get(SIGNATURE) == old.annotations.get(SIGNATURE)
