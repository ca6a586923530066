"""Keys in files, in the environment and in services."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from modelcar.errors import InvalidDocument, ModelcarError, UsageError, WorldError
from modelcar.signing.keys import load
from modelcar.signing.keys.generate import check_absent, write_new
from modelcar.signing.keys.key import PrivateKey
from modelcar.signing.keys.load import load_public_key, load_signing_key
from modelcar.signing.keys.pem import Password, cosign_pem, parse_private, parse_public
from tests.support.signing import KEY, OTHER_KEY

PASSWORD = b"pw"


def no_password() -> bytes:
    pytest.fail("asked for a password")


def password() -> bytes:
    return PASSWORD


@pytest.fixture(scope="module")
def cosign_key() -> bytes:
    return cosign_pem(KEY, PASSWORD)


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


@pytest.mark.slow
def test_cosigns_own_form(cosign_key: bytes) -> None:
    assert cosign_key.startswith(b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    assert max(map(len, cosign_key.splitlines())) <= 64
    assert parse_private(cosign_key, "k", password).public == KEY.public
    older = cosign_key.replace(b"SIGSTORE", b"COSIGN")
    assert parse_private(older, "k", password).public == KEY.public
    with pytest.raises(UsageError, match=r"^k: the password is wrong"):
        parse_private(cosign_key, "k", lambda: b"other")


@pytest.mark.slow
def test_openssl_reads_what_we_write_and_we_what_it_writes() -> None:
    for secret in (b"", b"secret"):
        mine = KEY.pkcs8_pem(secret)
        assert openssl("pkey", "-passin", f"pass:{secret.decode()}", "-pubout", data=mine) == KEY.public.pem
    theirs = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes-256-cbc",
                     "-pass", "pass:pw")  # fmt: skip
    public = openssl("pkey", "-passin", "pass:pw", "-pubout", data=theirs)
    assert parse_private(theirs, "k", password).public == parse_public(public, "k")
    with pytest.raises(UsageError, match="the password is wrong"):
        parse_private(theirs, "k", lambda: b"other")


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
def test_the_traditional_forms(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert parse_private(pem, "k", no_password).public == PrivateKey(key).public


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        (b"", "holds 0 PEM blocks"),
        (b"not a key\n", "holds 0 PEM blocks"),
        (KEY.public.pem, "is a public key; signing needs the private one"),
        (KEY.pkcs8_pem(b"") * 2, "holds 2 PEM blocks"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a CERTIFICATE"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is not a private key in PKCS#8"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAAA\n-----END PRIVATE KEY-----\n", "is damaged"),
        (
            b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
            "JSON",
        ),
    ],
)
def test_what_is_no_private_key(pem: bytes, says: str) -> None:
    with pytest.raises(ModelcarError, match=says) as raised:
        parse_private(pem, "/some/where", password)
    assert "/some/where" in str(raised.value)


def test_what_is_no_public_key() -> None:
    with pytest.raises(UsageError, match="holds a PRIVATE KEY, not a public key"):
        parse_public(KEY.pkcs8_pem(b""), "k")
    with pytest.raises(InvalidDocument, match="is not a public key"):
        parse_public(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "k")


@pytest.mark.slow
def test_from_a_file(tmp_path: Path, cosign_key: bytes) -> None:
    private, public = tmp_path / "k.key", tmp_path / "k.pub"
    private.write_bytes(cosign_key)
    public.write_bytes(KEY.public.pem)
    assert load_signing_key(str(private), password).public == KEY.public
    assert load_public_key(str(public), no_password) == KEY.public
    assert load_public_key(str(private), password) == KEY.public
    with pytest.raises(UsageError, match="No such file"):
        load_public_key(str(tmp_path / "absent"), no_password)
    (tmp_path / "large").write_bytes(b"x" * (65 << 10))
    with pytest.raises(UsageError, match="more than 64 KiB"):
        load_signing_key(str(tmp_path / "large"), no_password)


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY.pkcs8_pem(b"").decode())
    assert load_signing_key("env://MY_KEY", no_password).public == KEY.public
    assert load_public_key("env://MY_KEY", no_password) == KEY.public
    with pytest.raises(UsageError, match="no variable 'ABSENT'"):
        load_public_key("env://ABSENT", no_password)


class Service:
    """A key management service of a test: what a plug-in for `testkms://` returns."""

    signing_key = KEY

    def __init__(self, reference: str) -> None:
        if reference.endswith("/broken"):
            raise ConnectionError("the service is down")
        self.reference = reference

    def public_key(self) -> bytes:
        return KEY.public.pem

    def sign(self, message: bytes) -> bytes:
        return self.signing_key.sign(message)


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="testkms", value=f"{__name__}:Service", group=load.PLUGINS)
    monkeypatch.setattr(load, "entry_points", lambda group: EntryPoints([point]) if group == load.PLUGINS else ())
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Service.__module__])


@pytest.mark.parametrize("read", [load_signing_key, load_public_key])
@pytest.mark.parametrize("before", ["", "env://"])
@pytest.mark.parametrize("after", ["", "\n"])
def test_a_key_in_the_place_of_its_name_is_not_repeated(
    read: Callable[[str, Password], object], before: str, after: str, cosign_key: bytes
) -> None:
    pem = cosign_key.decode()
    for given in (pem, pem.replace("\n", " "), pem.splitlines()[1] + "="):
        if not before and "KEY" not in given:
            continue  # a file may have any name
        with pytest.raises(UsageError) as raised:
            read(before + given + after, no_password)
        said = f"{raised.value} {raised.value.hint} {raised.value.reasons}"
        assert not any(line in said for line in pem.splitlines())


def test_bytes_that_are_not_utf8_are_passed_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", os.fsdecode(b"caf\xe9"))
    with pytest.raises(UsageError, match="0 PEM blocks"):
        load_signing_key("env://MY_KEY", no_password)


@pytest.mark.usefixtures("plug_in")
def test_from_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_public_key("testkms://eu/key-1", no_password) == KEY.public
    key = load_signing_key("testkms://eu/key-1", no_password)
    KEY.public.verify(key.sign(b"message"), b"message")
    monkeypatch.setattr(Service, "signing_key", OTHER_KEY)
    with pytest.raises(WorldError, match="its own public key refuses"):
        key.sign(b"message")


@pytest.mark.usefixtures("plug_in")
def test_a_service_that_fails_and_one_that_nobody_knows() -> None:
    with pytest.raises(WorldError, match="testkms://broken/broken: ConnectionError: the service is down"):
        load_signing_key("testkms://broken/broken", no_password)
    with pytest.raises(UsageError, match="nothing installed knows keys of the kind awskms://") as raised:
        load_signing_key("awskms:///alias/key", no_password)
    assert "env://, testkms://" in str(raised.value.hint)


def test_new_files_are_private_and_replace_nothing(tmp_path: Path) -> None:
    path = tmp_path / "k.key"
    old = os.umask(0)
    try:
        write_new(path, b"one", mode=0o600)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="never overwritten"):
        write_new(path, b"two", mode=0o600)
    with pytest.raises(UsageError, match="never overwritten"):
        check_absent(path)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "k.key"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="never overwritten"):
        write_new(link, b"secret", mode=0o600)
    assert not (tmp_path / "elsewhere").exists()
