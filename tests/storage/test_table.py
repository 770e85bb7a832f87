import dataclasses
import datetime as dt
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rdstudy
from rdstudy.storage import (
    StorageError,
    Table,
    finished_cells,
    load_measurements,
    measured_cells,
    read_cell_states,
    stage,
    stage_stopped,
)
from rdstudy.storage.parts import SCHEMA
from rdstudy.storage.schema import COLUMNS, FAILED, STOPPED, Measurement
from tests.made import changed

VALUES: dict[str, Any] = {"distortion_nats": math.pi, "distortion_se": 0.5}
ROW = Measurement(
    study="tiny",
    cell_id="a",
    dataset="images",
    split="random",
    train_size=40,
    depth=1,
    width=9,
    latent_dim=3,
    prior="standard_normal",
    beta=0.1,
    learning_rate=1e-3,
    batch_size=10,
    optimizer="adam",
    precision="float32",
    seed=0,
    data_seed=0,
    step=100,
    epoch=25.0,
    is_final=True,
    population="test",
    n_examples=20,
    evaluation_id="e",
    **VALUES,
    status="ok",
    pack_id="pack-1",
    finished_at=dt.datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=dt.UTC),
)


def rows_of(*cells: str) -> list[Measurement]:
    """Two steps on both populations for each cell."""
    return [
        dataclasses.replace(ROW, cell_id=cell, step=step, is_final=step == 100, population=population)
        for cell in cells
        for step in (50, 100)
        for population in ("train", "test")
    ]


def failure_of(cell: str) -> list[Measurement]:
    failed = changed(ROW, cell_id=cell, status=FAILED, message="it broke", distortion_nats=None, distortion_se=None)
    return [dataclasses.replace(failed, population=population) for population in ("train", "test")]


def stopped_rows(cell: str, *, at: float = 9.0) -> list[Measurement]:
    """A cell that was measured at step 50 and stopped there."""
    rows = [dataclasses.replace(row, status=STOPPED, message="too bad") for row in rows_of(cell)]
    return [
        changed(row, distortion_nats=None if row.is_final else at, distortion_se=None, n_examples=None) for row in rows
    ]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    (tmp_path / "measurements").mkdir()
    return Table(tmp_path)


def cells_in(root: Path) -> list[str]:
    """Cell ids of all rows, as often as they stand in the table."""
    return load_measurements(root)["cell_id"].tolist()


def test_a_row_comes_back_as_it_was_staged(table, tmp_path):
    table.commit(stage(tmp_path, "pack", [ROW]))
    (found,) = load_measurements(tmp_path).to_dict("records")
    assert list(found) == [column.name for column in COLUMNS]
    expected = dataclasses.asdict(ROW)
    assert {name: value for name, value in found.items() if not pd.isna(value)} == {
        name: value for name, value in expected.items() if value is not None
    }
    assert found["distortion_nats"] == math.pi


def test_what_was_not_measured_stays_null(table, tmp_path):
    table.commit(stage(tmp_path, "pack", [ROW]))
    (part,) = (tmp_path / "measurements").glob("*.parquet")
    stored = pq.read_table(part)
    for column in ("rate_nats", "mi_nats", "active_units", "nll_draws", "message", "git_dirty"):
        assert stored[column].null_count == 1
    loaded = load_measurements(tmp_path)
    assert loaded["rate_nats"].isna().all()
    assert loaded["active_units"].isna().all()


def test_the_schema_carries_units_and_meanings(table, tmp_path):
    table.commit(stage(tmp_path, "pack", [ROW]))
    (part,) = (tmp_path / "measurements").glob("*.parquet")
    schema = pq.read_schema(part)
    for column in COLUMNS:
        field = schema.field(column.name)
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"meaning"].decode() == column.meaning
        assert field.nullable == column.nullable


# --- exactly once ---


def test_staged_rows_come_into_the_table_once(table, tmp_path):
    staged = stage(tmp_path, "pack", rows_of("a", "b"))
    assert load_measurements(tmp_path).empty
    assert table.commit(staged) == ["a", "b"]
    assert sorted(cells_in(tmp_path)) == ["a"] * 4 + ["b"] * 4
    assert table.finished == finished_cells(tmp_path / "measurements") == {"a", "b"}
    assert not staged.exists()


@pytest.mark.parametrize("name", ["pack", "another"])
def test_the_same_cells_committed_twice_add_nothing(table, tmp_path, name):
    table.commit(stage(tmp_path, "pack", rows_of("a", "b")))
    before = load_measurements(tmp_path)
    for writer in (table, Table(tmp_path)):
        staged = stage(tmp_path, name, rows_of("a", "b"))
        assert writer.commit(staged) == []
        assert not staged.exists()
    pd.testing.assert_frame_equal(load_measurements(tmp_path), before)


