"""Who may ask, by password and token; what they showed goes no further."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import bcrypt
import pytest

from modelcar.errors import StorageError, UsageError
from modelcar.renewed import Renewed
from modelcar.serving import authentication
from modelcar.serving.authentication import Authenticator
from modelcar.serving.messages import Request, Response
from modelcar.serving.settings import Authentication
from tests.support.raw_http import ask as raw
from tests.support.raw_http import running

TOKEN = "t0ken-of-the-node-agent"


@pytest.fixture(scope="module")
def hashed() -> str:
    return bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()


def secret(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


@pytest.fixture
def settings(tmp_path: Path, hashed: str) -> Authentication:
    return Authentication(
        htpasswd_file=secret(tmp_path / "users", f"# people\nalice:{hashed}\n"),
        tokens_file=secret(tmp_path / "tokens", f"agent:{TOKEN}\n\n"),
    )


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that change count at once, not within a second."""
    monkeypatch.setattr(Renewed.__init__, "__kwdefaults__", {"look_seconds": 0})


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def show(request: Request) -> Response:
    return Response(status=200, headers=dict(request.headers), body=(request.subject or "").encode())


def ask(authenticator: Authenticator, header: str | None = None, path: str = "/v2/") -> Response:
    headers = {"accept": "a/b"} | ({"authorization": header} if header is not None else {})
    return asyncio.run(_ask(authenticator, headers, path))


async def _ask(authenticator: Authenticator, headers: dict[str, str], path: str) -> Response:
    return await authenticator.guard(show)(Request(method="GET", path=path, headers=headers))


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        (basic("alice", "open sesame"), b"alice"),
        (f"Bearer {TOKEN}", b"agent"),
        (f"bearer {TOKEN}", b"agent"),
        (basic("agent", TOKEN), b"agent"),
    ],
)
def test_those_who_may(settings: Authentication, header: str, subject: bytes) -> None:
    authenticator = Authenticator(settings)
    for _ in range(2):  # the second answer is remembered
        response = ask(authenticator, header)
        assert (response.status, response.body) == (200, subject)
        assert response.headers == {"accept": "a/b"}, "the credential went on to the handler"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(b"alice").decode(),
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("alice", "x" * 100),
        basic("bob", "open sesame"),
        basic("bob", TOKEN),
        basic("alice", TOKEN),
        "Bearer",
        "Bearer wrong",
        f"Digest {TOKEN}",
        TOKEN,
    ],
)
def test_those_who_may_not(settings: Authentication, header: str | None) -> None:
    authenticator = Authenticator(settings)
    for _ in range(2):
        response = ask(authenticator, header)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Basic realm="modelcar"'


def test_what_everyone_may_ask_for(settings: Authentication) -> None:
    assert ask(Authenticator(settings), path="/healthz").status == 200
    assert ask(Authenticator(settings), path="/healthz/").status == 401


def test_nothing_required_nothing_taken() -> None:
    response = ask(Authenticator(Authentication()), "Bearer for-the-upstream")
    assert response.headers["authorization"] == "Bearer for-the-upstream"


