"""The report's section on the published figure."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis import published_curves
from rdstudy.errors import UserError
from rdstudy.report import Analyses, write_report
from rdstudy.report.drawings.published import published
from rdstudy.report.figures import published_figure
from rdstudy.report.published import published_outcome, published_tables
from rdstudy.study import parse_study
from tests.analysis.published_studies import copied, curves_file, flat
from tests.analysis.synthetic import Planted, study_table, u_shaped
from tests.conftest import STUDY as EXAMPLE
from tests.made import make_results

STUDY: dict[str, Any] = {"name": "planted", "n_cells": 12}


def _analyses(table: pd.DataFrame, curves: Path | None) -> Analyses:
    return Analyses.of(table, compare=curves)


@pytest.fixture
def curves(tmp_path):
    return curves_file(tmp_path)


@pytest.fixture
def same(curves):
    """A study that has the published values."""
    return _analyses(copied(published_curves(curves), seeds=3), curves)


def test_a_study_that_has_the_published_values_is_told_to_reproduce_the_figure(same):
    said = published_outcome(same)
    assert said.startswith(
        "5 of 5 predictions are reproduced (P1, P2, P3, P4, P5). 43 of 43 published points are within"
    )
    assert "fails" not in said
    assert "were set for" not in said


def test_what_fails_is_named_with_its_numbers(curves):
    said = published_outcome(_analyses(flat(published_curves(curves), seeds=3), curves))
    assert said.startswith("1 of 5 predictions are reproduced (P5).")
    for name in ("P1", "P2", "P3", "P4"):
        assert re.search(rf"{name} fails: .*? with 95% confidence", said)
    assert "this study's deep test curve is 58.7 nats below the published point at rate 10.1" in said


def test_a_study_of_another_size_is_told_not_to_decide(curves):
    table = copied(published_curves(curves), seeds=3).assign(train_size=8000, width=64)
    assert "this study has 8,000 examples, width 64, so it does not decide" in published_outcome(
        _analyses(table, curves)
    )


def test_tables_have_a_row_for_each_prediction_and_each_point(same):
    predictions, conditions, distances = published_tables(same)
    assert [row[0] for row in predictions.rows] == ["P1", "P2", "P3", "P4", "P5"]
    assert len(conditions.rows) > 5
    assert len(distances.rows) == 43
    assert {row[distances.header.index("difference")] for row in distances.rows} == {"0.0 (0.0 to 0.0)"}


def test_without_published_curves_there_is_no_section(same):
    alone = _analyses(same.table, None)
    assert published_outcome(alone) == ""
    assert published_tables(alone) == ()
    assert not published(alone).panels


def test_another_data_set_is_said_to_lack_everything_and_is_not_drawn(same, curves):
    other = _analyses(same.table.assign(dataset="mnist"), curves)
    assert "0 of 5 predictions are reproduced" in published_outcome(other)
    assert not published(other).panels


@pytest.mark.parametrize(("depth", "n_points"), [(1, 22), (3, 21)])
def test_a_panel_has_our_points_and_theirs_in_two_colours_on_the_same_axes(same, depth, n_points):
    assert same.published is not None
    frontier = same.frontier[same.frontier["split"] == "checkerboard"]
    axes = published_figure(frontier, same.published, depth).axes[0]
    drawn = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    assert len(drawn) == 4  # train and test of this study and of the paper
    assert sum(np.size(line.get_xdata()) for line in drawn) == 2 * n_points
    assert len({line.get_color() for line in drawn}) == 2
    other = published_figure(frontier, same.published, 4 - depth).axes[0]
    assert (axes.get_xlim(), axes.get_ylim()) == (other.get_xlim(), other.get_ylim())


def test_a_network_that_was_not_trained_is_said_to_be_missing_in_its_panel(same):
    assert same.published is not None
    shallow = same.frontier[same.frontier["depth"] == 1]
    for depth, missing in ((1, False), (3, True)):
        axes = published_figure(shallow, same.published, depth).axes[0]
        assert any(text.get_text() == "not in this study" for text in axes.texts) == missing


def test_the_section_is_on_the_page_and_its_tables_are_beside_it(tmp_path, curves):
    table = study_table([Planted(u_shaped())], betas=(1.0, 0.3), seeds=3, mi=False, nll=False)
    write_report(tmp_path, table, STUDY, compare=curves, formats=("html", "md"))
    for name in ("index.html", "index.md"):
        text = (tmp_path / "report" / name).read_text(encoding="utf-8")
        assert "Is the published figure reproduced?" in text
        assert "no finished cell of the checkerboard split at depth 3" in text
    assert (tmp_path / "report" / "figures" / "published-1.svg").exists()
    assert len(pd.read_csv(tmp_path / "report" / "analyses" / "published_distances.csv")) == 43
    write_report(tmp_path, table, STUDY)
    assert not (tmp_path / "report" / "figures" / "published-1.svg").exists()


def test_the_command_takes_the_curves(command, tmp_path, curves):
    study = parse_study(EXAMPLE % "images.npz")
    make_results(tmp_path / "r", study, {next(iter(study.cells)): "ok"})
    assert command("report", "r", "--published", str(curves)).code == 0
    assert "Is the published figure reproduced?" in (tmp_path / "r" / "report" / "index.html").read_text("utf-8")


def test_curves_that_cannot_be_read_are_one_message(tmp_path):
    table = study_table([Planted(u_shaped())], betas=(1.0, 0.3), seeds=1)
    (tmp_path / "curves.csv").write_text("network,split\n")
    with pytest.raises(UserError, match=r"curves\.csv, line 1: lacks"):
        write_report(tmp_path, table, STUDY, compare=tmp_path / "curves.csv")
