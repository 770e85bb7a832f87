"""The tables kept in the repository name cells and evaluations by ids that their studies must still give."""

import json
from pathlib import Path

import pytest

from rdstudy.storage.parts import read_parts
from rdstudy.storage.paths import storage_path
from rdstudy.storage.study_record import recorded_study

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
FOLDERS = sorted(path.parent for path in REFERENCE.glob("*/study.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_id_of_a_kept_table_follows_from_the_settings_beside_it(folder):
    study = recorded_study(storage_path(folder))
    rows = read_parts(
        storage_path(folder) / "measurements", ["cell_id", "evaluation_id", "learning_rate", "beta", "likelihood"]
    )
    assert set(rows["cell_id"].unique().to_pylist()) == set(study.cells)
    assert study.evaluation.evaluation_id in rows["evaluation_id"].unique().to_pylist()
    for row in rows.to_pylist():
        cell = study.cells[row["cell_id"]]
        assert (cell.beta, cell.learning_rate) == (row["beta"], row["learning_rate"])
        assert row["likelihood"] == cell.likelihood == "bernoulli"  # the column came after these tables
    assert json.loads((folder / "study.json").read_text())["n_cells"] == study.n_cells
