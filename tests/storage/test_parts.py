"""Many parts are read as few files, and it makes no difference to what is read."""

from pathlib import Path

import pandas as pd
import pytest

from rdstudy.storage import StorageError, Table, finished_cells, load_measurements, stage, stage_stopped
from tests.storage.test_table import damage, failure_of, rows_of, stopped_rows

BUNDLE = 3


@pytest.fixture(autouse=True)
def small_bundles(monkeypatch):
    monkeypatch.setattr("rdstudy.storage.parts.PARTS_PER_BUNDLE", BUNDLE)


def committed(root: Path, cells: str) -> Table:
    (root / "measurements").mkdir(parents=True, exist_ok=True)
    table = Table(root)
    for cell in cells:
        table.commit(stage(root, f"pack-{cell}", rows_of(cell)))
    return table


def bundles(root: Path) -> set[Path]:
    return set((root / "bundles").glob("*.parquet"))


def test_packs_are_bundled_while_they_come_in(tmp_path):
    committed(tmp_path, "ab")
    assert not bundles(tmp_path)
    committed(tmp_path, "cdefgh")  # another run counts what is there
    assert len(bundles(tmp_path)) == 8 // BUNDLE
    first = bundles(tmp_path)
    committed(tmp_path, "i")
    assert len(bundles(tmp_path) - first) == 1
    assert first < bundles(tmp_path)  # none is written twice


def test_a_table_in_bundles_is_the_table(tmp_path):
    committed(tmp_path, "abcdefgh").record_failure(failure_of("z"))
    whole = load_measurements(tmp_path)
    for bundle in bundles(tmp_path):
        bundle.unlink()
    pd.testing.assert_frame_equal(load_measurements(tmp_path), whole)
    assert finished_cells(tmp_path / "measurements") == set("abcdefgh")


def test_the_parts_stay_what_anybody_reads(tmp_path):
    committed(tmp_path, "abcd")
    parts = pd.read_parquet(tmp_path / "measurements").sort_values(["cell_id", "step", "population"])
    ours = load_measurements(tmp_path).sort_values(["cell_id", "step", "population"])
    assert len(parts) == len(ours) == 16
    assert parts["cell_id"].tolist() == ours["cell_id"].tolist()


def test_no_failure_is_bundled(tmp_path):
    table = committed(tmp_path, "")
    for cell in "wxyz":
        table.record_failure(failure_of(cell))
    committed(tmp_path, "abwc")
    assert len(bundles(tmp_path)) == 1
    assert load_measurements(tmp_path)["status"].value_counts().to_dict() == {"ok": 16, "failed": 6}


def test_no_stopped_cell_is_bundled(tmp_path):
    table = committed(tmp_path, "")
    for cell in "wxyz":
        table.commit(stage_stopped(tmp_path, stopped_rows(cell)))
    committed(tmp_path, "abwc")
    assert len(bundles(tmp_path)) == 1
    assert load_measurements(tmp_path)["status"].value_counts().to_dict() == {"ok": 16, "stopped": 12}


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_bundle_that_disagrees_with_the_parts_is_not_read(tmp_path, how):
    committed(tmp_path, "abc")
    part = tmp_path / "measurements" / "pack-b.parquet"
    if how == "removed":
        part.unlink()
        expected = set("ac")
    else:
        part.write_bytes(stage(tmp_path, "x", rows_of("b", "y")).read_bytes())
        expected = set("abcy")
    assert finished_cells(tmp_path / "measurements") == expected
    assert set(load_measurements(tmp_path)["cell_id"]) == expected
    before = bundles(tmp_path)
    Table(tmp_path)  # the next run takes it away
    assert not before & bundles(tmp_path)


def test_two_bundles_with_one_part_in_both_give_it_once(tmp_path):
    committed(tmp_path, "abc")
    (old,) = bundles(tmp_path)
    (tmp_path / "bundles" / "copy.parquet").write_bytes(old.read_bytes())
    assert len(load_measurements(tmp_path)) == 12


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_a_damaged_bundle_is_named_and_may_be_removed(tmp_path, how):
    committed(tmp_path, "abcd")
    (bundle,) = bundles(tmp_path)
    damage(bundle, how)
    with pytest.raises(StorageError, match=f"{bundle}: damaged: .*a copy of parts of the table: remove it"):
        load_measurements(tmp_path)
    bundle.unlink()
    assert set(load_measurements(tmp_path)["cell_id"]) == set("abcd")
