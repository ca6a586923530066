"""USER and passwd, as kubelets and runtimes read them."""

from __future__ import annotations

import pytest

from modelcar.admission.facts import User
from modelcar.admission.resolve.passwd import Passwd
from modelcar.errors import InvalidContent

PASSWD = Passwd.parse(
    b"root:x:0:0:root:/root:/bin/sh\n"
    b"\n"
    b"# a comment\n"
    b"broken:x\n"
    b"words:x:one:two::/:/bin/sh\n"
    b"huge:x:99999999999:1::/:/bin/sh\n"
    b"  vllm:x:2000:2001::/home/vllm:/bin/sh  \n"
    b"vllm:x:3000:3001::/home/vllm:/bin/sh\n"
    b"other:x:2000:4000::/:/bin/sh\n"
    b"bare:x:5000:5001\n"
)


@pytest.mark.parametrize(
    ("user", "uid", "gid"),
    [
        ("", 0, 0),
        ("root", 0, 0),
        ("vllm", 2000, 2001),
        ("vllm:other", 2000, 2001),
        ("2000", 2000, 2001),
        ("2000:7", 2000, 2001),
        ("other", 2000, 4000),
        ("1000", 1000, 0),
        ("1000:1000", 1000, 0),
        ("bare", 5000, 5001),
        (":5", 0, 0),
    ],
)
def test_a_user_is_found_and_its_group_does_not_count(user: str, uid: int, gid: int) -> None:
    assert PASSWD.find(user) == User(uid=uid, gid=gid)


@pytest.mark.parametrize("user", ["nobody", "words", "huge", "99999999999", "-1", "١٢"])
def test_nobody_is_not_taken_for_somebody(user: str) -> None:
    with pytest.raises(InvalidContent, match="does not know"):
        PASSWD.find(user)


def test_without_users_numbers_are_in_group_0() -> None:
    assert Passwd.parse(b"").find("1000:1000") == User(uid=1000, gid=0)


def test_what_is_no_text_is_read_as_far_as_it_goes() -> None:
    assert Passwd.parse(b"\xff\xfe:x:1:2::\nvllm:x:3:4::").find("vllm") == User(uid=3, gid=4)
