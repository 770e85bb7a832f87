import dataclasses
import itertools
import json
import threading
from collections.abc import Generator, Sequence

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from rdstudy.evaluation.evaluate import measure
from rdstudy.execution import evaluator, inputs, pack_run
from rdstudy.execution.device import pick_device
from rdstudy.execution.protocols import PackProgress, RunContext
from rdstudy.execution.rows import failure_rows
from rdstudy.execution.worker import run_pack
from rdstudy.storage import StorageError
from rdstudy.storage.checkpoints import AsyncCheckpointer, Checkpoints
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import COLUMNS, PROVENANCE
from rdstudy.storage.weights import load_model
from rdstudy.study import Cell
from rdstudy.study.data import StudyData
from rdstudy.study.early_stopping import Limit, Limits
from rdstudy.training.packs import Pack
from rdstudy.training.trainer import PackTrainer


@pytest.fixture
def workplace(dataset, make_study, tmp_path):
    """Where the tiny study is trained: `workplace("folder", settings)`."""

    def make(name: str = "results", *settings: str) -> RunContext:
        return RunContext(make_study(*settings), StudyData({0: dataset}), tmp_path / name, torch.device("cpu"))

    return make


@pytest.fixture
def whole_checkpoints(monkeypatch):
    """Every checkpoint that is due is made: the one before is written by then, however slow the disk."""
    plain = AsyncCheckpointer.save

    def save(self, pack_id, checkpoint):
        plain(self, pack_id, checkpoint)
        self.wait()

    monkeypatch.setattr(AsyncCheckpointer, "save", save)


def pack_of(at: RunContext) -> Pack:
    return Pack(tuple(at.study.cells.values()))


def begin(at: RunContext) -> Generator[PackProgress, None, None]:
    """The study's cells as one pack, to be interrupted with `close`."""
    running = run_pack(pack_of(at), at)
    assert isinstance(running, Generator)
    return running


def rows(results: StoragePath, staged: Sequence[PackProgress]) -> dict[tuple, dict]:
    """Staged rows by cell, step and population, without their provenance."""
    found = {}
    for progress in staged:
        if progress.staged is not None:
            for row in pq.read_table(results / "staging" / progress.staged).to_pylist():
                key = (row["cell_id"], row["step"], row["population"])
                assert key not in found
                found[key] = {name: value for name, value in row.items() if name not in PROVENANCE}
    return found


def trained(at: RunContext) -> dict[tuple, dict]:
    """Rows of an uninterrupted run of the study's cells as one pack."""
    return rows(at.results, list(run_pack(pack_of(at), at)))


@pytest.fixture(scope="module")
def expected(dataset, make_study, tmp_path_factory) -> dict[tuple, dict]:
    """Rows of the tiny study, trained without interruption as one pack."""
    return trained(
        RunContext(make_study(), StudyData({0: dataset}), tmp_path_factory.mktemp("expected"), torch.device("cpu"))
    )


# --- one pack ---


def test_a_pack_gives_one_row_per_cell_step_and_population(workplace):
    at = workplace()
    found = trained(at)
    assert found.keys() == {
        (cell_id, step, population)
        for cell_id in at.study.cells
        for step in (40, 64, 100, 130)
        for population in ("train", "test")
    }
    for (cell_id, step, population), row in found.items():
        cell = at.study.cells[cell_id]
        for field in dataclasses.fields(Cell):
            if field.name in row:
                assert row[field.name] == getattr(cell, field.name)
        assert (row["study"], row["status"], row["message"]) == ("tiny", "ok", None)
        assert row["epoch"] == step * 10 / 40
        assert row["is_final"] == (step == 130)
        assert row["n_examples"] == {"train": 40, "test": 20}[population]
        assert row["distortion_nats"] > 0


