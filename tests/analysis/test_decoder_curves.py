"""Decoders' curves are those of the table's lists, of one cell per beta, with that cell's own points."""

import numpy as np
import pandas as pd

from rdstudy.analysis import decoder_curves
from rdstudy.report import figures
from tests.analysis.synthetic import Planted, study_table
from tests.analysis.test_gap_parts import BETAS, refitted

RATES = np.linspace(0, 40, 9)


def annealed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a refit and, for test rows of seeds 1 and 2, a curve that depends on beta and seed."""
    table = refitted(table, dict.fromkeys(BETAS, 4.0), dict.fromkeys(BETAS, 2.0))
    there = (table["population"] == "test") & (table["seed"] > 0)
    curves = [
        list(200 * np.exp(-RATES / 10) + 60 + beta + seed) if one else None
        for one, beta, seed in zip(there, table["beta"], table["seed"], strict=True)
    ]
    rates = [list(RATES) if one else None for one in there]
    return table.assign(ais_curve_rate_nats=rates, ais_curve_distortion_nats=curves)


def test_the_curve_of_the_first_seed_that_has_one_with_its_own_points():
    table = annealed(study_table([Planted(), Planted(width=64)], betas=BETAS, seeds=3))
    found = decoder_curves(table)
    assert set(found["seed"]) == {1}
    for (width, beta), own in found.groupby(["width", "beta"]):
        curve = own[own["kind"] == "decoder"]
        np.testing.assert_allclose(curve["rate_nats"], RATES)
        np.testing.assert_allclose(curve["distortion_nats"], 200 * np.exp(-RATES / 10) + 61 + beta)
        [cell] = own["cell_id"].unique()
        [row] = table[(table["cell_id"] == cell) & (table["population"] == "test")].to_dict("records")
        assert (row["width"], row["beta"]) == (width, beta)
        for kind, stem in (("amortised", ""), ("refitted", "refit_")):
            [point] = own[own["kind"] == kind].to_dict("records")
            assert point["rate_nats"] == row[f"{stem}rate_nats"]
            assert point["distortion_nats"] == row[f"{stem}distortion_nats"]
    assert list(found[found["width"] == 64]["beta"].unique()) == [1.0, 0.1, 0.001]


def test_there_are_none_where_none_was_measured():
    table = study_table([Planted()], betas=BETAS, seeds=2)
    assert decoder_curves(table).empty
    assert decoder_curves(table.assign(ais_curve_rate_nats=None, ais_curve_distortion_nats=None)).empty


def test_the_figure_draws_every_decoder_and_both_points_of_its_cell():
    record = decoder_curves(annealed(study_table([Planted()], betas=BETAS, seeds=2)))
    axes = figures.decoder_curves(record, title="x").axes[0]
    assert sum(len(line.get_xdata()) == len(RATES) for line in axes.lines) == len(BETAS)
    assert sum(len(line.get_xdata()) == 1 for line in axes.lines) == 2 * len(BETAS)
