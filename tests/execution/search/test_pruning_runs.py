"""Searches that stop hopeless cells while they really train: marked, left out, and the same however interrupted."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rdstudy
from rdstudy.analysis import final_measurements, frontier, learning
from rdstudy.execution import pack_run
from rdstudy.execution.status import study_status
from rdstudy.storage.study_record import recorded_study
from rdstudy.training.trainer import PackTrainer
from tests.command import refused, values
from tests.execution.ray_tune.kill_and_resume import Runs

STUDY = """
name: sought
dataset: {{name: images, path: {folder}/images.npz}}
grid: {{split: [random], depth: [1], width: [16], latent_dim: [3], train_size: [100], seed: {{count: 9}}}}
training: {{steps: 70, batch_size: 20}}
evaluation: {{steps: [15, 30, 50, 70], mutual_information: {{at: never}}, nll: {{at: never}}, num_images: 0}}
resources: {{pack_size: 3, checkpoint_seconds: 0.000001}}
search:
  {{goal: best_beta, beta: {{low: 0.01, high: 5}}, batch: 8, stop_when: {{cells: 24}}, pruner: {{hopeless: true}}}}
"""
GRID = "grid: {{split: [random], beta: [{beta}], width: [16], latent_dim: [3], train_size: [100], seed: [{seed}]}}"


def write(folder: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (160, 8, 8), dtype=np.uint8)
    np.savez(folder / "images.npz", allow_pickle=False, images=images)
    path = folder / "sought.yaml"
    path.write_text(STUDY.format(folder=folder))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Runs:
    """One such search, run in one process without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    runs = Runs(write(folder), folder / "results", folder)
    code, said = runs.finish("--no-ray")
    assert code == 0, said
    runs.log.append(said)
    return runs


@pytest.fixture
def copied(whole, tmp_path) -> Runs:
    """A copy of it that may be changed."""
    shutil.copytree(whole.results, tmp_path / "copied")
    return Runs(whole.study, tmp_path / "copied", tmp_path)


def stopped_in(results: Path) -> set[str]:
    table = rdstudy.load_measurements(results, columns=["cell_id", "status"])
    return set(table.loc[table["status"] == "stopped", "cell_id"])


def test_a_stopped_cell_is_in_the_table_once_and_says_so_in_every_row(whole):
    table = rdstudy.load_measurements(whole.results)
    stopped = stopped_in(whole.results)
    assert 0 < len(stopped) <= 16, "nothing is known of the first batch"
    assert table["cell_id"].nunique() == 24
    assert not table.duplicated(["cell_id", "step", "population", "evaluation_id"]).any()
    rows = table[table["cell_id"].isin(stopped)]
    assert set(rows["status"]) == {"stopped"}
    assert rows["message"].str.contains("above .* halfway between the best and the worst of").all()
    assert set(rows.loc[rows["is_final"], "step"]) == {70}
    assert rows.loc[rows["is_final"], "distortion_nats"].isna().all()
    assert rows.loc[~rows["is_final"], "distortion_nats"].notna().all()
    parts = {path.name for path in (whole.results / "measurements").glob("stopped-*")}
    assert parts == {f"stopped-{cell_id}.parquet" for cell_id in stopped}
    assert not list((whole.results / "staging").iterdir())
    assert not list((whole.results / "checkpoints").glob("*/*"))


def test_a_stopped_cell_is_in_no_analysis(whole):
    table = rdstudy.load_measurements(whole.results)
    stopped = stopped_in(whole.results)
    fine = table[~table["cell_id"].isin(stopped)]
    assert not set(final_measurements(table)["cell_id"]) & stopped
    for analysis in (frontier, learning):
        pd.testing.assert_frame_equal(analysis(table), analysis(fine))


def test_what_was_stopped_is_said_by_every_command(whole, command):
    results, stopped = whole.results, stopped_in(whole.results)
    n = len(stopped)
    status = command("status", results)
    assert status.code == 0
    assert f"24 cells so far, {24 - n} finished, {n} stopped early, 0 missing" in status.out
    assert "unfinished pack" not in status.out
    document = json.loads(command("status", results, "--json").out)
    assert set(document["stopped_early"]) == stopped
    assert all(message.startswith("stopped at step ") for message in document["stopped_early"].values())
    again = command("run", whole.study, "--results", results, "--no-ray")
    assert f"all 24 cells are finished or stopped early ({n}); nothing to train" in again.out
    listed = json.loads(command("ls", results, "--status", "stopped", "--json").out)["cells"]
    assert {cell["cell_id"] for cell in listed} == stopped
    assert all(cell["test_distortion_nats"] is None for cell in listed)
    one = command("show", results, min(stopped))
    assert f"cell {min(stopped)} of sought: stopped" in one.out
    assert "stopped at step " in one.out
    assert "at 2 steps from 15 to 30" in one.out or "at 3 steps from 15 to 50" in one.out, "not at its final one"
    assert f"24/24 cells, {n} stopped, " in whole.log[0]


