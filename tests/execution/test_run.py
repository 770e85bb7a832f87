import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rdstudy.data.dataset import Dataset, make_dataset
from rdstudy.data.files import TEMPORARY_PREFIX
from rdstudy.errors import UserError
from rdstudy.execution import pack_run
from rdstudy.execution.budget import Budget
from rdstudy.execution.executors import run_in_process
from rdstudy.execution.protocols import PackProgress, RunContext
from rdstudy.execution.results_folder import TableWriter, open_results
from rdstudy.execution.status import study_status
from rdstudy.execution.worker import run_pack
from rdstudy.storage import LockedError, load_measurements
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.schema import PROVENANCE
from rdstudy.storage.study_record import load_study_record, recorded_study
from rdstudy.study import Study
from rdstudy.study.data import StudyData
from rdstudy.training.packs import Pack, plan_packs
from rdstudy.training.trainer import PackTrainer


def run(study: Study, dataset: Dataset, results: Path, *, pack_size: int = 2) -> list[str]:
    """Run a study as `rdstudy run --no-ray` does; the ids of the cells that were trained."""
    trained: list[str] = []

    def listen(pack: Pack, progress: PackProgress) -> None:
        if progress.staged is not None:
            trained.extend(progress.cells)

    with open_results(study, results, {0: dataset.fingerprint}) as table:
        packs = plan_packs(
            study_status(study, results).missing,
            pixels=15,
            pack_size=pack_size,
            kept=Checkpoints(results).begun(),
        )
        at = RunContext(study, StudyData({0: dataset}), results, torch.device("cpu"))
        run_in_process(packs, at, TableWriter(study, results, table, listen), Budget())
    return trained


def values(results: Path) -> pd.DataFrame:
    """The table without provenance and without the study's name."""
    return load_measurements(results).drop(columns=[*PROVENANCE, "study"])


def test_a_study_is_run_once(make_study, dataset, tmp_path):
    study = make_study()
    assert len(study_status(study, tmp_path).missing) == 4
    assert sorted(run(study, dataset, tmp_path)) == sorted(study.cells)
    now = study_status(study, tmp_path)
    assert (now.missing, now.failed, now.finished) == ([], {}, set(study.cells))
    first = load_measurements(tmp_path)
    assert len(first) == 4 * 4 * 2
    assert run(study, dataset, tmp_path) == []
    pd.testing.assert_frame_equal(load_measurements(tmp_path), first)
    assert not list((tmp_path / "staging").iterdir())
    assert not (tmp_path / "checkpoints").exists() or not list((tmp_path / "checkpoints").iterdir())


def test_the_table_does_not_depend_on_the_packs(make_study, dataset, tmp_path):
    for size in (1, 2, 3):
        run(make_study(), dataset, tmp_path / str(size), pack_size=size)
    for size in (2, 3):
        pd.testing.assert_frame_equal(values(tmp_path / "1"), values(tmp_path / str(size)))


def test_extending_the_grid_trains_only_what_is_new(make_study, dataset, tmp_path):
    small, large = make_study(), make_study("grid.beta=[1, 5, 0.1]")
    run(small, dataset, tmp_path)
    before = values(tmp_path)
    new = run(large, dataset, tmp_path)
    assert sorted(new) == sorted(large.cells.keys() - small.cells.keys())
    assert len(new) == 2
    after = values(tmp_path)
    old = after[after["cell_id"].isin(small.cells)].reset_index(drop=True)
    pd.testing.assert_frame_equal(old, before)
    assert recorded_study(tmp_path) == large


