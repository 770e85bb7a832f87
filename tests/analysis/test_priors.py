"""Priors against the standard normal, within a seed and at the same beta."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.analysis import priors
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
