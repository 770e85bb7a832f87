"""What the page says of data seeds, and of the examples that a beta was chosen on."""

import pandas as pd

from rdstudy.report import Analyses
from rdstudy.report.answer import answer
from rdstudy.report.content import content_of
from tests.analysis.synthetic import Planted, study_table, u_shaped

BETAS = (1.0, 0.3, 0.1)


def table(data_seeds: int = 1, *, validation: bool = False) -> pd.DataFrame:
    parts = []
    for k in range(data_seeds):
        part = study_table([Planted(u_shaped(best=0.3))], betas=BETAS, seeds=2)
        parts.append(part.assign(data_seed=k, cell_id=f"{k}-" + part["cell_id"]))
    found = pd.concat(parts, ignore_index=True)
    if not validation:
        return found
    held = found[found["population"] == "test"].assign(population="validation")
    return pd.concat([found, held], ignore_index=True)


def notices(found: pd.DataFrame) -> str:
    return " ".join(content_of(Analyses.of(found), {}, name="x", rendered=[]).notices)


def test_the_page_says_that_data_seeds_are_the_replicates():
    assert "The replicates are the 3 data seeds" in notices(table(3))
    assert "data seed" not in notices(table())
    assert "No setting has more than 2 data seeds" in notices(table(2))


def test_the_answer_says_which_examples_the_beta_was_chosen_on():
    same, other = (" ".join(answer(Analyses.of(table(validation=validation)))) for validation in (False, True))
    assert same.count("chosen on the same test examples that it is judged on") == 1
    assert other.count("chosen on the validation examples and is judged on the test examples") == 1
    assert "Validation distortion is lowest at beta = 0.3, where test distortion is" in other


def test_where_no_beta_is_chosen_nothing_is_said_of_it():
    one = study_table([Planted()], betas=(1.0,), seeds=3)
    assert "chosen" not in " ".join(answer(Analyses.of(one)))
