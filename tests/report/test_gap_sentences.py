"""The sentences on the gap's parts agree with their tables, and the page shows them where there are refits."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdstudy.analysis.gap_parts import gap_changes
from rdstudy.report import Analyses, figures
from rdstudy.report.answer import answer
from rdstudy.report.claim_articles import claim_articles
from rdstudy.report.gap_sentences import GAP_QUESTION, gap_answer, gap_verdict, part_sentence, unconverged_sentence
from tests.analysis.synthetic import Planted, study_table
from tests.analysis.test_gap_parts import BETAS, refitted
from tests.report.test_sentences import NUMBER, number


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.floats(-1, 1.3))
def test_the_answer_counts_every_setting_once_and_the_sizes_are_those_of_the_table(seed, seeds, number_, noise):
    generator = np.random.default_rng(seed)
    made = study_table([Planted(width=64 * (k + 1)) for k in range(number_)], betas=BETAS, seeds=seeds)
    encoder, decoder = (dict(zip(BETAS, generator.normal(0, 6, len(BETAS)), strict=True)) for _ in range(2))
    changes = gap_changes(refitted(made, encoder, decoder, noise=10**noise, generator=generator))
    text = gap_answer(changes)
    assert text.count(f"of {number_} setting{'' if number_ == 1 else 's'}") == 1
    for part in ("encoder", "decoder"):
        counts = changes.loc[changes["part"] == part, "verdict"].value_counts()
        said = re.search(rf"the {part}'s in (\d+)(?: \((.*?)\))?", text)
        assert said is not None, text
        assert int(said[1]) == counts.get("worse", 0) + counts.get("better", 0)
        for verdict, words in (("equivalent", "equal within 2 nats"), ("open", "open")):
            there = re.search(rf"{words} in (\d+)", said[2] or "")
            assert (int(there[1]) if there else 0) == counts.get(verdict, 0)
    excess = changes.loc[changes["part"] == "encoder minus decoder", "verdict"]
    for part, verdict in (("encoder", "worse"), ("decoder", "better")):
        more = re.search(rf"the {part}'s widens by more in (\d+)", text)
        assert (int(more[1]) if more else 0) == (excess == verdict).sum()

    for name, rows in changes.groupby("part"):
        text = part_sentence(changes, str(name))
        sizes = re.search(rf": \+?{NUMBER}(?: to \+?{NUMBER})? nats\.$", text)
        assert sizes is not None, text
        known = rows["difference_nats"]
        assert number(sizes[1]) == pytest.approx(known.min(), abs=0.05 + 1e-9)
        assert number(sizes[2] or sizes[1]) == pytest.approx(known.max(), abs=0.05 + 1e-9)
        for verdict, group in rows.groupby(rows.apply(gap_verdict, axis=1)):
            assert f"{verdict} in {len(group)}" in text


def test_the_page_asks_whose_generalization_where_there_are_refits_and_only_there():
    made = study_table([Planted()], betas=BETAS, seeds=5)
    table = refitted(made, {1.0: 1.0, 0.1: 5.0, 0.001: 30.0}, dict.fromkeys(BETAS, 2.0))
    with_refits, without = Analyses.of(table), Analyses.of(made)
    said = gap_answer(with_refits.gap_changes)
    assert "the encoder's in 1 and the decoder's in 0 (equal within 2 nats in 1) of 1 setting" in said
    assert "the encoder's widens by more in 1" in said
    assert any(said in line for line in answer(with_refits))
    assert not any("encoder" in line for line in answer(without))
    assert GAP_QUESTION in [claim.statement for claim in claim_articles(with_refits)]
    assert GAP_QUESTION not in [claim.statement for claim in claim_articles(without)]
    assert unconverged_sentence(with_refits) == ""
    late = table.assign(refit_change_nats=np.where(table["beta"] == 0.1, 5.0, 0.0))
    assert unconverged_sentence(Analyses.of(late)).startswith("At 1 of 3 points")


def test_the_figure_draws_both_parts_and_their_sum_as_they_are_given():
    made = study_table([Planted()], betas=BETAS, seeds=5)
    record = Analyses.of(refitted(made, {1.0: 1.0, 0.1: 5.0, 0.001: 30.0}, dict.fromkeys(BETAS, 2.0))).gap_parts
    axes = figures.gap_parts(record).axes[0]
    ordered = record.sort_values("beta")
    for name in ("encoder_nats", "decoder_nats", "gap_nats"):
        drawn = [line for line in axes.lines if np.array_equal(line.get_ydata(), ordered[name].to_numpy())]
        assert len(drawn) == 1