def test_rows_say_how_they_were_made(workplace):
    at = workplace()
    *_, last = run_pack(pack_of(at), at)
    for row in pq.read_table(at.results / "staging" / last.staged).to_pylist():
        assert (row["pack_id"], row["pack_size"]) == (pack_of(at).id, 4)
        assert row["device"].startswith("cpu (")
        assert row["seconds"] > 0
        assert row["torch_version"] == torch.__version__
        assert row["data_fingerprint"] == at.data.of(0).fingerprint[:16]
        assert (row["weights_sha256"] is not None) == row["is_final"]
        always = set(PROVENANCE) - {"git_commit", "git_dirty", "weights_sha256"}
        assert all(row[name] is not None for name in always)


def test_progress_rises_to_the_end_and_ends_staged(workplace):
    at = workplace()
    progress = list(run_pack(pack_of(at), at))
    steps = [each.step for each in progress]
    assert steps == sorted(steps)
    assert steps[-1] == 130
    assert [each.staged is not None for each in progress] == [False] * (len(progress) - 1) + [True]
    assert all(each.cells == tuple(at.study.cells) and each.failure is None for each in progress)
    assert progress[0].test_distortion_nats is None
    assert (progress[-1].test_distortion_nats or 0) > 0


def test_cells_of_one_split_share_its_indices_and_each_has_its_own_part_of_them(workplace, dataset):
    cell = next(iter(workplace().study.cells.values()))
    cells = [dataclasses.replace(cell, train_size=size, seed=seed) for size in (3, 5) for seed in (0, 1)]
    together = inputs.populations_of(dataset, cells)
    for cell, populations in zip(cells, together, strict=True):
        [alone] = inputs.populations_of(dataset, [cell])
        assert len(populations["train"]) == cell.train_size
        for name in ("train", "test"):
            assert np.array_equal(populations[name], alone[name])
            assert np.shares_memory(populations[name], together[0][name])


def test_models_and_sheets_are_kept_of_what_the_rows_say(workplace, dataset):
    at = workplace()
    found = trained(at)
    for cell_id in at.study.cells:
        values = measure(
            load_model(at.results, cell_id),
            torch.from_numpy(dataset.images.copy()),
            inputs.populations_of(dataset, [at.study.cells[cell_id]])[0],
            at.study.evaluation,
            beta=at.study.cells[cell_id].beta,
            stream_id=at.study.cells[cell_id].stream_id,
            step=130,
            final=130,
        )["test"]
        row = found[cell_id, 130, "test"]
        assert {name: row[name] for name in values.columns} == values.columns
        with np.load(at.results / "sheets" / f"{cell_id}.npz") as sheet:
            assert {name: sheet[name].shape for name in sheet} == dict.fromkeys(sheet, (2, 3, 5, 1))
            assert "test_reconstructions" in sheet


def test_models_and_sheets_can_be_left_out(workplace):
    at = workplace("results", "resources.save_models=false", "evaluation.num_images=0")
    trained(at)
    assert sorted(path.name for path in at.results.iterdir()) == ["staging"]


def test_a_row_does_not_depend_on_the_pack(workplace, expected):
    at = workplace("apart")
    cells = pack_of(at).cells
    progress = [each for pack in (Pack(cells[2:]), Pack(cells[:1]), Pack(cells[1:2])) for each in run_pack(pack, at)]
    assert rows(at.results, progress) == expected


def test_a_value_does_not_depend_on_when_else_was_measured(workplace, expected):
    seldom = trained(workplace("seldom", "evaluation.steps=[100]"))
    assert seldom == {key: row for key, row in expected.items() if key[1] in (100, 130)}


