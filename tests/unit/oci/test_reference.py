"""References as Docker reads them (the cases of distribution/reference's own tests, and hostile ones)."""

from __future__ import annotations

import pytest

from modelcar.errors import InvalidReference
from modelcar.oci import Digest, Reference
from modelcar.oci.reference import is_repository, is_tag

SHA = f"sha256:{'0123456789abcdef' * 4}"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
        ("org/model", "docker.io/org/model:latest"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("localhost/model", "localhost/model:latest"),
        ("localhost:5000/model", "localhost:5000/model:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("LOCALHOST/model", "LOCALHOST/model:latest"),
        ("host:5000/a/b/c:v1", "host:5000/a/b/c:v1"),
        ("ghcr.io/org/model", "ghcr.io/org/model:latest"),
        ("127.0.0.1/model", "127.0.0.1/model:latest"),
        ("[::1]/model", "[::1]/model:latest"),
        ("[2001:DB8::1]:5000/model:x", "[2001:DB8::1]:5000/model:x"),
        (f"ubuntu@{SHA}", f"docker.io/library/ubuntu@{SHA}"),
        (f"ubuntu:v1@{SHA}", f"docker.io/library/ubuntu:v1@{SHA}"),
        (f"a.b:1/c:v@{SHA}", f"a.b:1/c:v@{SHA}"),
        ("xn--n3h.com/a", "xn--n3h.com/a:latest"),
        ("x.io/a__b/c---d.e_f", "x.io/a__b/c---d.e_f:latest"),
        ("x.io/a:" + "t" * 128, "x.io/a:" + "t" * 128),
        ("a" * 63, f"docker.io/library/{'a' * 63}:latest"),
    ],
)
def test_what_people_type(typed: str, meant: str) -> None:
    reference = Reference.parse(typed)
    assert str(reference) == meant
    assert Reference.parse(meant) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        ":",
        "/",
        "a/",
        "/a",
        "a//b",
        "ubuntu:",
        "ubuntu@",
        "ubuntu:-x",
        "ubuntu:.x",
        "ubuntu:" + "t" * 129,
        "ubuntu:a:b",
        "Ubuntu",
        "org/Model",
        "x.io/a/",
        "x.io/-a",
        "x.io/a___b",
        "x.io/a..b",
        "x.io/a b",
        "x.io/a\n",
        "x.io/ä",
        "x.io/a:ä",
        "https://x.io/a",
        "http:/x/y",
        "-x.io/a",
        "x-.io/a",
        "x..io/a",
        "a_b.io/c",
        "x.io:/a",
        "x.io:0/a",
        "x.io:65536/a",
        "x.io:0655359/a",
        "x.io:٣/a",
        "x.io:1:2/a",
        "[::1]",
        "[]/a",
        "[::1/a",
        "[::1]5000/a",
        "[::1]:/a",
        "[::ffff:1.2.3.4]/a",
        "[fe80::1%eth0]/a",
        "[fe80::1%\r\nX-Header: y]/a",
        "[1:2]/a",
        "ab" * 32,
        f"ubuntu@{SHA}x",
        f"ubuntu@{SHA}@{SHA}",
        f"ubuntu@{SHA.upper()}",
        "ubuntu@md5:" + "0" * 32,
        "x.io/" + "a/" * 130 + "a",
    ],
)
def test_what_nobody_means(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert "\n" not in str(caught.value)
    assert "\r" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["user:secret@host/a", "user:secret@host:5000/a:v1", "https://user:secret@host/a", "secret@host/a", ":secret@h/a"],
)
def test_passwords_are_not_shown(text: str) -> None:
    with pytest.raises(InvalidReference, match=r"^an image reference takes no credentials$") as caught:
        Reference.parse(text)
    assert caught.value.hint == "log in with `docker login`"


@pytest.mark.parametrize(
    ("registry", "repository"), [("host", "a"), ("docker.io", "ubuntu"), ("index.docker.io", "a/b")]
)
def test_what_would_be_read_back_as_something_else_cannot_be_made(registry: str, repository: str) -> None:
    with pytest.raises(InvalidReference):
        Reference(registry=registry, repository=repository, tag="v1")


def test_neither_tag_nor_digest() -> None:
    with pytest.raises(InvalidReference, match="neither tag nor digest"):
        Reference(registry="x.io", repository="a")


def test_pinning_and_tagging() -> None:
    digest = Digest.parse(SHA)
    reference = Reference.parse("x.io/a:v1")
    pinned = reference.with_digest(digest)
    assert str(pinned) == f"x.io/a:v1@{SHA}"
    assert pinned.target == SHA
    assert str(pinned.with_tag("v2")) == "x.io/a:v2"
    assert reference.target == "v1"
    assert reference.name == "x.io/a"


@pytest.mark.parametrize(
    ("text", "host", "loopback"),
    [
        ("localhost/a", "localhost", True),
        ("a.localhost:80/a", "a.localhost", True),
        ("127.9.9.9:5000/a", "127.9.9.9", True),
        ("[::1]:5000/a", "::1", True),
        ("[::2]/a", "::2", False),
        ("10.0.0.1/a", "10.0.0.1", False),
        ("localhost.example.org/a", "localhost.example.org", False),
        ("127.0.0.1.example.org/a", "127.0.0.1.example.org", False),
        ("ubuntu", "docker.io", False),
    ],
)
def test_which_registry_is_this_machine(text: str, host: str, loopback: bool) -> None:
    reference = Reference.parse(text)
    assert (reference.host, reference.is_loopback) == (host, loopback)


def test_names_of_the_distribution_specification() -> None:
    assert is_tag("v1.0_x-y")
    assert not is_tag("v1\n")
    assert is_repository("a/b-c")
    assert not is_repository("a" * 256)
