from __future__ import annotations

from modelcar.mounts.erofs.crc32c import crc32c


def test_agrees_with_the_check_value_of_the_standard() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


def test_can_be_continued() -> None:
    assert crc32c(b"789", crc32c(b"123456")) == crc32c(b"123456789")
