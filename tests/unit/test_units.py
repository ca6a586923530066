"""Sizes and rates as people write them."""

from __future__ import annotations

import pytest

from modelcar.errors import UsageError
from modelcar.units import parse_rate, parse_size, read_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GB", 5 * 10**9),
        ("5G", 5 * 10**9),
        ("500MB", 5 * 10**8),
        ("5GiB", 5 << 30),
        ("5Gi", 5 << 30),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("10 MB", 10_000_000),
        (" 10MB\n", 10_000_000),
        ("1TB", 10**12),
        ("7kB", 7000),
        ("7KB", 7000),
        ("12", 12),
        ("12B", 12),
        (12, 12),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GB",
        "5Gb",
        "-5GB",
        "5 giga",
        "0.1B",
        "1e9",
        "5GB5",
        "\N{ARABIC-INDIC DIGIT FIVE}GB",
        "9" * 30,
        "nan",
        "5GB\0",
    ],
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)
    with pytest.raises(UsageError, match="is not a rate"):
        parse_rate(text)


def test_a_size_may_have_a_least() -> None:
    assert parse_size("0") == 0
    with pytest.raises(UsageError, match=r"'0KB' is too small: it is at least 1 byte$"):
        parse_size("0KB", least=1)
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(-1)


def test_rates() -> None:
    assert parse_rate("1Gbit/s") == 125_000_000
    assert parse_rate("2MiB/s") == 2 << 20
    assert parse_rate("0", least=0) == 0
    with pytest.raises(UsageError, match="'0' is not a rate"):
        parse_rate("0")


def test_what_the_pattern_of_a_schema_lets_through_is_read_as_the_option_reads_it() -> None:
    assert read_bytes("20Gi") == parse_size("20GiB") == 20 << 30