@pytest.mark.parametrize("fresh", [False, True])
def test_of_two_packs_that_overlap_each_cell_stays_once(table, tmp_path, fresh):
    table.commit(stage(tmp_path, "one", rows_of("a", "b")))
    writer = Table(tmp_path) if fresh else table
    assert writer.commit(stage(tmp_path, "two", rows_of("b", "c"))) == ["c"]
    assert writer.commit(stage(tmp_path, "one", rows_of("a", "d"))) == ["d"]
    assert sorted(cells_in(tmp_path)) == [cell for cell in "abcd" for _ in range(4)]


def test_what_lies_staged_is_committed_after_a_driver_died(table, tmp_path):
    stage(tmp_path, "one", rows_of("a", "b"))
    stage(tmp_path, "two", rows_of("b", "c"))
    assert sorted(table.commit_staged()) == ["a", "b", "c"]
    assert table.commit_staged() == []
    assert sorted(cells_in(tmp_path)) == [cell for cell in "abc" for _ in range(4)]


def test_a_commit_cut_short_between_its_files_is_completed(table, tmp_path):
    """A driver that dies after it wrote the part and before it removed the staged one commits again."""
    table.commit(stage(tmp_path, "one", rows_of("a")))
    staged = stage(tmp_path, "two", rows_of("a", "b"))
    content = staged.read_bytes()
    table.commit(staged)
    staged.write_bytes(content)
    assert Table(tmp_path).commit_staged() == []
    assert sorted(cells_in(tmp_path)) == ["a"] * 4 + ["b"] * 4


def test_a_staged_part_that_is_not_whole_is_made_again(table, tmp_path):
    staged = stage(tmp_path, "one", rows_of("a"))
    content = staged.read_bytes()
    for keep in (0, 3, 8, len(content) // 2, len(content) - 1):
        staged.write_bytes(content[:keep])
        assert table.commit_staged() == []
        assert not staged.exists()
    assert cells_in(tmp_path) == []


def test_a_cell_is_finished_by_its_final_rows_only(table, tmp_path):
    table.commit(stage(tmp_path, "one", [row for row in rows_of("a", "b") if row.cell_id == "b" or not row.is_final]))
    assert finished_cells(tmp_path / "measurements") == {"b"}


def test_a_stopped_cell_is_in_the_table_once_and_is_not_finished(table, tmp_path):
    for writer in (table, table, Table(tmp_path)):
        assert writer.commit(stage_stopped(tmp_path, stopped_rows("a"))) == []
        assert cells_in(tmp_path) == ["a"] * 4
        assert set(writer.states.stopped) == {"a"}
    assert finished_cells(tmp_path / "measurements") == set() == measured_cells(tmp_path / "measurements", "e")
    assert read_cell_states(tmp_path / "measurements").failed == {}
    assert read_cell_states(tmp_path / "measurements").stopped == {"a": "too bad"}
    stage_stopped(tmp_path, stopped_rows("a", at=8.0))
    assert Table(tmp_path).commit_staged() == []
    assert load_measurements(tmp_path)["distortion_nats"].dropna().tolist() == [8.0, 8.0], "the newest stop counts"


@pytest.mark.parametrize("fresh", [False, True])
def test_rows_of_a_stopped_cell_go_away_when_it_is_trained_after_all(table, tmp_path, fresh):
    table.commit(stage_stopped(tmp_path, stopped_rows("a")))
    table.commit(stage_stopped(tmp_path, stopped_rows("c")))
    writer = Table(tmp_path) if fresh else table
    assert writer.commit(stage(tmp_path, "pack", rows_of("a", "b"))) == ["a", "b"]
    found = load_measurements(tmp_path)
    assert sorted(found["cell_id"]) == [cell for cell in "abc" for _ in range(4)]
    assert set(found[found["status"] == STOPPED]["cell_id"]) == {"c"} == set(writer.states.stopped)


def test_a_finished_cell_is_not_stopped_any_more(table, tmp_path):
    table.commit(stage(tmp_path, "pack", rows_of("a")))
    before = load_measurements(tmp_path)
    staged = stage_stopped(tmp_path, stopped_rows("a"))
    table.commit(staged)
    assert not staged.exists()
    pd.testing.assert_frame_equal(load_measurements(tmp_path), before)


def test_a_cell_is_either_stopped_or_failed_by_what_came_last(table, tmp_path):
    table.commit(stage_stopped(tmp_path, stopped_rows("a")))
    table.record_failure(failure_of("a"))
    assert (read_cell_states(table.folder).stopped, read_cell_states(table.folder).failed) == ({}, {"a": "it broke"})
    assert cells_in(tmp_path) == ["a"] * 2
    table.commit(stage_stopped(tmp_path, stopped_rows("a")))
    assert (read_cell_states(table.folder).stopped, read_cell_states(table.folder).failed) == ({"a": "too bad"}, {})
    assert cells_in(tmp_path) == ["a"] * 4


def test_a_diverged_cell_is_finished(table, tmp_path):
    rows = [changed(row, status="diverged", distortion_nats=None, message="why") for row in rows_of("a")]
    table.commit(stage(tmp_path, "one", rows))
    assert finished_cells(tmp_path / "measurements") == {"a"}
    assert read_cell_states(tmp_path / "measurements").failed == {}


def test_a_table_that_is_not_there_yet_finishes_nothing(tmp_path):
    assert finished_cells(tmp_path / "measurements") == set()
    assert read_cell_states(tmp_path / "measurements").failed == {}


# --- failures ---


def test_a_failure_is_a_row_with_nulls_and_a_reason_and_does_not_finish_the_cell(table, tmp_path):
    table.record_failure(failure_of("a"))
    table.record_failure(failure_of("a"))
    loaded = load_measurements(tmp_path)
    assert loaded["status"].tolist() == [FAILED, FAILED]
    assert loaded["distortion_nats"].isna().all()
    assert read_cell_states(tmp_path / "measurements").failed == {"a": "it broke"}
    assert finished_cells(tmp_path / "measurements") == set()


def test_a_failure_vanishes_when_its_cell_is_finished(table, tmp_path):
    table.record_failure(failure_of("a"))
    table.record_failure(failure_of("z"))
    table.commit(stage(tmp_path, "pack", rows_of("a", "b")))
    assert read_cell_states(tmp_path / "measurements").failed == {"z": "it broke"}
    loaded = load_measurements(tmp_path)
    assert loaded[loaded["cell_id"] == "a"]["status"].tolist() == ["ok"] * 4


def test_a_failure_of_a_finished_cell_is_refused(table, tmp_path):
    table.commit(stage(tmp_path, "pack", rows_of("a")))
    with pytest.raises(AssertionError):
        table.record_failure(failure_of("a"))
    with pytest.raises(AssertionError):
        table.record_failure(rows_of("b"))


# --- damage ---


def damage(part: Path, how: str) -> None:
    content = part.read_bytes()
    part.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"not Parquet\n" * 50}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
