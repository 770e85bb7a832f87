import io

import pytest
from rich.console import Console

from rdstudy.cli.terminal import BLOCKS, Rows, sparkline


def shown(table: Rows, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.fixture
def table() -> Rows:
    table = Rows("cell", "status", "of", "distortion", left=("cell", "status", "of"))
    table.add("0123456789abcdef", "ok", "1x64, latent 10, checkerboard", "93.5")
    table.add("fedcba9876543210", "failed", "[bold]1x64[/]", "-")
    return table


def test_a_table_that_fits_is_a_table(table):
    assert shown(table, 80) == [
        "cell              status  of                             distortion",
        "0123456789abcdef  ok      1x64, latent 10, checkerboard        93.5",
        "fedcba9876543210  failed  [bold]1x64[/]                           -",
    ]


@pytest.mark.parametrize("width", [66, 40, 12, 5])
def test_a_table_that_does_not_fit_says_everything_in_paragraphs(table, width):
    lines = shown(table, width)
    assert max(map(len, lines)) <= width
    together = "".join("".join(lines).split())
    for word in ("cell0123456789abcdef,statusok,of1x64,latent10,checkerboard,distortion93.5", "statusfailed"):
        assert word in together


def test_a_sparkline_rises_and_falls_with_its_values():
    assert sparkline(range(8)) == BLOCKS
    assert sparkline([3.0, 3.0]) == BLOCKS[0] * 2
    assert sparkline([0.0, float("nan"), 7.0]) == f"{BLOCKS[0]} {BLOCKS[-1]}"
    assert sparkline([]) == ""
    assert sparkline([float("inf")] * 3) == "   "


def test_a_long_sparkline_keeps_its_ends():
    line = sparkline([9.0, *[5.0] * 998, 1.0], width=20)
    assert (len(line), line[0], line[-1]) == (20, BLOCKS[-1], BLOCKS[0])


def test_a_sparkline_without_unicode_is_ascii():
    assert sparkline(range(8), unicode=False).isascii()
    assert len(set(sparkline(range(8), unicode=False))) == 8
