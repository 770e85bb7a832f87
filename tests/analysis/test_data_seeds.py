"""Data seeds are replicates of a setting: cells of one data seed share their images and count once."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis import (
    best_beta,
    capacity,
    claims,
    convergence,
    frontier,
    gaps,
    learning,
    published_conditions,
    published_curves,
    shapes,
)
from rdstudy.analysis.replicates import DATA_SEEDS, SEEDS, SETTING, replicates
from tests.analysis.published_studies import copied, curves_file
from tests.analysis.synthetic import Planted, falling, study_table, u_shaped

BETAS = (1.0, 0.3, 0.1)
SETTINGS = [Planted(u_shaped(best=0.3)), Planted(u_shaped(best=0.3), depth=3)]


def drawn(data_seed: int, shift: float = 0.0, seeds: int = 2) -> pd.DataFrame:
    """The study on the data of one data seed, whose distortions all lie `shift` nats higher."""
    generator = np.random.default_rng(data_seed)
    table = study_table(SETTINGS, betas=BETAS, seeds=seeds, generator=generator, nll=False)
    changed = {"data_seed": data_seed, "cell_id": f"{data_seed}-" + table["cell_id"]}
    return table.assign(distortion_nats=table["distortion_nats"] + shift, **changed)


def several(*shifts: float, seeds: int = 2) -> pd.DataFrame:
    return pd.concat([drawn(k, shift, seeds) for k, shift in enumerate(shifts)], ignore_index=True)


def test_a_data_seed_is_no_setting():
    assert "data_seed" not in SETTING
    assert len(replicates(several(0, 0, 0))) == len(SETTINGS)


def test_the_seeds_of_a_data_seed_are_averaged_and_count_once():
    one = replicates(several(0, 1, 2))[0]
    assert one.unit == DATA_SEEDS
    assert one.seeds.tolist() == [0, 1, 2]
    for k in range(3):
        alone = replicates(drawn(k, float(k)))[0]
        assert alone.unit == SEEDS
        mean = alone.of("test", "distortion_nats").mean(axis=0)
        np.testing.assert_allclose(one.of("test", "distortion_nats")[k], mean)


def test_intervals_are_those_of_other_data_and_more_seeds_do_not_narrow_them_to_nothing():
    """Data seeds 10 nats apart: 2 or 50 seeds of each leave the interval as wide as the data seeds make it."""
    widths = []
    for seeds in (2, 50):
        points = frontier(several(-10, 0, 10, seeds=seeds))
        row = points[(points["population"] == "test") & (points["depth"] == 1)].iloc[0]
        assert row["n_seeds"] == 3
        widths.append(row["distortion_high"] - row["distortion_low"])
    assert min(widths) > 45
    assert widths[0] == pytest.approx(widths[1], rel=0.05)


def test_betas_are_compared_within_a_data_seed():
    """Data seeds 10 nats apart do not widen the interval of a difference between betas."""
    apart = claims(several(-10, 0, 10)).query("claim == 'lowering_beta' and criterion == 'distortion_nats'")
    assert (apart["seeds"] == 3).all()
    assert (apart["high_nats"] - apart["low_nats"] < 3).all()
    assert (apart["verdict"] == "better").all()


def test_too_few_data_seeds_are_named_as_such():
    found = claims(several(0, 0)).query("claim == 'lowering_beta'")
    assert set(found["reason"]) == {"fewer than 3 data seeds"}


def test_networks_are_compared_within_a_data_seed():
    found = capacity(several(-10, 0, 10))
    assert (found["seeds"] == 3).all()
    assert (found["high_nats"] - found["low_nats"] < 4).all()


def test_one_data_seed_changes_nothing_whatever_its_number():
    pd.testing.assert_frame_equal(best_beta(drawn(7)), best_beta(drawn(7).drop(columns="data_seed")))
    np.testing.assert_array_equal(replicates(drawn(7))[0].seeds, [0, 1])


def test_another_data_set_keeps_its_seeds():
    other = study_table([Planted(dataset="mnist")], betas=BETAS, seeds=5)
    found = replicates(pd.concat([several(0, 0, 0), other], ignore_index=True))
    assert {one.setting["dataset"]: (one.unit, len(one.seeds)) for one in found} == {
        "mnist": (SEEDS, 5),
        "tetrominoes": (DATA_SEEDS, 3),
    }


def test_a_learning_curve_counts_the_cells_behind_it():
    assert (learning(several(0, 0, 0))["n_seeds"] == 6).all()


MISSING = (0, 1, 0.1)
"""Data seed, seed and beta of a cell that is not there."""


def with_a_missing_cell() -> pd.DataFrame:
    """Without noise; seed 1 lies 50 nats above seed 0 in every cell of every data seed; depth 3 gains 4 nats."""
    parts = []
    for k in range(4):
        table = study_table(
            [Planted(falling()), Planted(falling(), depth=3)], betas=BETAS, seeds=2, noise=0.0, seed_effect=0.0
        )
        shift = 50.0 * table["seed"] + 10.0 * k - 4.0 * (table["depth"] == 3)
        parts.append(
            table.assign(
                distortion_nats=table["distortion_nats"] + shift,
                elbo_nats=table["elbo_nats"] - shift,
                data_seed=k,
                cell_id=f"{k}-" + table["cell_id"],
            )
        )
    rows = pd.concat(parts, ignore_index=True)
    data_seed, seed, beta = MISSING
    gone = (rows["data_seed"] == data_seed) & (rows["seed"] == seed) & (rows["beta"] == beta) & (rows["depth"] == 1)
    return rows[~gone]


@pytest.mark.parametrize("analysis", [claims, capacity, gaps, shapes, convergence])
def test_a_missing_cell_biases_no_comparison_by_what_its_seed_has_in_the_other_cells(analysis):
    """Betas, networks and populations are compared within a seed: without noise the answers are those of one seed."""
    rows = with_a_missing_cell()
    found = analysis(rows)
    of_one = analysis(rows[rows["seed"] == 0])
    told = ("difference_nats", "gap_nats", "fall_nats", "rise_nats", "slope", "regret_nats")
    numbers = [name for name in told if name in found]
    np.testing.assert_allclose(found[numbers].astype(float), of_one[numbers].astype(float), atol=1e-6)
    assert found[numbers].notna().any(axis=None)


def test_the_published_predictions_compare_betas_within_a_seed_of_a_data_seed(tmp_path):
    published = published_curves(curves_file(tmp_path))
    copies = [copied(published, seeds=2).assign(data_seed=k) for k in range(3)]
    rows = pd.concat([one.assign(cell_id=f"{k}-" + one["cell_id"]) for k, one in enumerate(copies)], ignore_index=True)
    rows["distortion_nats"] -= 50.0 * rows["seed"]
    gone = (rows["seed"] == 1) & (rows["data_seed"] == 0) & (rows["beta"] == 1.0) & (rows["depth"] == 3)
    effects = published_conditions(rows[~gone], published).set_index(["id", "condition"])["effect_nats"].drop("P4")
    whole = published_conditions(rows, published).set_index(["id", "condition"])["effect_nats"].drop("P4")
    np.testing.assert_allclose(effects, whole, atol=1e-6)
