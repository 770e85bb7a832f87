"""What the page says of data seeds, and of the examples that a beta was chosen on."""

import re
from pathlib import Path

import pandas as pd

from rdstudy.report import Analyses
from rdstudy.report.answer import answer
from rdstudy.report.content import content_of
from rdstudy.report.drawings import figure_specs
from tests.analysis.synthetic import Planted, study_table, u_shaped

BETAS = (1.0, 0.3, 0.1)


def table(data_seeds: int = 1, *, validation: bool = False) -> pd.DataFrame:
    parts = []
    for k in range(data_seeds):
        part = study_table([Planted(u_shaped(best=0.3))], betas=BETAS, seeds=2, steps=(10, 100, 1000))
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


def words(found: pd.DataFrame) -> str:
    """Everything that the page says, with the headings of its tables."""
    analyses = Analyses.of(found)
    content = content_of(analyses, {}, name="x", rendered=[])
    told = [*content.notices, *content.answer, content.method]
    for claim in content.claims:
        told += [*claim.sentences, *(part for table in claim.tables for part in (table.note, *table.header))]
    told += [part for table in content.tables for part in (table.note, *table.header)]
    told += [spec.caption for spec in figure_specs(analyses, Path("absent"))]
    return "\n".join(told)


OF_DATA_SEEDS = ("the seeds of each are averaged", "bands span the seeds of all data seeds")
"""Where seeds are meant although data seeds are the replicates."""


def test_where_data_seeds_are_counted_no_sentence_caption_or_heading_says_seeds():
    said = words(table(4))
    for kept in OF_DATA_SEEDS:
        assert kept in said
        said = said.replace(kept, "")
    assert "; 4 data seeds." in said
    assert "\ndata seeds" in said
    assert not re.findall(r".{30}(?<!data )\bseeds?\b.{10}", said)
    assert "data seed" not in words(table())


def test_data_sets_of_which_only_one_has_data_seeds_have_replicates_and_each_sentence_names_its_own():
    one = study_table([Planted(u_shaped(best=0.3), dataset="mnist")], betas=BETAS, seeds=5)
    said = words(pd.concat([table(3), one.assign(cell_id="m" + one["cell_id"])], ignore_index=True))
    assert "The replicates of tetrominoes are the 3 data seeds" in said
    assert "The replicates of mnist are the seeds" in said
    assert "; 3 data seeds." in said
    assert "; 5 seeds." in said
    assert "\nreplicates" in said