def test_a_diverged_cell_ends_in_nulls_and_leaves_its_companions_alone(workplace):
    at = workplace("results", "training.optimizer=sgd", "grid.beta=[1, 1e+30]", "grid.seed=[0]")
    steady, wild = at.study.cells
    found = trained(at)
    alone = workplace("alone", "training.optimizer=sgd", "grid.beta=[1]", "grid.seed=[0]")
    assert {key: row for key, row in found.items() if key[0] == steady} == trained(alone)
    values = [column.name for column in COLUMNS if column.group == "values"]
    last = found[wild, 130, "test"]
    assert (last["status"], last["is_final"]) == ("diverged", True)
    assert "not finite" in last["message"]
    assert all(last[name] is None for name in values)
    assert (at.results / "models" / f"{steady}.safetensors").exists()
    assert not (at.results / "models" / f"{wild}.safetensors").exists()


# --- interruption ---


@pytest.mark.usefixtures("whole_checkpoints")
@pytest.mark.parametrize("checkpoint_seconds", ["1e-9", "1e+9"], ids=["many checkpoints", "no checkpoints"])
def test_a_pack_interrupted_at_any_moments_gives_the_same_rows(workplace, checkpoint_seconds, expected):
    rng = np.random.default_rng(0)
    for trial in range(2):
        at = workplace(f"interrupted-{trial}", f"resources.checkpoint_seconds={checkpoint_seconds}")
        for n in rng.integers(1, 8, 3):
            running = begin(at)
            list(itertools.islice(running, n))
            running.close()
        assert rows(at.results, list(run_pack(pack_of(at), at))) == expected


@pytest.mark.usefixtures("whole_checkpoints")
def test_a_pack_goes_on_from_its_newest_whole_checkpoint(workplace, expected):
    at = workplace("results", "resources.checkpoint_seconds=1e-9")
    running = begin(at)
    for progress in running:
        if progress.step == 128:
            break
    running.close()
    newest, before = sorted((at.results / "checkpoints" / pack_of(at).id).iterdir(), reverse=True)
    newest.write_bytes(newest.read_bytes()[:1000])
    first, *others = list(run_pack(pack_of(at), at))
    assert int(before.stem) <= first.step <= 128
    assert first.step > 64
    assert rows(at.results, [first, *others]) == expected


@pytest.mark.usefixtures("whole_checkpoints")
def test_what_was_measured_before_an_interruption_is_not_measured_again(workplace, expected, monkeypatch):
    """Killed while the last step of four cells is being measured, as a large pack would be after minutes of it."""
    measured = []

    def counted(*arguments, stream_id: str, step: int, **named):
        measured.append(step)
        return measure(*arguments, stream_id=stream_id, step=step, **named)

    monkeypatch.setattr(evaluator, "measure", counted)
    at = workplace("results", "resources.checkpoint_seconds=1e-9")
    for stop in (2, 3):
        running = begin(at)
        for _ in running:
            if measured.count(130) == stop:
                break
        running.close()
    assert rows(at.results, list(run_pack(pack_of(at), at))) == expected
    assert 2 * len(measured) == len(expected)  # rows of two populations each


@pytest.mark.usefixtures("whole_checkpoints")
def test_a_pack_interrupted_in_its_last_measuring_ends_with_one_evaluation(workplace):
    """Between kill and resume, the study came to ask for more draws."""
    before = workplace("results", "resources.checkpoint_seconds=1e-9", "evaluation.nll.importance_samples=8")
    running = begin(before)
    for progress in running:
        if progress.step == 130 and len(list(before.results.glob("checkpoints/*/*130.safetensors"))) == 1:
            break
    running.close()
    more = "evaluation.nll.importance_samples=16"
    after = workplace("results", more)
    found = rows(after.results, list(run_pack(pack_of(after), after)))
    last = {key: row for key, row in found.items() if key[1] == 130}
    assert {row["nll_draws"] for row in last.values()} == {16}
    assert last == {key: row for key, row in trained(workplace("whole", more)).items() if key[1] == 130}


