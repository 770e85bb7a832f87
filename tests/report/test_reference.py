"""The committed reference studies: whole, without contradiction, drawn again from their tables, and quoted rightly."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import rdstudy
from rdstudy.data.loading import load_dataset
from rdstudy.execution.status import study_status
from rdstudy.execution.verify import Recorded, compare, contradictions, draw_cells, train_again
from rdstudy.storage.study_record import load_study_record, recorded_fingerprints, recorded_study
from rdstudy.study import load_study
from rdstudy.study.examples import packaged_studies
from tests.command import contents

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
FOLDERS = {
    "quickstart": REFERENCE / "quickstart",
    "reference_digits": REFERENCE / "digits",
    "reference": REFERENCE / "tetrominoes",
    "reference_mnist": REFERENCE / "mnist",
    "priors": REFERENCE / "priors",
}
"""By the name of their study file."""
KEPT = (".png", ".md", ".parquet")
"""Of a report; the rest says the same."""
WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "ray"):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Absent())
from rdstudy.cli import main
main(sys.argv[1:])
"""


UNTRACKED_BESIDE = ("tetrominoes", "mnist", "priors")
"""Made while other files, results or images, were in the checkout, not committed: some of their rows say dirty."""


def trained_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows written in training, without those of later measurements."""
    first = table.sort_values("finished_at")["evaluation_id"].iloc[0]
    found: pd.DataFrame = table[table["evaluation_id"] == first]
    return found


@pytest.mark.parametrize("name", FOLDERS)
def test_the_table_is_that_of_the_study_file_and_every_cell_is_in_it_once(name):
    recorded = recorded_study(FOLDERS[name])
    study = load_study(packaged_studies()[name]).of_numerics(recorded.numerics)
    assert study.cells.keys() == recorded.cells.keys()
    assert study.evaluation == recorded.evaluation
    now = study_status(study, FOLDERS[name])
    assert not now.missing
    assert not now.failed
    table = rdstudy.load_measurements(FOLDERS[name])  # refuses a row that is there twice
    assert set(table["cell_id"]) == study.cells.keys()
    assert trained_rows(table)["git_commit"].nunique(dropna=False) == 1
    beside = FOLDERS[name].name in UNTRACKED_BESIDE
    assert beside or not table["git_dirty"].fillna(False).any()


@pytest.mark.parametrize("name", FOLDERS)
def test_no_row_contradicts_itself(name):
    [recorded] = Recorded.within(FOLDERS[name])
    assert contradictions(recorded) == []


@pytest.fixture(scope="session")
def redrawn(tmp_path_factory):
    """The quickstart's results with their report drawn again, without torch and Ray."""
    copy = tmp_path_factory.mktemp("redrawn") / "copy"
    shutil.copytree(FOLDERS["quickstart"], copy, ignore=shutil.ignore_patterns("report"))
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "report", str(copy), "--format", "html,md"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended
    return copy


def test_the_report_is_drawn_again_without_torch_and_ray_and_is_the_committed_one(redrawn):
    """What the figures show, as Parquet, to the last digits; and the pictures themselves, but for their edges."""
    there, copy = FOLDERS["quickstart"], redrawn
    committed, drawn = (
        {path.relative_to(folder / "report") for path in contents(folder / "report") if path.suffix in KEPT}
        for folder in (there, copy)
    )
    assert committed == drawn
    for path in sorted(drawn):
        a, b = there / "report" / path, copy / "report" / path
        if path.suffix == ".parquet":
            pd.testing.assert_frame_equal(pd.read_parquet(a), pd.read_parquet(b), rtol=1e-9, atol=1e-9)
        elif path.suffix == ".png":
            one, two = matplotlib.image.imread(a), matplotlib.image.imread(b)
            assert one.shape == two.shape, path
            assert np.abs(one - two).mean() < 0.01, path
    words = (there / "report" / "index.md").read_text().partition("## Provenance")[0]
    assert words == (copy / "report" / "index.md").read_text().partition("## Provenance")[0]


@pytest.mark.slow
def test_cells_trained_again_agree_with_the_committed_ones():
    """On any machine: to the bit where it is as the one that made the table, within rounding elsewhere.

    Of the smallest study; the others' cells, and MNIST's images, are for `rdstudy verify`.
    """
    recorded = Recorded.within(FOLDERS["quickstart"])
    for one, cells in draw_cells(recorded, 2, 4):
        for verified in compare(one, train_again(one, cells, lambda packs: nullcontext()), cells):
            assert not verified.wrong, verified
            assert not verified.unjudged


@pytest.mark.parametrize("name", FOLDERS)
def test_where_the_table_comes_from_is_said_as_the_table_has_it(name):
    found = re.search(
        r"<!-- reference -->\n(.*?)<!-- /reference -->", (ROOT / "results/README.md").read_text(), re.DOTALL
    )
    assert found
    [line] = [line for line in found.group(1).splitlines() if f"studies/{name}.yaml" in line]
    everything = rdstudy.load_measurements(FOLDERS[name])
    table = trained_rows(everything)
    commit = table["git_commit"].iloc[0]
    hours = table.groupby("pack_id")["seconds"].max().sum() / 3600
    for said in (
        *(
            f"`{FOLDERS[name].name}/`",
            commit[:12] if isinstance(commit, str) else "",
            f"{table['finished_at'].max():%Y-%m-%d}",
        ),
        *(f"{table['cell_id'].nunique()} |", f"{len(everything):,} |", f"{hours:.1f} |"),
    ):
        assert said in line, said
    for column in ("torch_version", "device"):
        [value] = table[column].unique()
        assert value in found.group(1), column


def test_the_digits_are_those_that_ship_with_scikit_learn(tmp_path):
    """Made as the study file says."""
    digits = load_digits()
    images = (digits.images * 255 / 16).round().astype("uint8")
    np.savez(tmp_path / "digits.npz", images=images, labels=digits.target)
    made = load_dataset("images", path=tmp_path / "digits.npz")
    record = load_study_record(FOLDERS["reference_digits"])
    assert set(recorded_fingerprints(record).values()) == {made.fingerprint}
