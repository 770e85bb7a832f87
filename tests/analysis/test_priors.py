"""Priors against the standard normal, within a seed and at the same beta."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis import claims, priors
from rdstudy.analysis.replicates import SETTING, Replicates
from tests.analysis.synthetic import Planted, study_table

BETAS = (1.0, 0.1, 0.01)


def with_priors(gains: dict[str, dict[float, float]], seeds: int = 5, noise: float = 0.2) -> pd.DataFrame:
    """A study whose test criteria are lower by these gains under each prior, at each beta."""
    one = study_table([Planted()], betas=BETAS, seeds=seeds)
    tables = []
    for k, (name, gain) in enumerate({"standard_normal": dict.fromkeys(BETAS, 0.0), **gains}.items()):
        draws = noise * np.random.default_rng(k).standard_normal(len(one))
        shift = (one["population"] == "test") * (draws - one["beta"].map(gain))
        tables.append(
            one.assign(
                prior=name,
                cell_id=one["cell_id"] + name,
                distortion_nats=one["distortion_nats"] + shift,
                elbo_nats=one["elbo_nats"] - shift,
                nll_nats=one["nll_nats"] + shift,
            )
        )
    return pd.concat(tables, ignore_index=True)


def test_a_planted_gain_and_a_planted_loss_are_found_at_their_beta():
    found = priors(with_priors({"flow(4)": {1.0: 5.0, 0.1: 0.0, 0.01: -5.0}}))
    rows = found[found["criterion"] == "distortion_nats"].set_index("beta")
    assert rows["verdict"].to_dict() == {1.0: "better", 0.1: "equivalent", 0.01: "worse"}
    for beta, gain in ((1.0, 5.0), (0.1, 0.0), (0.01, -5.0)):
        row = rows.loc[beta]
        assert row["difference_nats"] == pytest.approx(gain, abs=0.4)
        assert row["low_nats"] <= row["difference_nats"] <= row["high_nats"]
    assert set(found["prior"]) == {"flow(4)"}


def test_an_equal_prior_is_rarely_called_better_or_worse():
    """At 2.5% each over all betas of a prior: 60 studies, three standard errors."""
    generator, wrong = np.random.default_rng(0), 0
    betas = np.array(BETAS)
    for _ in range(60):
        made = [
            Replicates(
                {**dict.fromkeys(SETTING), "prior": name},
                betas,
                np.arange(3),
                {("test", "distortion_nats"): 80 + 2 * generator.standard_normal((3, 3))},
            )
            for name in ("standard_normal", "gaussian", "flow(4)")
        ]
        found = priors(made)
        wrong += int(found.loc[found["prior"] == "gaussian", "verdict"].isin(["better", "worse"]).any())
    assert wrong / 60 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_there_is_nothing_to_compare_without_the_standard_normal_or_another_prior():
    table = with_priors({"gaussian": dict.fromkeys(BETAS, 0.0)})
    assert priors(table[table["prior"] == "gaussian"]).empty
    assert priors(table[table["prior"] == "standard_normal"]).empty


def with_ex_post(gain: float, *, components: float | None = 5.0, worst: float = 0.0) -> pd.DataFrame:
    """A study with the standard normal, and a flow that was fitted to its codes and gains this on the rate."""
    one = study_table([Planted()], betas=BETAS, seeds=5).assign(prior="standard_normal", nll_components=components)
    again = one.assign(
        evaluation_id="fitted",
        nll_nats=np.nan,
        nll_components=np.nan,
        ex_post_prior="flow(4)",
        ex_post_rate_nats=one["rate_nats"] - gain,
        ex_post_nll_nats=one["nll_nats"] - 0.5 * gain,
        ex_post_nll_unreliable_share=0.0,
        ex_post_nll_examples=64.0,
        ex_post_steps=1000.0,
        ex_post_worst_nats=worst * one["n_examples"],
    )
    return pd.concat([one, again[again["is_final"].astype(bool)]], ignore_index=True)


def test_a_prior_fitted_ex_post_gains_on_the_elbo_what_the_rate_falls_by():
    found = priors(with_ex_post(7.0))
    assert set(found["prior"]) == {"flow(4) ex post"}
    gains = found.groupby("criterion")["difference_nats"].unique()
    assert sorted(gains.index) == ["negative_elbo_nats", "nll_nats"]  # distortion is the model's own
    assert gains["negative_elbo_nats"] == pytest.approx([7.0] * len(gains["negative_elbo_nats"]))
    assert gains["nll_nats"] == pytest.approx([3.5] * len(gains["nll_nats"]))
    assert set(found["verdict"]) == {"better"}


def test_an_nll_with_a_fitted_prior_is_not_compared_with_one_by_draws_from_the_encoder():
    found = priors(with_ex_post(7.0, components=None))
    assert set(found["criterion"]) == {"negative_elbo_nats"}


def test_a_fit_does_not_change_what_is_said_of_the_models_themselves():
    table = with_ex_post(7.0)
    own = table[table["ex_post_prior"].isna()]
    assert claims(table)["difference_nats"].equals(claims(own)["difference_nats"])


def test_of_two_fits_the_one_of_more_steps_counts():
    short = with_ex_post(7.0)
    long = with_ex_post(9.0)
    long = long[long["ex_post_prior"].notna()].assign(ex_post_steps=2000.0, evaluation_id="longer")
    found = priors(pd.concat([long, short], ignore_index=True))
    elbo = found[found["criterion"] == "negative_elbo_nats"]
    assert elbo["difference_nats"].to_numpy() == pytest.approx(9.0)


def test_no_verdict_is_given_where_a_single_example_decides():
    table = with_ex_post(7.0)
    one = table["ex_post_prior"].notna() & (table["beta"] == 0.01) & (table["seed"] == 2)
    table.loc[one, "ex_post_worst_nats"] = 3.0 * table.loc[one, "n_examples"]
    found = priors(table)
    assert set(found.loc[found["beta"] == 0.01, "verdict"]) == {"not_measurable"}
    assert found.loc[found["beta"] == 0.01, "reason"].str.contains("single test example takes up to 3.0 nats").all()
    assert set(found.loc[found["beta"] != 0.01, "verdict"]) == {"better"}


def heavy(generator: np.random.Generator, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains of mean 0 whose tail is rare large losses by single examples, and those losses."""
    loss = generator.lognormal(1.0, 1.2, (seeds, 3))
    return np.exp(1.0 + 1.2**2 / 2) - loss, loss


