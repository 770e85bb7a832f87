"""What a run says while it goes on, where there is no terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from rdstudy.cli import live
from rdstudy.execution.protocols import PackProgress
from rdstudy.training.packs import Pack
from tests.conftest import CELL

PACKS = [Pack(tuple(replace(CELL, seed=2 * n + i) for i in range(2))) for n in range(3)]


def said(*reports: tuple[int, PackProgress]) -> list[str]:
    """The lines of a run of `PACKS`, told what happened to them one by one."""
    text = io.StringIO()
    run = live.RunDisplay(PACKS, Console(file=text, width=200, force_terminal=False), where="on 2 workers")
    with run:
        for n, progress in reports:
            run(PACKS[n], progress)
    return text.getvalue().splitlines()


def report(n: int, step: int, members: tuple[int, ...] = (0, 1), **how: Any) -> tuple[int, PackProgress]:
    ids = tuple(PACKS[n].cells[i].id for i in members)
    return n, PackProgress(step, CELL.steps, ids, 2.0, **how)


def test_a_pack_that_ends_has_a_line_with_what_it_was_and_how_far_the_run_is():
    [line] = said(report(0, 10), report(0, CELL.steps, staged="x", test_distortion_nats=81.26, mfu=0.5))
    assert line.startswith("pack 1/3 finished: 2 models 1x9, latent 3, ")
    assert "2 s, median test distortion 81.3 nats | 2/6 cells, " in line
    assert "model-steps/s on 2 workers (50% of the matrix-product rate), time left " in line


def test_time_left_is_said_while_models_train_and_not_when_all_have_ended():
    begun, *_, ended = said(*(report(n, CELL.steps, staged="x") for n in range(3)))
    assert "time left " in begun
    assert "6/6 cells" in ended
    assert "left" not in ended
    assert "being measured" not in ended


def test_a_pack_whose_cells_were_stopped_early_has_a_line_when_the_last_was():
    lines = said(
        report(1, 20, (0,), staged="x", stopped=True),
        report(1, 40, (1,), staged="y", stopped=True),
    )
    assert len(lines) == 1
    assert lines[0].startswith("pack 2/3 ended: 2 models ")
    assert "the last of them stopped early | 2/6 cells, 2 stopped, " in lines[0]


def test_a_cell_that_failed_is_named_with_its_reason():
    lines = said(report(2, 0, (1,), failure="no memory"), report(2, CELL.steps, (0,), staged="x"))
    assert lines[0] == f"cell {PACKS[2].cells[1].id} failed: no memory"
    assert "2/6 cells, 1 failed, " in lines[1]


def test_the_half_of_a_pack_that_has_finished_is_not_shown_as_at_work():
    run = live.RunDisplay(PACKS, Console(file=io.StringIO(), width=200), where="here")
    for progress in (report(0, 10), report(0, CELL.steps, (0,), staged="x")):
        run(PACKS[progress[0]], progress[1])
    assert not run.latest
    run(PACKS[0], report(0, 20, (1,))[1])
    assert run.latest


def test_the_whole_is_said_now_and_then(monkeypatch):
    monkeypatch.setattr(live, "PLAIN_SECONDS", 0.0)
    lines = said(report(0, 10), report(1, 10), report(0, CELL.steps, staged="x"))
    assert [line.startswith("0/6 cells, ") for line in lines] == [True, True, False]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1240.4, "1,240"), (12.3, "12"), (9.96, "10"), (9.94, "9.9"), (0.374, "0.37"), (0.04, "0.04"), (0.0, "0")],
)
def test_a_rate_is_never_rounded_to_nothing(value, shown):
    assert live.two_digits(value) == shown
