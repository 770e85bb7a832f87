"""Measuring finished cells again: rows are added under the same rules, and none is touched."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import rdstudy
from rdstudy.execution import remeasure_pack
from rdstudy.storage import Table
from rdstudy.storage.schema import KEY
from tests.command import contents, refused, values

RESULTS = Path("results/tiny")


class Killed(BaseException):
    """What nobody catches."""


@pytest.fixture
def finished(command, study_file):
    """The tiny study, run; then `rdstudy remeasure` on it: `finished("--mi-draws", 3)`."""
    assert command("run", study_file, "--no-ray").code == 0
    return lambda *options: command("remeasure", RESULTS, "--no-ray", *options)


def parts() -> dict[Path, bytes]:
    return contents(RESULTS / "measurements")


def test_rows_are_added_and_none_is_touched(finished):
    before, table = parts(), values(RESULTS)
    assert finished("--nll-draws", 50).code == 0
    after = parts()
    assert before.items() < after.items()
    both = values(RESULTS)
    assert len(both) == len(table) + 8  # four cells, train and test
    pd.testing.assert_frame_equal(both.merge(table[list(KEY)])[table.columns], table)


def test_measuring_again_gives_the_bits_that_training_with_that_evaluation_gives(finished, command, study_file):
    """Also what the study measured before: same weights, same draws."""
    assert finished("--nll-draws", 50, "--nll-examples", 7).code == 0
    settings = ["--set", "evaluation.mutual_information.at=never", "--set", "evaluation.nll.importance_samples=50"]
    settings += ["--set", "evaluation.nll.examples=7", "--set", "evaluation.information_bounds.at=never"]
    assert command("run", study_file, "--no-ray", "--results", "other", *settings).code == 0
    trained = values(Path("other"))
    trained = trained[trained["is_final"]].reset_index(drop=True)
    again = values(RESULTS)
    again = again[again["evaluation_id"] == trained["evaluation_id"].iloc[0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, trained, check_exact=True)
    assert (again["nll_draws"] == 50).all()
    assert (again["nll_examples"] == 7).all()


def test_only_the_estimate_that_something_is_said_of_is_made(finished):
    for options, made, absent in (
        (("--mi-draws", 2), "mi_nats", "nll_nats"),
        (("--mi-examples", 5), "mi_nats", "nll_nats"),
        (("--nll-draws", 30), "nll_nats", "mi_nats"),
        (("--nll-examples", "all"), "nll_nats", "mi_nats"),
        (("--bounds-examples", 6), "mi_upper_nats", "mi_nats"),
    ):
        before = set(values(RESULTS)["evaluation_id"])
        assert finished(*options).code == 0
        table = values(RESULTS)
        new = table[~table["evaluation_id"].isin(before)]
        assert new[made].notna().all()
        assert new[absent].isna().all()


def test_what_is_measured_already_is_not_measured_again(finished):
    assert "4 cells measured, 0 to measure" in finished().out  # the run measured as the study says
    assert finished("--mi-draws", 2).code == 0
    before = parts()
    ended = finished("--mi-draws", 2)
    assert ended.code == 0
    assert "4 cells measured, 0 to measure" in ended.out
    assert parts() == before


def test_after_an_interruption_the_rest_is_measured_and_nothing_twice(finished, monkeypatch):
    monkeypatch.setattr(remeasure_pack, "STAGE_SECONDS", 0.0)  # a part per cell
    real_commit = Table.commit
    committed: list[Path] = []

    def commit(table, staged):
        if len(committed) == 2:
            raise Killed  # a third part is staged, and not in the table
        committed.append(staged)
        return real_commit(table, staged)

    monkeypatch.setattr(Table, "commit", commit)
    with pytest.raises(Killed):
        finished("--mi-draws", 2)
    monkeypatch.setattr(Table, "commit", real_commit)
    assert len(list((RESULTS / "staging").iterdir())) == 1
    assert finished("--mi-draws", 2).code == 0
    table = values(RESULTS)
    again = table[table["mi_draws"] == 2]
    assert len(again) == 8
    assert not again.duplicated(list(KEY)).any()


def test_a_part_that_two_workers_made_is_taken_once(finished, tmp_path):
    assert finished("--mi-draws", 2).code == 0
    [part] = [path for path in parts() if path.name.startswith("again-")]
    before = parts()
    shutil.copy(part, RESULTS / "staging" / part.name)
    shutil.copy(part, RESULTS / "staging" / "again-other.parquet")
    assert Table(RESULTS).commit_staged() == []
    assert parts() == before


def test_a_cell_without_weights_is_named_and_the_others_are_measured(finished):
    cell_id = next((RESULTS / "models").iterdir()).stem
    (RESULTS / "models" / f"{cell_id}.safetensors").unlink()
    ended = finished("--mi-draws", 2)
    assert ended.code == 1
    assert f"not measured: {cell_id}" in ended.out
    assert values(RESULTS).query("mi_draws == 2")["cell_id"].nunique() == 3


def test_damaged_weights_are_told_and_do_not_stop_the_others(finished):
    path = sorted((RESULTS / "models").iterdir())[1]
    path.write_bytes(path.read_bytes()[:100])
    before = values(RESULTS)
    ended = finished("--mi-draws", 2)
    assert ended.code == 1
    assert f"cell {path.stem} failed: " in ended.out
    assert "not a model of rdstudy" in ended.out
    assert values(RESULTS).query("mi_draws == 2")["cell_id"].nunique() == 3
    assert (values(RESULTS)["status"] == "ok").all()
    assert len(values(RESULTS)) == len(before) + 6


def test_a_diverged_cell_has_nothing_to_measure(command, study_file):
    settings = ["--set", "training.optimizer=sgd", "--set", "training.learning_rate=1e6"]
    assert command("run", study_file, "--no-ray", *settings).code == 0
    assert (rdstudy.load_measurements(RESULTS).query("is_final")["status"] == "diverged").all()
    ended = command("remeasure", RESULTS, "--no-ray", "--mi-draws", 2)
    assert ended.code == 0
    assert "0 cells measured, 0 to measure" in ended.out


def test_the_record_of_the_study_stays(finished):
    before = (RESULTS / "study.json").read_bytes()
    assert finished("--mi-draws", 2).code == 0
    assert (RESULTS / "study.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mi-draws", 0), ["--mi-draws: ", "greater than or equal to 1", "0"]),
        (("--mi-examples", "some"), ["--mi-examples: expected a number of examples, 1 or more, or all; found 'some'"]),
        (("--nll-examples", 0), ["--nll-examples: ", "0"]),
        (("--set", "dataset.root=1"), ["dataset.root", "--set"]),
    ],
)
def test_a_mistake_is_answered_and_nothing_is_changed(finished, options, words):
    before = contents(RESULTS)
    refused(finished(*options), *words)
    assert contents(RESULTS) == before


def test_a_folder_without_results_is_the_users_mistake(command):
    refused(command("remeasure", "nowhere"), "nowhere", "not a results folder")


def test_fit_prior_adds_rows_in_which_only_what_the_prior_changes_is_new(finished, command):
    del finished
    before = values(RESULTS)
    ended = command("fit-prior", RESULTS, "--no-ray", "--prior", "gaussian", "--prior", "flow(1)", "--steps", 30)
    assert ended.code == 0
    added = values(RESULTS)
    added = added[added["ex_post_prior"].notna()]
    assert sorted(added["ex_post_prior"]) == ["flow(1)"] * 8 + ["gaussian"] * 8  # four cells, train and test
    same = ["cell_id", "step", "population", "distortion_nats", "rate_nats", "elbo_nats"]
    own = before.loc[before["is_final"], same]
    for _, rows in added.groupby("ex_post_prior"):
        pd.testing.assert_frame_equal(rows[same].reset_index(drop=True), own.reset_index(drop=True), check_exact=True)
    gain = added["rate_nats"] - added["ex_post_rate_nats"]
    assert gain.to_numpy() == pytest.approx(added["ex_post_gain_nats"].to_numpy())
    best = added[(added["ex_post_prior"] == "gaussian") & (added["population"] == "train")]
    assert (best["ex_post_gain_nats"] >= -1e-9).all()  # no Gaussian fits its own codes better


def test_a_prior_that_cannot_be_fitted_is_refused_and_nothing_is_added(finished, command):
    del finished
    before = parts()
    for options, words in (
        (("--prior", "standard_normal"), "nothing to fit"),
        (("--prior", "vamp"), "no such prior"),
        (("--prior", "gaussian", "--steps", "0"), "--steps"),
    ):
        refused(command("fit-prior", RESULTS, "--no-ray", *options), words)
    assert parts() == before


def test_only_cells_for_which_a_condition_holds_are_measured(finished):
    assert finished("--mi-draws", 2, "--where", "beta=0.1").code == 0
    table = values(RESULTS)
    again = table[table["evaluation_id"] != table["evaluation_id"].mode()[0]]
    assert set(again["beta"]) == {0.1}
    refused(finished("--mi-draws", 2, "--where", "beta=7"), "no cell of this study has it")
