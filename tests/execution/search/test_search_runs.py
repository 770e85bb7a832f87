"""Searches that really train: into the table, killed and gone on with, beside grids, on Ray, and reported."""

import itertools
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rdstudy
from tests.command import refused, values
from tests.execution.ray_tune.kill_and_resume import Runs, kill_all

STUDY = """
name: sought
dataset: {{name: images, path: {folder}/images.npz}}
grid: {{split: [random], depth: [1, 2], width: [16], latent_dim: [3], train_size: [100], seed: {{count: 9}}}}
training: {{steps: {steps}, batch_size: 20}}
evaluation: {{steps: [{steps}], mutual_information: {{at: never}}, nll: {{at: never}}, num_images: 0}}
resources: {{pack_size: 3, checkpoint_seconds: 0.2}}
search: {{goal: best_beta, beta: {{low: 0.01, high: 5}}, batch: 8, stop_when: {{cells: 28}}}}
"""
GRID = "grid: {split: [random], beta: [0.01, 0.1, 5], depth: [1, 2], width: [16], latent_dim: [3], train_size: [100]}"


def write(folder: Path, steps: int = 40) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (160, 8, 8), dtype=np.uint8)
    np.savez(folder / "images.npz", allow_pickle=False, images=images)
    path = folder / "sought.yaml"
    path.write_text(STUDY.format(folder=folder, steps=steps))
    return path


def write_grid(folder: Path) -> Path:
    lines = (folder / "sought.yaml").read_text().splitlines()
    path = folder / "grid.yaml"
    kept = [GRID if line.startswith("grid:") else line for line in lines if not line.startswith("search:")]
    path.write_text("\n".join(kept).replace("name: sought", "name: gridded"))
    return path


def test_a_search_trains_what_it_chooses_and_says_why_it_ended(command, tmp_path):
    study, results = write(tmp_path), tmp_path / "results"
    ended = command("run", study, "--results", results, "--no-ray")
    assert ended.code == 0, ended.err
    assert "the search has ended: search.stop_when.cells: 28 cells are trained" in ended.out
    table = rdstudy.load_measurements(results)
    assert table["cell_id"].nunique() == 28
    again = command("run", study, "--results", results, "--no-ray")
    assert "all 28 cells are finished; nothing to train" in again.out
    status = command("status", results)
    assert status.code == 0
    assert "95% interval" in status.out
    assert "depth 2" in status.out
    plan = command("plan", study, "--results", results, "--set", "search.stop_when.cells=40")
    assert plan.code == 0
    assert "28 finished, 4 missing" in plan.out, "the last batch is filled up"
    more = command("run", study, "--results", results, "--no-ray", "--set", "search.stop_when.cells=40")
    assert more.code == 0
    assert rdstudy.load_measurements(results)["cell_id"].nunique() == 40
    assert command("report", results, "--format", "html,md").code == 0
    page = (results / "report" / "index.html").read_text()
    for words in ("The search", "estimates", "The search ended by search.stop_when.cells"):
        assert words in page
    tried = pd.read_parquet(results / "report" / "analyses" / "search_tried.parquet")
    assert tried["cell_id"].nunique() == 40
    assert "figures/search" in (results / "report" / "index.md").read_text()


def test_a_frontier_is_searched_and_reported(command, tmp_path):
    study, results = write(tmp_path), tmp_path / "results"
    frontier = (
        "search={goal: frontier, batch: 8, stop_when: {cells: 24}, "
        "space: {beta: {low: 0.01, high: 5}, width: [8, 16], learning_rate: {low: 0.0003, high: 0.01}}}"
    )
    one = "grid={split: [random], depth: [1], latent_dim: [3], train_size: [100], seed: {count: 9}}"
    ended = command("run", study, "--results", results, "--no-ray", "--set", frontier, "--set", one)
    assert ended.code == 0, ended.err
    assert "hypervolume, nats^2" in ended.out
    table = rdstudy.load_measurements(results)
    assert table["cell_id"].nunique() == 24
    assert table["learning_rate"].nunique() > 6
    assert command("report", results).code == 0
    assert "What moves the frontier" in (results / "report" / "index.html").read_text()


def test_cells_of_a_grid_and_of_a_search_are_one_another_s(command, tmp_path):
    study, results = write(tmp_path), tmp_path / "results"
    grid = write_grid(tmp_path)
    assert command("run", grid, "--results", results, "--no-ray").code == 0
    before = rdstudy.load_measurements(results)
    assert before["cell_id"].nunique() == 6
    ended = command("run", study, "--results", results, "--no-ray")
    assert ended.code == 0, ended.err
    table = rdstudy.load_measurements(results)
    assert table["cell_id"].nunique() == 28, "the grid's six among them"
    assert not table.duplicated(["cell_id", "step", "population", "evaluation_id"]).any()
    sought = table[~table["cell_id"].isin(before["cell_id"])].iloc[0]
    point = {name: f"grid.{name}=[{sought[name]}]" for name in ("beta", "seed", "depth")}
    options = [part for setting in point.values() for part in ("--set", setting)]
    assert "1 cells, 1 finished, 0 missing" in command("plan", grid, "--results", results, *options).out


def test_looking_at_a_search_leaves_its_record_in_the_storage_alone(command, tmp_path):
    import optuna

    study, results, url = write(tmp_path), tmp_path / "results", f"sqlite:///{tmp_path / 'optuna.db'}"
    stored = ("--set", f"search.storage={url}")
    small = ("--set", "search.stop_when.cells=8")
    assert command("run", study, "--results", results, "--no-ray", *small, *stored).code == 0
    before = [each.datetime_start for each in optuna.get_all_study_summaries(url)]
    for look in (("status", results), ("plan", study, "--results", results, *stored), ("report", results)):
        assert command(*look).code == 0
    assert [each.datetime_start for each in optuna.get_all_study_summaries(url)] == before


def test_a_record_that_is_damaged_is_named(command, tmp_path):
    study, results = write(tmp_path), tmp_path / "results"
    assert command("run", study, "--results", results, "--no-ray", "--set", "search.stop_when.cells=8").code == 0
    (results / "search.json").write_text("{")
    refused(command("run", study, "--results", results, "--no-ray"), "search.json: cannot be read", "remove it")


@pytest.mark.slow
def test_a_search_killed_at_random_moments_has_the_cells_and_values_of_an_uninterrupted_one(tmp_path):
    study = write(tmp_path, steps=600)
    whole, killed = Runs(study, tmp_path / "whole", tmp_path), Runs(study, tmp_path / "killed", tmp_path)
    code, said = whole.finish("--no-ray")
    assert code == 0, said
    rng = random.Random(1)
    for attempt in itertools.count():
        process = killed.start()
        end = time.monotonic() + rng.uniform(7, 15)
        if attempt == 2:
            said, _ = process.communicate(timeout=300)
            assert process.returncode == 0, said
            break
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        kill_all(process)
    pd.testing.assert_frame_equal(values(killed.results), values(whole.results), check_exact=True)