def even(generator: np.random.Generator, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains of mean 0, noisier at small beta."""
    gain = np.array([0.02, 0.3, 2.0]) * generator.standard_normal((seeds, 3))
    return gain, np.zeros_like(gain)


@pytest.mark.parametrize("tail", [even, heavy])
def test_a_prior_fitted_ex_post_that_gains_nothing_is_rarely_called_better_or_worse(tail):
    """Four settings in each of 60 studies of five seeds; at 2.5% each, three standard errors."""
    generator, wrong = np.random.default_rng(0), {"better": 0, "worse": 0}
    for _ in range(60):
        made = []
        for k in range(4):
            own = {**dict.fromkeys(SETTING), "depth": k}
            base = 100 + 5 * generator.standard_normal((5, 1)) + 2 * generator.standard_normal((5, 3))
            gain, loss = tail(generator, 5)
            values = {
                ("test", "negative_elbo_nats"): base - gain,
                ("test", "ex_post_one_example_nats"): loss,
            }
            for name, found in (
                ("standard_normal", {("test", "negative_elbo_nats"): base}),
                ("flow(4) ex post", values),
            ):
                made.append(Replicates({**own, "prior": name}, np.array(BETAS), np.arange(5), found))
        verdicts = priors(made)["verdict"]
        for word in wrong:
            wrong[word] += int((verdicts == word).any())
    for word in wrong:
        assert wrong[word] / 60 <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 60), word
