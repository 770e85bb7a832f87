"""The sentences on priors agree with their table, and the page has them where priors are compared."""

import re

import numpy as np
import pytest

from rdstudy.report import Analyses, figures
from rdstudy.report.claim_articles import claim_articles
from rdstudy.report.prior_sentences import PRIOR_CLAIM, prior_sentences
from tests.analysis.test_priors import BETAS, with_priors
from tests.report.test_sentences import NUMBER, number


@pytest.mark.parametrize("seed", range(4))
def test_counts_and_gains_of_a_sentence_are_those_of_the_table(seed):
    gains = {
        name: dict(zip(BETAS, np.random.default_rng(seed + k).normal(0, 4, 3), strict=True))
        for k, name in enumerate(("gaussian", "flow(4)"))
    }
    analyses = Analyses.of(with_priors(gains, noise=1.0))
    said = prior_sentences(analyses)
    assert len(said) == 2
    for text, (prior, rows) in zip(said, analyses.priors.groupby("prior"), strict=True):
        assert text.startswith(f"Prior {prior} ")
        by = rows[rows["criterion"] == "distortion_nats"]
        part = re.search(rf"by test distortion (.*?) of 3 points \(gain {NUMBER}(?: to {NUMBER})? nats\)", text)
        assert part is not None, text
        for verdict, n in by["verdict"].value_counts().items():
            assert f"{verdict} at {n}" in part[1]
        assert number(part[2]) == pytest.approx(by["difference_nats"].min(), abs=0.051)
        assert number(part[3] or part[2]) == pytest.approx(by["difference_nats"].max(), abs=0.051)


def test_the_page_asks_for_priors_where_there_are_several_and_only_there():
    table = with_priors({"gaussian": dict.fromkeys(BETAS, 1.0)})
    both, one = Analyses.of(table), Analyses.of(table[table["prior"] == "standard_normal"])
    assert PRIOR_CLAIM in [claim.statement for claim in claim_articles(both)]
    assert PRIOR_CLAIM not in [claim.statement for claim in claim_articles(one)]
    axes = figures.priors(both.priors, title="x").axes[0]
    drawn = both.priors[both.priors["criterion"] == "distortion_nats"].sort_values("beta")["difference_nats"]
    assert any(np.array_equal(line.get_ydata(), drawn.to_numpy()) for line in axes.lines)