def test_a_moved_folder_trains_nothing(make_study, dataset, tmp_path):
    run(make_study(), dataset, tmp_path / "here")
    before = load_measurements(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert run(make_study(), dataset, tmp_path / "there") == []
    pd.testing.assert_frame_equal(load_measurements(tmp_path / "there"), before)


def test_a_study_of_another_name_finds_its_cells_finished(make_study, dataset, tmp_path):
    run(make_study(), dataset, tmp_path)
    assert run(make_study("name=another"), dataset, tmp_path) == []


def test_other_data_is_refused_and_nothing_is_changed(make_study, dataset, tmp_path):
    run(make_study("grid.seed=[0]"), dataset, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"}
    pixels = np.array(dataset.images)
    pixels[0, 0] += 1
    changed = make_dataset("images", pixels, dataset.shape)
    with pytest.raises(UserError, match="was made from other data"):
        run(make_study(), changed, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"}


def test_a_second_run_is_refused_while_the_first_is_at_work(make_study, dataset, tmp_path):
    with (
        open_results(make_study(), tmp_path, {0: dataset.fingerprint}),
        pytest.raises(LockedError, match="is being written by process"),
    ):
        run(make_study(), dataset, tmp_path)


def test_what_a_dead_run_left_is_tidied_and_taken_over(make_study, dataset, tmp_path):
    """It staged a pack that it never committed, and was writing other files when it died."""
    study = make_study()
    at = RunContext(study, StudyData({0: dataset}), tmp_path, torch.device("cpu"))
    staged = list(run_pack(Pack(tuple(study.cells.values())[:2]), at))[-1]
    assert study_status(study, tmp_path).finished == set()
    leftovers = [
        tmp_path / folder / f"{TEMPORARY_PREFIX}0" for folder in ("measurements", "staging", "models", "sheets", ".")
    ]
    for leftover in leftovers:
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_bytes(b"half")
    with open_results(study, tmp_path, {0: dataset.fingerprint}) as table:
        assert table.finished == set(staged.cells)
    assert study_status(study, tmp_path).finished == set(staged.cells)
    assert not any(leftover.exists() for leftover in leftovers)
    assert sorted(run(study, dataset, tmp_path)) == sorted(study.cells.keys() - set(staged.cells))


def test_a_begun_pack_keeps_its_members_when_the_plan_changes(make_study, dataset, tmp_path):
    study = make_study("resources.checkpoint_seconds=1e-9")
    members = tuple(list(study.cells.values())[i] for i in (0, 3, 1))
    running = run_pack(Pack(members), RunContext(study, StudyData({0: dataset}), tmp_path, torch.device("cpu")))
    next(running)
    del running
    run(study, dataset, tmp_path, pack_size=2)
    table = load_measurements(tmp_path).drop_duplicates("cell_id").set_index("cell_id")
    assert {table.loc[cell.id, "pack_id"] for cell in members} == {Pack(members).id}
    run(make_study(), dataset, tmp_path / "expected")
    pd.testing.assert_frame_equal(values(tmp_path), values(tmp_path / "expected"))


@pytest.fixture
def poisoned(monkeypatch, make_study):
    """One cell of the study raises whenever it is trained, until the poison is taken out."""
    bad = list(make_study().cells)[1]

    class Faulty(PackTrainer):
        def advance(self, until):
            if bad in {cell.id for cell in self.cells}:
                raise ZeroDivisionError("a poisoned cell")
            super().advance(until)

    monkeypatch.setattr(pack_run, "PackTrainer", Faulty)
    return bad


def test_a_failed_cell_is_recorded_and_tried_again_by_the_next_run(
    make_study, dataset, tmp_path, poisoned, monkeypatch
):
    study = make_study("resources.max_retries=0")
    for _ in range(2):
        run(study, dataset, tmp_path, pack_size=4)
        now = study_status(study, tmp_path)
        assert now.failed == {poisoned: "ZeroDivisionError: a poisoned cell"}
        assert [cell.id for cell in now.missing] == [poisoned]
        table = load_measurements(tmp_path)
        assert table[table["status"] == "failed"]["cell_id"].tolist() == [poisoned] * 2
        assert len(table) == 3 * 8 + 2
    monkeypatch.setattr(pack_run, "PackTrainer", PackTrainer)
    assert run(study, dataset, tmp_path) == [poisoned]
    assert study_status(study, tmp_path).failed == {}
    table = load_measurements(tmp_path)
    assert table["status"].unique().tolist() == ["ok"]
    assert len(table) == 4 * 8


def test_the_folder_says_which_study_it_holds(make_study, dataset, tmp_path):
    study = make_study("question=Why?")
    with open_results(study, tmp_path, {0: dataset.fingerprint}):
        pass
    record = load_study_record(tmp_path)
    assert (record["name"], record["question"], record["n_cells"]) == ("tiny", "Why?", 4)
    assert record["data_fingerprint"] == dataset.fingerprint
    assert recorded_study(tmp_path) == study
    assert recorded_study(tmp_path).cells == study.cells


def test_a_folder_without_a_study_is_named(tmp_path):
    with pytest.raises(UserError, match=r"not a results folder: it has no study\.json"):
        recorded_study(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"name": "tiny"})])
def test_a_damaged_record_of_the_study_is_named(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(UserError, match=r"study\.json"):
        recorded_study(tmp_path)


def test_a_standing_is_of_the_studys_own_cells_only(make_study, dataset, tmp_path):
    run(make_study("grid.beta=[1]"), dataset, tmp_path)
    now = study_status(make_study("grid.beta=[0.1]"), tmp_path)
    assert (now.finished, len(now.missing)) == (set(), 2)
    assert dataclasses.replace(now, finished=set(now.cells)).missing == []


def test_cells_with_unpaired_seeds_stay_readable_and_are_not_mixed_with_paired_ones(make_study, dataset, tmp_path):
    study = make_study()
    run(study.of_numerics(1), dataset, tmp_path)
    recorded = recorded_study(tmp_path)
    assert (recorded.numerics, recorded.cells.keys()) == (1, study.of_numerics(1).cells.keys())
    assert not study_status(recorded, tmp_path).missing
    before = load_measurements(tmp_path)
    assert set(before["numerics"]) == {1}
    with pytest.raises(UserError, match=r"numerics 1.*numerics 2.*another folder"):
        run(study, dataset, tmp_path)
    pd.testing.assert_frame_equal(load_measurements(tmp_path), before)