def test_a_password_is_worked_out_once(settings: Authentication, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = Authenticator(settings)
    checked: list[bytes] = []
    real = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        checked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    for password in ("open sesame", "open sesame", "wrong", "wrong"):
        ask(authenticator, basic("alice", password))
    assert checked == [b"open sesame", b"wrong"]


def test_more_guesses_than_can_be_checked_are_turned_away(
    settings: Authentication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "_WAITING", 3)

    async def main() -> list[int]:
        authenticator = Authenticator(settings)
        requests = [_ask(authenticator, {"authorization": basic("alice", f"guess {n}")}, "/v2/") for n in range(10)]
        right = _ask(authenticator, {"authorization": basic("alice", "open sesame")}, "/v2/")
        answers = [response.status for response in await asyncio.gather(*requests)]
        assert (await right).status == 200, "and who knows it comes in later"
        return answers

    assert asyncio.run(main()) == [401] * 10


def test_who_may_ask_changes_with_the_files(
    settings: Authentication, hashed: str, at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    authenticator = Authenticator(settings)
    assert ask(authenticator, basic("alice", "open sesame")).status == 200
    assert settings.htpasswd_file is not None
    secret(settings.htpasswd_file, f"bob:{hashed}\n")
    assert ask(authenticator, basic("alice", "open sesame")).status == 401
    assert ask(authenticator, basic("bob", "open sesame")).status == 200
    secret(settings.htpasswd_file, "bob:open sesame\n")
    assert ask(authenticator, basic("bob", "open sesame")).status == 200
    assert "not hashed by bcrypt" in caplog.text
    assert "sesame" not in caplog.text
    settings.htpasswd_file.unlink()
    assert ask(authenticator, basic("bob", "open sesame")).status == 200


def test_other_settings_count_at_once_and_bad_ones_do_not(settings: Authentication, tmp_path: Path) -> None:
    authenticator = Authenticator(Authentication())
    guarded = authenticator.guard(show)

    def status(header: str) -> int:
        request = Request(method="GET", path="/v2/", headers={"authorization": header})
        return asyncio.run(_status(guarded, request))

    assert status("Bearer for-the-upstream") == 200
    authenticator.adopt(settings)
    assert (status("Bearer for-the-upstream"), status(f"Bearer {TOKEN}")) == (401, 200)
    with pytest.raises(StorageError):
        authenticator.adopt(Authentication(tokens_file=tmp_path / "none"))
    assert status(f"Bearer {TOKEN}") == 200
    authenticator.adopt(Authentication(tokens_file=secret(tmp_path / "others", "other:0123456789abcdef")))
    assert (status(f"Bearer {TOKEN}"), status("Bearer 0123456789abcdef")) == (401, 200)


async def _status(handler: authentication.Handler, request: Request) -> int:
    return (await handler(request)).status


def test_a_password_that_is_taken_away_while_it_is_checked_is_not_remembered(
    settings: Authentication, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = Authenticator(settings)
    real = bcrypt.checkpw

    def slowly(password: bytes, hashed: bytes) -> bool:
        assert settings.htpasswd_file is not None
        settings.htpasswd_file.write_text("")
        assert ask(authenticator, f"Bearer {TOKEN}").status == 200, "which reads the file again"
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", slowly)
    ask(authenticator, basic("alice", "open sesame"))
    assert ask(authenticator, basic("alice", "open sesame")).status == 401


def test_many_wrong_tokens_make_nobody_s_password_be_worked_out_again(
    settings: Authentication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "_REMEMBERED", 3)
    authenticator = Authenticator(settings)
    assert ask(authenticator, basic("alice", "open sesame")).status == 200
    for number in range(5):
        assert ask(authenticator, f"Bearer guess-{number}").status == 401
        assert ask(authenticator, basic(f"guess-{number}", "x")).status == 401
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: pytest.fail("it was known"))
    assert ask(authenticator, basic("alice", "open sesame")).status == 200


@pytest.mark.slow
@pytest.mark.parametrize("header", [b"Bearer \xff", b"Basic \xff", b"\xff", b"Bearer \xc3\xa4" * 9])
def test_bytes_that_are_no_token_reach_nobody(settings: Authentication, header: bytes) -> None:
    async def main() -> bytes:
        async with running(Authenticator(settings).guard(show)) as (_, port):
            return await raw(
                port, b"GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\nAuthorization: " + header + b"\r\n\r\n"
            )

    assert asyncio.run(main()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("alice:secret", "1: the password of alice is not hashed by bcrypt"),
        ("\nalice:{SHA}abc", "2: the password of alice is not hashed"),
        ("alice:$2b$31$" + "a" * 53, "1: the password of alice is not hashed"),
        ("secret", "1 is not a name"),
        (f"alice:$2b$10${'a' * 53}\nalice:$2b$10${'b' * 53}", "2: alice has a password already"),
    ],
)
def test_files_that_are_no_such_files(tmp_path: Path, text: str, problem: str) -> None:
    path = secret(tmp_path / "file", text)
    with pytest.raises(UsageError) as caught:
        Authenticator(Authentication(htpasswd_file=path))
    assert str(caught.value).startswith(f"{path}:{problem}")
    assert "secret" not in str(caught.value)


def test_files_that_others_may_read(tmp_path: Path) -> None:
    path = secret(tmp_path / "file", f"a:{TOKEN}")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="can be read by everyone"):
        Authenticator(Authentication(tokens_file=path))
    with pytest.raises(StorageError, match=r"cannot read .*: No such file"):
        Authenticator(Authentication(tokens_file=tmp_path / "none"))
