"""Between which betas the mutual information saturates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdstudy.analysis import information, saturation
from rdstudy.analysis.identification import marginal_kl_change
from rdstudy.analysis.replicates import SETTING, Replicates
from rdstudy.analysis.saturation import bracket
from rdstudy.study import load_study
from rdstudy.study.examples import packaged_studies
from tests.analysis import PROPERTY
from tests.analysis.synthetic import Planted, study_table


def deficit_beta(planted: Planted, deficit: float = 0.1) -> float:
    """The beta at which log N - I is the deficit, in `synthetic`'s closed form."""
    share = 1 - deficit / np.log(planted.train_size)
    return planted.saturates_at * float(np.sqrt((1 / share - 1) / (1 / 0.95 - 1)))


@pytest.mark.parametrize("beta", [0.25, 0.6, 1.5, 3.1])
def test_the_betas_bracket_the_planted_one(beta):
    planted = Planted(saturates_at=beta)
    row = saturation(study_table([planted])).iloc[0]
    assert row["saturates"] == "at"
    assert row["beta_low"] <= deficit_beta(planted) <= row["beta_high"]


@pytest.mark.parametrize(("planted", "words"), [(500.0, "everywhere"), (1e-5, "never")])
def test_outside_the_grid_it_says_everywhere_or_never(planted, words):
    row = saturation(study_table([Planted(saturates_at=planted)])).iloc[0]
    assert row["saturates"] == words
    assert (row["beta_low"], row["beta_high"]) == {"never": (0.0, 0.001), "everywhere": (5.0, np.inf)}[words]


def test_what_was_not_measured_is_said_and_not_guessed():
    table = study_table([Planted()], mi=False)
    assert set(saturation(table)["saturates"]) == {"not measured"}
    assert saturation(table)["beta_low"].isna().all()
    assert information(table).empty


def test_information_with_bounds_more_than_a_nat_apart_is_not_called_saturated():
    """A linear-Gaussian code of 23 nats: the estimate from 8,000 examples is log N = 9 nats whatever the code does."""
    table = study_table([Planted(saturates_at=50.0, train_size=8000)], apart=0.5)
    assert set(saturation(table)["saturates"]) <= {"everywhere", "at"}
    found = saturation(table.assign(mi_upper_nats=23.1))
    assert set(found["saturates"]) == {"not identified"}
    assert found["bounded"].all()
    np.testing.assert_allclose(found["apart_nats"], 23.1 - np.log([8000, 81920]), atol=0.02)


def test_without_measured_bounds_information_at_its_ceiling_is_not_identified():
    found = saturation(study_table([Planted(saturates_at=0.5)], apart=None))
    assert set(found["saturates"]) == {"not identified"}
    assert not found["bounded"].any()
    assert set(found["marginal_kl_change"]) == {"not measured"}
    assert found[["apart_nats", "mi_upper_nats_last", "marginal_kl_lower_nats_last"]].isna().all(axis=None)
    assert (found["beta_low"] > 0).all()
    below = saturation(study_table([Planted(saturates_at=1e-5)], apart=None))
    assert set(below["saturates"]) == {"never"}  # that the estimate is below log N needs no bound


@pytest.mark.parametrize(
    ("seeds", "apart", "change"), [(5, 0.1, "grows"), (1, 0.1, "not identified"), (5, 80.0, "not identified")]
)
def test_the_marginal_kl_grows_past_saturation_where_its_bounds_say_so(seeds, apart, change):
    """R rises by 8 log(beta ratio) from 0.3 to 0.001, by 45.6 nats, and I stays."""
    found = saturation(study_table([Planted(saturates_at=0.5)], seeds=seeds, apart=apart))
    assert set(found["marginal_kl_change"]) == {change}
    np.testing.assert_allclose(found["marginal_kl_upper_nats_last"] - found["marginal_kl_lower_nats_last"], apart)
    np.testing.assert_allclose(found["mi_upper_nats_last"] - found["mi_lower_nats_last"], apart)