@pytest.mark.parametrize("read", [load_measurements, lambda root: finished_cells(root / "measurements")])
def test_a_damaged_part_is_one_clear_error_that_names_it(table, tmp_path, how, read):
    table.commit(stage(tmp_path, "one", rows_of("a")))
    table.commit(stage(tmp_path, "two", rows_of("b")))
    part = tmp_path / "measurements" / "two.parquet"
    damage(part, how)
    with pytest.raises(StorageError) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{part}: not a part of the table: ")
    assert "move it out of the folder and run the study again" in message
    assert "\n" not in message
    part.unlink()
    assert set(cells_in(tmp_path)) == {"a"}


def test_a_damaged_part_costs_no_pack_that_lies_staged(table, tmp_path):
    table.commit(stage(tmp_path, "one", rows_of("a")))
    damage(tmp_path / "measurements" / "one.parquet", "cut")
    staged = stage(tmp_path, "two", rows_of("b"))
    with pytest.raises(StorageError, match=r"one\.parquet: not a part of the table"):
        Table(tmp_path).commit_staged()
    assert staged.exists()


def test_parquet_of_something_else_is_refused_too(table, tmp_path):
    table.commit(stage(tmp_path, "one", rows_of("a")))
    pq.write_table(pa.table({"fruit": ["apple"]}), tmp_path / "measurements" / "fruit.parquet")
    with pytest.raises(StorageError, match=r"fruit\.parquet: not a part of the table"):
        load_measurements(tmp_path)


def test_rows_that_stand_twice_are_found(table, tmp_path):
    table.commit(stage(tmp_path, "one", rows_of("a", "b")))
    folder = tmp_path / "measurements"
    (folder / "copy.parquet").write_bytes((folder / "one.parquet").read_bytes())
    with pytest.raises(StorageError, match=r"8 rows appear more than once, the first: cell .*Remove the copy"):
        load_measurements(tmp_path)