@pytest.mark.usefixtures("whole_checkpoints")
def test_a_pack_past_a_step_that_is_now_to_be_measured_begins_again(workplace):
    running = begin(workplace("results", "resources.checkpoint_seconds=1e-9"))
    for progress in running:
        if progress.step == 100:
            break
    running.close()
    steps = "evaluation.steps=[40, 50, 64, 100]"
    after = workplace("results", steps, "resources.checkpoint_seconds=1e-9")
    for stop in (50, 64):
        running = begin(after)
        for progress in running:
            if progress.step == stop:
                break
        assert progress.start_step == (0 if stop == 50 else 50)
        running.close()
    assert rows(after.results, list(run_pack(pack_of(after), after))) == trained(workplace("whole", steps))


def test_training_does_not_wait_for_slow_storage(workplace, expected, monkeypatch):
    """The first of many checkpoints is still being written when the last step has been trained and measured."""
    plain, trained_to_the_end, saves = Checkpoints.save, threading.Event(), []

    def slow(self, pack_id, checkpoint):
        if not trained_to_the_end.wait(20):
            raise TimeoutError("training waits for the checkpoint")
        saves.append(checkpoint.record["step"])
        plain(self, pack_id, checkpoint)

    monkeypatch.setattr(Checkpoints, "save", slow)
    at = workplace("results", "resources.checkpoint_seconds=1e-9", "resources.max_retries=0")
    seen = []
    for progress in run_pack(pack_of(at), at):
        seen.append(progress)
        if progress.step == 130:
            trained_to_the_end.set()
    assert saves[0] == 40
    assert set(saves[1:]) <= {130}
    assert rows(at.results, seen) == expected


@pytest.mark.usefixtures("whole_checkpoints")
def test_time_is_counted_over_all_interruptions(workplace):
    at = workplace("results", "resources.checkpoint_seconds=1e-9")
    running = begin(at)
    next(running)
    running.close()
    (path,) = (at.results / "checkpoints" / pack_of(at).id).iterdir()
    saved = Checkpoints(at.results).load(pack_of(at).id, list(at.study.cells))
    assert saved is not None
    saved.record["seconds"] = 1000.0
    Checkpoints(at.results).save(pack_of(at).id, saved)
    assert path.exists()
    assert next(run_pack(pack_of(at), at)).seconds > 1000


# --- cells stopped early ---


def hopeless(at: RunContext, *positions: int, step: int = 64) -> Pack:
    """The study's cells as one pack, of which some are above their limit at a step, and the others are below theirs."""
    limits: dict[str, Limits] = {}
    for k, cell_id in enumerate(at.study.cells):
        nats = 0.0 if k in positions else 1e9
        limits[cell_id] = {step: Limit("test_distortion", nats, 4)}
    return pack_of(at).limited(limits)


@pytest.mark.parametrize("positions", [(1,), (0, 3), (0, 1, 2)])
def test_companions_of_a_stopped_cell_have_the_rows_that_they_have_without_one(workplace, expected, positions):
    at = workplace()
    progress = list(run_pack(hopeless(at, *positions), at))
    bad = [cell_id for k, cell_id in enumerate(at.study.cells) if k in positions]
    assert [each.cells for each in progress if each.stopped] == [(cell_id,) for cell_id in bad]
    found = rows(at.results, progress)
    assert {key: row for key, row in found.items() if key[0] not in bad} == {
        key: row for key, row in expected.items() if key[0] not in bad
    }
    assert not any((at.results / "models" / f"{cell_id}.safetensors").exists() for cell_id in bad)


def test_a_stopped_cell_keeps_what_was_measured_and_says_so_in_every_row(workplace, expected):
    at = workplace()
    bad = list(at.study.cells)[1]
    found = rows(at.results, list(run_pack(hopeless(at, 1), at)))
    mine = {key[1:]: row for key, row in found.items() if key[0] == bad}
    assert mine.keys() == {(step, population) for step in (40, 64, 130) for population in ("train", "test")}
    values = [column.name for column in COLUMNS if column.group == "values"]
    for (step, population), row in mine.items():
        assert row["status"] == "stopped"
        assert row["message"].startswith("stopped at step 64 of 130: test distortion ")
        assert row["is_final"] == (step == 130)
        measured = expected[bad, step, population]
        assert [row[name] for name in values] == [None if step == 130 else measured[name] for name in values]