def test_a_marginal_kl_that_falls_is_said_to_fall():
    table = study_table([Planted(saturates_at=0.5)], betas=(1.0, 0.1, 0.01))
    smallest = table["beta"] == 0.01
    rate = table["rate_nats"].where(~smallest, table["mi_upper_nats"])
    assert set(saturation(table.assign(rate_nats=rate))["marginal_kl_change"]) == {"falls"}


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_a_marginal_kl_that_stays_is_rarely_said_to_grow_or_to_fall(seeds):
    """With bounds that meet, and noise alone: each in 2.5% of 1,000 settings, and three standard errors."""
    generator = np.random.default_rng(seeds)
    said = []
    for _ in range(1000):
        rate = 20 + generator.standard_normal((seeds, 2))
        values = {("train", "rate_nats"): rate, ("train", "mi_nats"): np.full_like(rate, 6.0)}
        values |= {("train", f"mi_{end}_nats"): np.full_like(rate, 6.0) for end in ("lower", "upper")}
        made = Replicates(dict.fromkeys(SETTING), np.array([1.0, 0.01]), np.arange(seeds), values)
        said.append(marginal_kl_change(made, "train", 1.0))
    allowed = 0.025 + 3 * np.sqrt(0.025 * 0.975 / len(said))
    for change in ("grows", "falls"):
        assert said.count(change) / len(said) <= allowed


def test_rate_less_information_is_the_marginal_kl_at_every_beta():
    found = information(study_table([Planted()]))
    np.testing.assert_allclose(found["rate_nats"] - found["mi_nats"], found["marginal_kl_nats"], atol=1e-9)
    assert (found["mi_share"] <= 1).all()


def test_one_seed_has_a_bracket_one_beta_wider():
    betas = np.array([5.0, 2.0, 1.0, 0.5, 0.1, 0.01])
    deficits = np.array([[2.0, 1.0, 0.5, 0.05, 0.0, 0.0]])
    assert bracket(betas, np.repeat(deficits, 3, axis=0), 0.1) == (0.5, 1.0)
    assert bracket(betas, deficits, 0.1) == (0.1, 2.0)


def test_a_beta_whose_mean_is_on_one_side_by_chance_alone_is_in_the_bracket():
    """Mean deficits of 0.08 and 0.15 nats, seeds 0.08 apart: neither is shown to be above 0.1, nor not to be."""
    betas = np.array([2.0, 1.0, 0.5, 0.1])
    apart = np.array([-0.08, 0.0, 0.08])[:, None]
    deficits = np.array([2.0, 0.15, 0.08, 0.0]) + apart * [1, 1, 1, 0]
    assert bracket(betas, deficits, 0.1) == (0.1, 2.0)
    assert bracket(betas, deficits - 0.95 * apart * [1, 1, 1, 0], 0.1) == (0.5, 1.0)


@PROPERTY
@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(0, 9)))
def test_the_bracket_is_ordered_and_made_of_betas_of_the_grid(deficits):
    betas = np.array([5.0, 2.0, 1.0, 0.1, 0.01, 0.001])[: deficits.shape[1]]
    low, high = bracket(betas, deficits, 0.1)
    assert low < high
    assert low in (0.0, *betas)
    assert high in (*betas, np.inf)


def coverage(betas: np.ndarray, seeds: int, studies: int, generator: np.random.Generator) -> float:
    """How often the bracket holds the beta at which the mean deficit is 0.1 nats; planted anywhere in the grid.

    Deficits fall as a power of beta, as near saturation; seeds shift the whole curve, and each point has its own noise.
    """
    positive = betas[betas > 0]
    held = 0
    for _ in range(studies):
        crossing = np.exp(generator.uniform(np.log(positive.min()), np.log(positive.max())))
        power = generator.uniform(1, 3)
        shift = 0.1 * generator.standard_normal((seeds, 1)) + 0.05 * generator.standard_normal((seeds, len(betas)))
        deficits = 0.1 * (betas / crossing) ** power * np.exp(shift - (0.1**2 + 0.05**2) / 2)
        low, high = bracket(betas, np.minimum(deficits, 9.0), 0.1)
        held += low <= crossing <= high
    return held / studies


def shipped() -> list[tuple[str, np.ndarray, int]]:
    found = []
    for name, path in packaged_studies().items():
        study = load_study(path)
        if study.grid.beta is not None and len(study.grid.beta) > 1:
            replicates = max(len(study.grid.seed), len(study.grid.data_seed))
            found.append((name, np.sort(np.array(study.grid.beta, dtype=float))[::-1], replicates))
    return found


@pytest.mark.parametrize(("betas", "seeds"), [one[1:] for one in shipped()], ids=[one[0] for one in shipped()])
def test_on_every_shipped_grid_the_bracket_holds_the_beta_in_93_percent(betas, seeds):
    """400 studies of a fixed generator; the coverage expected is 95% or more."""
    assert coverage(betas, seeds, 400, np.random.default_rng(3)) >= 0.93
