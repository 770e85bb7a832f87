"""The claims' sentences agree with their table."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.analysis import claims, claims_summary
from rdstudy.report.claim_sentences import claim_sentence, nats, summary_sentence
from tests.analysis import PROPERTY
from tests.analysis.test_claims import setting

NUMBER = r"(\u2212?\d+(?:\.\d+)?)"


def number(text: str) -> float:
    return float(text.replace("\u2212", "-"))


EXPONENT = st.floats(-2, 1)
STUDIES = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(2, 4),
    st.integers(1, 7),
    st.integers(1, 3),
    st.floats(-2, 2),
    st.floats(-2, 1),
)
"""Seed, betas, seeds, settings, and the decimal logarithms of the curves' size and noise."""


def random_claims(study: tuple[int, int, int, int, float, float]) -> pd.DataFrame:
    number, points, seeds, settings, size, noise = study
    generator = np.random.default_rng(number)
    betas = np.array([1.0, 0.5, 0.1, 0.01])[:points]
    curves = 90 + 10**size * generator.standard_normal((settings, 1, points))
    values = curves + 10**noise * generator.standard_normal((settings, seeds, points))
    return claims([setting(one, betas, width) for width, one in enumerate(values)])


@PROPERTY
@given(STUDIES)
def test_sign_size_interval_and_verdict_of_a_sentence_are_those_of_its_row(study):
    for _, row in random_claims(study).iterrows():
        text = claim_sentence(row)
        if row["verdict"] == "not_measurable":
            assert row["reason"] in text
            continue
        said = re.search(rf"(falls by|rises by|changes by) {NUMBER} nats", text)
        assert said is not None, text
        sign = {"falls by": 1, "rises by": -1, "changes by": 0}[said[1]]
        assert sign * number(said[2]) == pytest.approx(row["difference_nats"], abs=0.05 + 1e-9)
        assert sign == 0 or np.sign(row["difference_nats"]) == sign
        interval = re.search(rf"interval {NUMBER} to {NUMBER}\)", text)
        assert (interval is None) == bool(np.isnan(row["low_nats"]))
        if interval is not None:
            assert number(interval[1]) == pytest.approx(row["low_nats"], abs=0.05 + 1e-9)
            assert number(interval[2]) == pytest.approx(row["high_nats"], abs=0.05 + 1e-9)
            assert row["low_nats"] <= row["difference_nats"] <= row["high_nats"]
        assert f": {row['verdict']}" in text
        if row["verdict"] == "better":
            assert said[1] == "falls by"
        if row["verdict"] == "worse":
            assert said[1] == "rises by"


@PROPERTY
@given(STUDIES)
def test_a_summary_counts_every_setting_and_its_bounds_are_ordered(study):
    for _, row in claims_summary(random_claims(study)).iterrows():
        counts = [row[name] for name in ("better", "worse", "equivalent", "open", "not_measurable")]
        assert sum(counts) == row["settings"]
        assert row["share_ci_low"] <= row["share_low"] <= row["share_high"] <= row["share_ci_high"]
        text = summary_sentence(row)
        assert text.endswith(".")
        assert ("not in most" in text or "not most" in text) == (row["verdict"] == "contradicted")


def test_undecided_settings_count_either_way():
    """5 better and 7 open of 12: the share is 42% or more, and not "in most" because 5 of 5 decided are better."""
    row: dict[str, object] = {"claim": "lowering_beta", "criterion": "distortion_nats", "dataset": "d", "split": "s"}
    row |= {"difference_nats": 3.0, "margin_nats": 2.0, "seeds": 3, "look": 1, "looks": 1, "reason": ""}
    found = pd.DataFrame([{**row, "verdict": word} for word in ["better"] * 5 + ["open"] * 7])
    summary = claims_summary(found).iloc[0]
    assert (summary["share_low"], summary["share_high"]) == (pytest.approx(5 / 12), 1.0)
    assert summary["verdict"] == "open"


@pytest.mark.parametrize(
    ("value", "text"), [(3.14159, "3.1"), (-0.456, "\u22120.46"), (-0.001, "0.00"), (float("nan"), "\u2013")]
)
def test_nats_are_written_with_a_real_minus_and_none_before_0(value, text):
    assert nats(value) == text