def test_a_pack_whose_cells_are_all_stopped_ends_there(workplace):
    at = workplace()
    progress = list(run_pack(hopeless(at, 0, 1, 2, 3), at))
    assert [each.stopped for each in progress[-4:]] == [True] * 4
    assert {each.step for each in progress[-4:]} == {64}
    assert not any(each.failure for each in progress)


@pytest.mark.usefixtures("whole_checkpoints")
@pytest.mark.parametrize("checkpoint_seconds", ["1e-9", "1e+9"], ids=["many checkpoints", "no checkpoints"])
def test_a_pack_interrupted_beside_a_stop_gives_the_same_rows(workplace, expected, checkpoint_seconds):
    for n in range(1, 8):
        at = workplace(f"interrupted-{n}", f"resources.checkpoint_seconds={checkpoint_seconds}")
        running = run_pack(hopeless(at, 0, 2), at)
        assert isinstance(running, Generator)
        begun = list(itertools.islice(running, n))
        running.close()
        ended = [cell_id for each in begun if each.stopped for cell_id in each.cells]
        rest = hopeless(at, 0, 2).without(ended) if ended else hopeless(at, 0, 2)
        progress = [*[each for each in begun if each.stopped], *run_pack(rest, at)]
        bad = {cell_id for k, cell_id in enumerate(at.study.cells) if k in (0, 2)}
        found = rows(at.results, progress)
        assert {key for key in found if key[0] in bad and key[1] == 100} == set()
        assert {key: row for key, row in found.items() if key[0] not in bad} == {
            key: row for key, row in expected.items() if key[0] not in bad
        }
        assert {key[0] for key, row in found.items() if row["status"] == "stopped"} == bad


# --- errors ---


@pytest.fixture
def fault(monkeypatch):
    """Make `PackTrainer` raise for some packs; the sizes of the packs that it was asked for."""

    def inject(when, error: Exception) -> list[int]:
        asked = []

        class Faulty(PackTrainer):
            def __init__(self, cells, images, train_indices, **options):
                asked.append(len(cells))
                super().__init__(cells, images, train_indices, **options)

            def advance(self, until):
                if when(self.cells, len(asked)):
                    raise error
                super().advance(until)

        monkeypatch.setattr(pack_run, "PackTrainer", Faulty)
        return asked

    return inject


def real_out_of_memory() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), real_out_of_memory()], ids=type
)
def test_a_pack_that_does_not_fit_into_memory_is_halved_at_once(workplace, fault, error, expected):
    asked = fault(lambda cells, attempt: len(cells) > 2, error)
    at = workplace()
    progress = list(run_pack(pack_of(at), at))
    assert asked == [4, 2, 2]
    assert not any(each.failure for each in progress)
    assert rows(at.results, progress) == expected


@pytest.mark.usefixtures("whole_checkpoints")
def test_an_error_that_passes_is_tried_again_from_the_checkpoint(workplace, fault, caplog, expected):
    at = workplace("results", "resources.checkpoint_seconds=1e-9")
    running = begin(at)
    assert next(progress.step for progress in running if progress.step > 40) == 64
    running.close()
    asked = fault(lambda cells, attempt: attempt <= 2, OSError("the network hiccuped"))
    progress = list(run_pack(pack_of(at), at))
    assert asked == [4, 4, 4]
    assert progress[0].step == 64
    assert rows(at.results, progress) == expected
    assert "attempt 2 of 3" in caplog.text
    assert "the network hiccuped" in caplog.text


