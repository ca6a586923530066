"""Image globs. The table has the facts of policy-controller's documentation and tests, put in our own words."""

from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from modelcar.oci import Digest, Reference
from modelcar.signing.policy.globs import Glob, ImageGlob, image_names

DIGEST = Digest.of(b"x")


def matches(glob: str, image: str) -> bool:
    return ImageGlob(glob).matches(image_names(Reference.parse(image), DIGEST))


@pytest.mark.parametrize(
    ("image", "globs"),
    [
        (
            "ubuntu",
            (
                "index.docker.io/library/ubuntu:latest index.docker.io/library/ubuntu:* index.docker.io/library/* "
                "index.docker.io/library/*:latest index.docker.io/*/* index.docker.io/** index.docker.** inde** ** * "
                "ubuntu ubuntu* ubuntu** docker.io/library/ubuntu:latest docker.io/ubuntu"
            ),
        ),
        (
            "someone/app",
            (
                "index.docker.io/someone/app:latest index.docker.io/someone/app:* index.docker.io/someone/* "
                "index.docker.io/someone/*:latest index.docker.io/*/* index.docker.io/** ** */* "
                "someone/app someone/app* someone/app**"
            ),
        ),
        (
            "ghcr.io/acme/llm",
            "ghcr.io/*/* ghcr.io/** ghcr.io/acme/llm:latest ghcr.io/acme/llm@sha256:* ghcr.io/acme/llm",
        ),
        ("ghcr.io/llm", "ghcr.io/** ghc** */** ghcr.io/llm* ghcr.io/llm** **llm** **/llm@**"),
        ("ghcr.io/llm:v1", "ghcr.io/llm:v1 ghcr.io/llm:v* ghcr.io/llm@**"),
        (f"ghcr.io/llm@{DIGEST}", f"ghcr.io/llm@{DIGEST} ghcr.io/llm@sha256:* ghcr.io/*"),
        ("localhost:5000/llm:v1", "localhost:5000/* localhost:*/llm:v1 **:5000/**"),
    ],
)
def test_matching(image: str, globs: str) -> None:
    assert [glob for glob in globs.split() if not matches(glob, image)] == []


@pytest.mark.parametrize(
    ("image", "globs"),
    [
        ("ubuntu", "*/*/*/* ghcr.io/** ubunt library Ubuntu docker.io/ubunt"),
        ("someone/app", "* index.docker.io/* someone app index.docker.io/library/**"),
        ("ghcr.io/llm", "ghcr.io/*/* * ghcr.io/ll hcr.io/llm ghcrxio/llm ghcr.io/llm/**"),
        ("ghcr.io/llm:v1", "ghcr.io/llm ghcr.io/llm: ghcr.io/llm:v ghcr.io/llm:latest ghcr.io/llm:v1:*"),
        ("ghcr.io/acme/llm", "ghcr.io/acme* ghcr.io/* ghcr.io/acme/*/*"),
        ("prefix-ghcr.io/llm", "ghcr.io/llm**"),
        ("ghcr.io/llm-suffix", "ghcr.io/llm ghcr.io/llm:* ghcr.io/llm@**"),
        ("ghcrxio.de/llm", "ghcr.io**"),
    ],
)
def test_not_matching(image: str, globs: str) -> None:
    assert [glob for glob in globs.split() if matches(glob, image)] == []


def test_beside_a_digest_anything_can_be_written_as_a_tag() -> None:
    assert matches("ghcr.io/llm:trusted", "ghcr.io/llm:trusted")
    assert not matches("ghcr.io/llm:trusted", f"ghcr.io/llm:trusted@{DIGEST}")
    assert matches("ghcr.io/llm**", f"ghcr.io/llm:trusted@{DIGEST}")


def test_the_digest_that_counts_is_the_one_that_was_verified() -> None:
    other = Digest.of(b"other")
    names = image_names(Reference.parse(f"ghcr.io/llm@{other}"), DIGEST)
    assert ImageGlob(f"ghcr.io/llm@{DIGEST}").matches(names)
    assert not ImageGlob(f"ghcr.io/llm@{other}").matches(names)


def test_a_folder_on_docker_hub_cannot_pose_as_a_registry() -> None:
    assert not matches("ghcr.io/**", "docker.io/ghcr.io/evil")
    assert not matches("localhost/**", "docker.io/localhost/evil")
    assert matches("index.docker.io/ghcr.io/**", "docker.io/ghcr.io/evil")


def test_all_spellings_of_docker_hub_are_one() -> None:
    for image in ("ubuntu", "library/ubuntu", "docker.io/ubuntu", "index.docker.io/library/ubuntu:latest"):
        for glob in ("ubuntu", "index.docker.io/library/*", "docker.io/library/ubuntu**", "docker.io/ubuntu**"):
            assert matches(glob, image), (glob, image)


@pytest.mark.parametrize(
    "glob",
    ["", ".+", "[a-z]*", "a b", "a\n", "ghcr.io/\u00e9", "ghcr\u2024io/x", "(a|b)", "a?", "x\\", "a" * 1025, "{a,b}"],
)
def test_what_is_not_a_glob(glob: str) -> None:
    with pytest.raises(UsageError, match="is not a glob"):
        Glob(glob)


def test_short_forms_are_for_images_only() -> None:
    assert Glob("*/*").matches(("org/name",))
    assert not ImageGlob("*/*").matches(("org/name",))


def test_many_wildcards_end_soon() -> None:
    """Tried one after the other, these take longer than the universe has been there."""
    name = "a" * 600
    for glob in ("**a" * 30 + "**b", "*a" * 30 + "*b", "**a*a" * 20 + "**b", "**a*" * 30 + "b**b"):
        assert not Glob(glob).matches((name,))
    assert Glob("**a" * 30 + "**").matches((name,))