def test_a_report_says_how_many_were_stopped_and_leaves_them_out(copied, command):
    stopped = stopped_in(copied.results)
    assert command("report", copied.results, "--format", "html,md").code == 0
    folder = copied.results / "report"
    for page in ("index.html", "index.md"):
        text = (folder / page).read_text()
        assert f"{len(stopped)} cells were stopped early because they could not become the best" in text
        assert f"{24 - len(stopped)} of 24 cells finished; {len(stopped)} stopped early." in text
        assert "What is missing" not in text
        assert "still running" not in text
    tried = pd.read_parquet(folder / "analyses" / "search_tried.parquet")
    assert set(tried.loc[tried["stopped"], "cell_id"]) == stopped
    assert tried["value"].notna().all(), "of a stopped cell the last value"
    points = pd.read_parquet(folder / "analyses" / "frontier.parquet")
    fine = tried[~tried["stopped"]]
    assert points["n_seeds"].sum() == 2 * len(fine)


def test_an_export_has_the_curves_of_a_stopped_cell_and_no_final_values(whole, command, tmp_path):
    from rdstudy.report.export.runs import runs_of

    study = recorded_study(whole.results)
    runs = {run.cell_id: run for run in runs_of(study_status(study, whole.results).cells, whole.results)}
    for cell_id in stopped_in(whole.results):
        assert runs[cell_id].status == "stopped"
        assert {point.step for point in runs[cell_id].points} <= {15, 30, 50}
        assert runs[cell_id].points
        assert runs[cell_id].final == {}


def test_a_search_interrupted_at_any_moments_stops_the_same_cells(whole, command, tmp_path, monkeypatch):
    calls = 0

    def interrupt(self, until):
        nonlocal calls
        calls += 1
        if calls % 7 == 0:
            signal.raise_signal(signal.SIGINT)
        PackTrainer.advance(self, until)

    results = tmp_path / "interrupted"
    with monkeypatch.context() as interrupted:
        interrupted.setattr(pack_run, "PackTrainer", type("Interrupted", (PackTrainer,), {"advance": interrupt}))
        codes: list[int] = []
        while not codes or codes[-1] == 130:
            codes.append(command("run", whole.study, "--results", results, "--no-ray").code)
            assert len(codes) < 20
    assert codes[-1] == 0
    assert len(codes) > 3
    pd.testing.assert_frame_equal(values(results), values(whole.results), check_exact=True)
    assert not list((results / "checkpoints").glob("*/*"))


def test_a_grid_trains_a_stopped_cell_in_full_and_the_search_goes_its_own_way(copied, command, tmp_path):
    before, stopped = values(copied.results), stopped_in(copied.results)
    row = before[before["cell_id"] == min(stopped)].iloc[0]
    lines = copied.study.read_text().partition("search:")[0].splitlines()
    grid = tmp_path / "grid.yaml"
    kept = [GRID.format(beta=row["beta"], seed=row["seed"]) if line.startswith("grid:") else line for line in lines]
    grid.write_text("\n".join(kept).replace("name: sought", "name: gridded"))
    assert "1 cells, 0 finished, 1 missing" in command("plan", grid, "--results", copied.results).out
    assert command("run", grid, "--results", copied.results, "--no-ray").code == 0
    after = values(copied.results)
    mine = after[after["cell_id"] == min(stopped)]
    assert set(mine["status"]) == {"ok"}
    assert len(mine) == 2 * 4
    assert stopped_in(copied.results) == stopped - {min(stopped)}
    others, expected = (frame[frame["cell_id"] != min(stopped)].reset_index(drop=True) for frame in (after, before))
    pd.testing.assert_frame_equal(others, expected)
    again = command("run", copied.study, "--results", copied.results, "--no-ray")
    assert "nothing to train" in again.out, "it would have stopped the cell there, and goes on from that"


def test_a_search_that_stops_none_trains_in_full_what_another_stopped(whole, command, tmp_path):
    short = ("--no-ray", "--set", "search.pruner=null", "--set", "search.stop_when.cells=16")
    fresh, after = tmp_path / "fresh", tmp_path / "after"
    assert command("run", whole.study, "--results", fresh, *short).code == 0
    table = values(fresh)
    both = stopped_in(whole.results) & set(table["cell_id"])
    assert both, "the second batch is the same"
    (after / "measurements").mkdir(parents=True)
    for cell_id in both:
        shutil.copy(whole.results / "measurements" / f"stopped-{cell_id}.parquet", after / "measurements")
    assert stopped_in(after) == both
    assert command("run", whole.study, "--results", after, *short).code == 0
    assert set(table["status"]) == {"ok"}
    pd.testing.assert_frame_equal(values(after), table, check_exact=True)


def test_a_study_that_measures_once_cannot_stop_cells(whole, command):
    once = command("run", whole.study, "--no-ray", "--set", "evaluation.steps=[70]")
    refused(once, "evaluation.steps: names no step from 18 on and before the last, 70, at which search.pruner could")


@pytest.mark.slow
def test_on_ray_the_same_cells_are_stopped(whole, tmp_path):
    on_ray = Runs(whole.study, tmp_path / "ray", tmp_path)
    code, said = on_ray.finish()
    assert code == 0, said
    pd.testing.assert_frame_equal(values(on_ray.results), values(whole.results), check_exact=True)