def test_files_being_written_are_no_parts(table, tmp_path):
    table.commit(stage(tmp_path, "one", rows_of("a")))
    (tmp_path / "measurements" / ".aside-0123").write_bytes(b"half")
    assert set(cells_in(tmp_path)) == {"a"}


# --- reading ---


def test_the_table_is_read_in_one_order_whatever_the_parts(tmp_path):
    for root, packs in ((tmp_path / "x", ["a", "b"]), (tmp_path / "y", ["b", "a"])):
        (root / "measurements").mkdir(parents=True)
        for i, cell in enumerate(packs):
            Table(root).commit(stage(root, f"pack-{i}", rows_of(cell)[::-1]))
    loaded = load_measurements(tmp_path / "x")
    pd.testing.assert_frame_equal(loaded, load_measurements(tmp_path / "y"))
    key = loaded[["cell_id", "step", "population"]].itertuples(index=False, name=None)
    assert list(key)[:4] == [("a", 50, "train"), ("a", 50, "test"), ("a", 100, "train"), ("a", 100, "test")]


def test_some_columns_can_be_asked_for(table, tmp_path):
    table.commit(stage(tmp_path, "one", rows_of("a")))
    assert list(rdstudy.load_measurements(str(tmp_path), columns=["beta", "step"])) == ["beta", "step"]
    with pytest.raises(StorageError, match="no column rate; the table has study, cell_id"):
        load_measurements(tmp_path, columns=["rate"])


def test_a_folder_without_a_table_is_named(tmp_path):
    with pytest.raises(StorageError, match=f"{tmp_path}: holds no measurements"):
        load_measurements(tmp_path)


def test_an_empty_table_has_all_columns(table, tmp_path):
    loaded = load_measurements(tmp_path)
    assert list(loaded) == SCHEMA.names
    assert loaded.empty


def test_pandas_reads_the_folder_without_us(table, tmp_path):
    table.commit(stage(tmp_path, "one", rows_of("a")))
    table.commit(stage(tmp_path, "two", rows_of("b")))
    table.record_failure(failure_of("c"))
    loaded = pd.read_parquet(tmp_path / "measurements")
    assert len(loaded) == 10
    assert set(loaded["cell_id"]) == {"a", "b", "c"}


def test_a_part_of_a_version_that_knew_fewer_columns_is_read_with_nulls(table, tmp_path):
    table.commit(stage(tmp_path, "new", rows_of("a")))
    part = next((tmp_path / "measurements").iterdir())
    old = pq.read_table(part).drop_columns(["mi_examples", "mi_nats"])
    old = old.set_column(old.schema.get_field_index("cell_id"), old.schema.field("cell_id"), pa.array(["b"] * len(old)))
    pq.write_table(old, tmp_path / "measurements" / "old.parquet")
    found = load_measurements(tmp_path)
    assert set(found["cell_id"]) == {"a", "b"}
    assert found[found["cell_id"] == "b"]["mi_examples"].isna().all()
    assert finished_cells(tmp_path / "measurements") == {"a", "b"}


@pytest.mark.parametrize("known", [True, False])
def test_what_a_writer_knows_of_its_table_is_what_a_reader_finds(tmp_path, known):
    """After every kind of change, whether it began with what was read before or not."""
    folder = tmp_path / "measurements"
    Table(tmp_path).record_failure(failure_of("f"))
    writer = Table(tmp_path, states=read_cell_states(folder) if known else None)
    diverged = [dataclasses.replace(row, status="diverged", message="why") for row in rows_of("d")]
    changes = [
        lambda: writer.record_failure(failure_of("z")),
        lambda: writer.commit(stage_stopped(tmp_path, stopped_rows("a"))),
        lambda: writer.record_failure(failure_of("a")),
        lambda: writer.commit(stage(tmp_path, "one", rows_of("a", "b"))),
        lambda: writer.commit(stage(tmp_path, "two", diverged)),
        lambda: writer.commit(stage_stopped(tmp_path, stopped_rows("c"))),
        lambda: writer.commit(stage(tmp_path, "three", rows_of("b", "c", "f"))),
    ]
    for change in changes:
        change()
        assert dataclasses.replace(writer.states, parts=frozenset()) == dataclasses.replace(
            read_cell_states(folder), parts=frozenset()
        )
    assert writer.states.finished == {"a", "b", "c", "d", "f"}


def test_states_read_before_another_writer_changed_the_table_are_read_again(tmp_path):
    before = read_cell_states(tmp_path / "measurements")
    Table(tmp_path).commit(stage(tmp_path, "one", rows_of("a")))
    assert Table(tmp_path, states=before).finished == {"a"}
