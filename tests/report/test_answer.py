"""The plain answer at the top of the page, and what it may speak about."""

import pandas as pd

from rdstudy.analysis.search_tables import SearchTables
from rdstudy.report import Analyses
from rdstudy.report.answer import answer
from rdstudy.report.content import content_of
from rdstudy.report.tables import tables
from tests.analysis.synthetic import Planted, falling, study_table, u_shaped

BETAS = (5.0, 1.0, 0.3, 0.1, 0.01)
ONE = [Planted(u_shaped(best=0.3), saturates_at=0.5)]


def test_the_answer_has_three_to_five_lines_and_names_the_planted_best_beta():
    lines = answer(Analyses.of(study_table(ONE, betas=BETAS)))
    assert 3 <= len(lines) <= 5
    assert "lowest at beta = 0.3 " in lines[0]


def test_one_beta_gives_its_numbers_and_no_claims():
    analyses = Analyses.of(study_table(ONE, betas=(1.0,), seeds=3))
    assert answer(analyses)[0].startswith("Beta = 1: test distortion")
    content = content_of(analyses, {}, name="x", rendered=[])
    assert not content.claims
    assert not content.asks_the_paper


def test_a_study_of_own_images_makes_no_claims_about_the_paper():
    own = study_table([Planted(u_shaped(best=0.3), dataset="images")], betas=BETAS, seeds=3)
    named = study_table(ONE, betas=BETAS, seeds=3)
    asked = [content_of(Analyses.of(table), {}, name="x", rendered=[]).asks_the_paper for table in (own, named)]
    assert asked == [False, True]


def test_points_whose_convergence_is_undecided_are_counted():
    analyses = Analyses.of(study_table(ONE, betas=BETAS, seeds=1))
    assert (analyses.convergence["converged"] == "undecided").all()
    assert f"undecided at {len(BETAS)}" in " ".join(answer(analyses))


def test_an_unreliable_nll_is_marked_in_the_table_of_points_and_counted_in_the_answer():
    table = study_table(ONE, betas=BETAS, seeds=3)
    table["nll_unreliable_share"] = (table["beta"] == 0.01) * 0.4
    analyses = Analyses.of(table)
    assert set(analyses.frontier.loc[analyses.frontier["nll_unreliable"], "beta"]) == {0.01}
    assert "unreliable at 2 of 10 points" in " ".join(answer(analyses))
    [points] = [shown for shown in tables(analyses) if shown.name == "frontier"]
    marked = [row[list(points.header).index("NLL")].startswith("~ ") for row in points.rows]
    assert marked == (analyses.frontier["beta"] == 0.01).tolist()


def test_the_answer_of_a_search_opens_with_the_beta_it_found_and_its_interval():
    tried = pd.DataFrame({"cell_id": ["x"], "stopped": [False], "beta": [1.0], "value": [80.0]})
    estimates = pd.DataFrame({"beta": [0.31], "beta_low": [0.2], "beta_high": [0.5], "n_cells": [9]})
    search = SearchTables(tried, estimates, pd.DataFrame(), pd.DataFrame(), "test_distortion", None)
    analyses = Analyses.of(study_table(ONE, betas=BETAS, seeds=3), search=search)
    lines = answer(analyses)
    assert "0.31 (95% interval 0.5 to 0.2)" in lines[0]
    assert len(lines) <= 5


def test_a_study_of_which_more_seeds_are_planned_is_judged_at_the_looks_of_its_plan():
    """3 of 20 seeds: the same numbers decide where 3 were planned, and seldom where 17 more will be looked at."""
    settings = [Planted(falling(height=12.0)), Planted(falling(height=12.0), depth=3)]
    table = study_table(settings, betas=BETAS, seeds=3, noise=0.4, mi=False, nll=False)
    planned = pd.DataFrame({"cell_id": [f"{k}" for k in range(20)], "seed": range(20)})
    early, whole = Analyses.of(table, planned=planned), Analyses.of(table, planned=planned.head(3))
    for found in (early.claims, early.capacity):
        judged = found[found["verdict"] != "not_measurable"]
        assert set(zip(judged["look"], judged["looks"], strict=True)) == {(1, 4)}
    asked = "claim == 'lowering_beta' and criterion == 'distortion_nats'"
    assert set(whole.claims.query(asked)["verdict"]) == {"better"}
    assert set(early.claims.query(asked)["verdict"]) == {"open"}
