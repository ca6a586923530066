"""Images in a registry that does what a test tells it to, and a resolver that is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from modelcar.admission.admit import Caller
from modelcar.admission.asked import Asked, Model
from modelcar.admission.facts import ImageFact
from modelcar.admission.resolve import Images, PullSecrets
from modelcar.admission.settings import AdmissionSettings, Link, TrustSettings
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference, media_types
from modelcar.registry import ClientSettings
from tests.support.logins import without_logins
from tests.support.scripted_registry import ScriptedRegistry
from tests.support.tars import make_tar

AMD64 = Platform(os="linux", architecture="amd64")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nvllm:x:2000:2001::/home/vllm:/bin/sh\n"


@pytest.fixture(autouse=True)
def _no_logins(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody's own logins or proxies take part in a test."""
    without_logins(monkeypatch, tmp_path_factory.mktemp("home"))


class Stocked(ScriptedRegistry):
    """A registry that images can be put into."""

    def put(
        self,
        name: str = "org/server:v1",
        layers: Sequence[bytes | Mapping[str, bytes]] = ({"etc/passwd": PASSWD},),
        *,
        annotations: Sequence[Mapping[str, str]] = (),
        **runtime: Any,
    ) -> tuple[str, Digest]:
        """An image of tars, or bytes as they are; `runtime` is its config. Returns its reference and digest."""
        return self._tag(name, self.image(layers, annotations=annotations, **runtime))

    def put_index(self, name: str, users: Mapping[str, str], **runtime: Any) -> tuple[str, Digest]:
        """An index of images by `os/architecture`, with a USER each."""
        entries = []
        for text, user in users.items():
            platform = Platform.parse(text)
            manifest = self.image(({"etc/passwd": PASSWD},), platform=platform, User=user, **runtime)
            entries.append(Descriptor.of(manifest.media_type, manifest.content, platform=platform))
        return self._tag(name, Index(manifests=tuple(entries)))

    def image(
        self,
        layers: Sequence[bytes | Mapping[str, bytes]],
        *,
        platform: Platform = AMD64,
        annotations: Sequence[Mapping[str, str]] = (),
        **runtime: Any,
    ) -> Manifest:
        blobs = [layer if isinstance(layer, bytes) else make_tar(layer) for layer in layers]
        notes = [*annotations, *({} for _ in blobs[len(annotations) :])]
        config = ImageConfig(
            os=platform.os,
            architecture=platform.architecture,
            diff_ids=tuple(Digest.of(blob) for blob in blobs),
            runtime=runtime,
        )
        manifest = Manifest(
            config=config.descriptor,
            layers=tuple(
                Descriptor.of(media_types.LAYER_TAR, b, annotations=n) for b, n in zip(blobs, notes, strict=True)
            ),
        )
        for blob in (*blobs, config.content):
            self.blobs[str(Digest.of(blob))] = blob
        self.manifests["", str(manifest.digest)] = (manifest.media_type, manifest.content)
        return manifest

    def _tag(self, name: str, document: Manifest | Index) -> tuple[str, Digest]:
        repository, _, tag = name.partition(":")
        for (where, digest), known in list(self.manifests.items()):
            if not where:
                self.manifests[repository, digest] = known
                del self.manifests[where, digest]
        for target in (tag, str(document.digest)):
            self.manifests[repository, target] = (document.media_type, document.content)
        return f"{self.name}/{name}", document.digest


@pytest.fixture
def registry() -> Iterator[Stocked]:
    server = Stocked()
    yield server
    server.close()


class Asker:
    """A resolver, asked about one image at a time as a pod that runs it asks."""

    def __init__(self, images: Images, settings: AdmissionSettings) -> None:
        self.images = images
        self._settings = settings

    def server(self, image: str, *, caller: Caller | None = None, **spec: Any) -> ImageFact:
        """A container that sees a model runs it; `spec` is the rest of the pod's."""
        return self._ask(pod(image, **spec), Asked(models=(model("other/model"),), images=(image,)), caller)

    def model(self, image: str, *, caller: Caller | None = None, **spec: Any) -> ImageFact:
        """It is a model that the pod wants."""
        return self._ask(pod("server", **spec), Asked(models=(model(image),), images=(image,)), caller)

    def _ask(self, pod: dict[str, Any], asked: Asked, caller: Caller | None) -> ImageFact:
        facts = self.images.facts(pod, asked, caller or Caller(namespace="ml"), self._settings)
        assert list(facts) == list(asked.images)
        return facts[asked.images[0]]


@pytest.fixture
def asking(registry: Stocked) -> Iterator[Callable[..., Asker]]:
    """Makes resolvers: of `secrets`, and settings for trust."""
    made: list[Images] = []

    def make(
        secrets: PullSecrets | None = None,
        client: ClientSettings | None = None,
        may_ask: Callable[[Reference], bool] = lambda _: True,
        **trust: Any,
    ) -> Asker:
        settings = TrustSettings(**{"seconds": 20, **trust})
        client = client or ClientSettings(timeout=5, attempts=1)
        images = Images(settings, client=client, secrets=secrets, may_ask=may_ask)
        made.append(images)
        images.open()
        return Asker(images, AdmissionSettings(trust=settings))

    yield make
    for images in made:
        images.close()


@pytest.fixture
def ask(asking: Callable[..., Asker]) -> Asker:
    return asking()


def model(image: str, name: str = "model") -> Model:
    return Model(
        name=name, image=image, written=image, path="/mnt/models", mode=None, link=Link.FARM, containers=("main",)
    )


def pod(image: str, *, security: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod with one container, `main`; `security` is its security context."""
    container: dict[str, Any] = {"name": "main", "image": image}
    if security is not None:
        container["securityContext"] = dict(security)
    return {"metadata": {"labels": {"app": "llm"}}, "spec": {**spec, "containers": [container]}}
