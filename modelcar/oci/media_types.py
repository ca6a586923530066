"""Media types that registries, engines and ModelPack readers know."""

from __future__ import annotations

from typing import Final

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TAR: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_TAR_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_TAR_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
EMPTY: Final = "application/vnd.oci.empty.v1+json"

DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MODELPACK_MANIFEST: Final = "application/vnd.cncf.model.manifest.v1+json"  # an artifactType
MODELPACK_CONFIG: Final = "application/vnd.cncf.model.config.v1+json"

INDEXES: Final = frozenset({INDEX, DOCKER_MANIFEST_LIST})
MANIFESTS: Final = frozenset({MANIFEST, DOCKER_MANIFEST})
IMAGE_CONFIGS: Final = frozenset({CONFIG, DOCKER_CONFIG})
UNCOMPRESSED_LAYERS: Final = frozenset({LAYER_TAR, DOCKER_LAYER})