def test_a_cell_that_always_raises_ends_alone_and_its_companions_finish(workplace, fault, expected):
    at = workplace("results", "resources.max_retries=1")
    bad = list(at.study.cells)[2]
    asked = fault(lambda cells, attempt: bad in {cell.id for cell in cells}, ZeroDivisionError("a poisoned cell"))
    progress = list(run_pack(pack_of(at), at))
    assert asked == [4, 4, 2, 2, 1, 1]
    (failed,) = [each for each in progress if each.failure]
    assert failed.cells == (bad,)
    assert failed.failure == "ZeroDivisionError: a poisoned cell"
    assert rows(at.results, progress) == {key: row for key, row in expected.items() if key[0] != bad}


def test_a_stopped_cell_is_not_begun_again_after_an_error_and_limits_outlive_a_halving(workplace, fault, expected):
    at = workplace("results", "resources.max_retries=1")
    first, second, poisoned, fourth = at.study.cells
    limits: dict[str, Limits] = {
        first: {40: Limit("test_distortion", 0.0, 4)},
        fourth: {100: Limit("test_distortion", 0.0, 4)},
    }

    asked = fault(
        lambda cells, attempt: poisoned in {cell.id for cell in cells} and len(cells) < 4, ZeroDivisionError("no")
    )
    progress = list(run_pack(pack_of(at).limited(limits), at))
    assert asked == [4, 3, 3, 1, 2, 1, 1]
    assert [each.cells for each in progress if each.failure] == [(poisoned,)]
    assert [each.cells for each in progress if each.stopped] == [(first,), (fourth,)]
    found = rows(at.results, progress)
    assert {key: row for key, row in found.items() if key[0] == second} == {
        key: row for key, row in expected.items() if key[0] == second
    }


def test_a_single_cell_that_raises_is_tried_as_often_as_asked(workplace, fault):
    at = workplace("results", "resources.max_retries=3")
    asked = fault(lambda cells, attempt: True, ZeroDivisionError("no"))
    (failed,) = list(run_pack(Pack(pack_of(at).cells[:1]), at))
    assert asked == [1] * 4
    assert failed.failure == "ZeroDivisionError: no"


def test_a_results_folder_that_cannot_be_written_ends_the_pack_at_once(workplace, fault):
    asked = fault(lambda cells, attempt: False, ZeroDivisionError())
    at = workplace()
    at.results.write_text("a file in the way")
    with pytest.raises(StorageError, match="a file is in the place of a folder"):
        list(run_pack(pack_of(at), at))
    assert asked == [4]


def test_what_failed_is_said_in_rows_without_values(workplace):
    at = workplace()
    cell = pack_of(at).cells[1]
    for row in failure_rows(at.study, cell, pack_of(at), "it broke"):
        assert (row.cell_id, row.step, row.is_final, row.status, row.message) == (
            cell.id,
            130,
            True,
            "failed",
            "it broke",
        )
        assert all(getattr(row, column.name) is None for column in COLUMNS if column.group == "values")


# --- devices ---


def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    assert pick_device("cpu") == torch.device("cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name in ("cuda", "mps"):
        if not there[name]:
            with pytest.raises(ValueError, match=f"resources.device is {name}, which this machine does not have.*cpu"):
                pick_device(name)
    assert pick_device("auto").type == next((name for name, is_there in there.items() if is_there), "cpu")


@pytest.mark.usefixtures("whole_checkpoints")
def test_rows_can_be_kept_in_a_checkpoint(workplace):
    """What a checkpoint says about a pack is JSON: readable without rdstudy."""
    at = workplace("results", "resources.checkpoint_seconds=1e-9")
    running = begin(at)
    for progress in running:
        if progress.step == 100:
            break
    running.close()
    saved = Checkpoints(at.results).load(pack_of(at).id, list(at.study.cells))
    assert saved is not None
    assert json.loads(json.dumps(saved.record)) == saved.record
    assert {row.step for row in saved.rows} == {40, 64}
