import numpy as np
import pandas as pd

from rdstudy.storage.lists import LISTS, spread_lists
from rdstudy.storage.parts import read_parts, to_arrow, write_part
from rdstudy.storage.paths import storage_path
from rdstudy.storage.table import load_measurements
from tests.made import changed
from tests.storage.test_table import rows_of

NAME = LISTS[0]


def test_each_entry_becomes_a_column_in_the_place_of_its_list():
    table = pd.DataFrame({"beta": [1.0, 2.0, 3.0], NAME: [np.array([0.5, 0.25]), None, [1.0]], "seed": [0, 1, 2]})
    found = spread_lists(table.set_index("seed", drop=False))
    assert list(found.columns) == ["beta", f"{NAME}.0", f"{NAME}.1", "seed"]
    assert found.index.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found[[f"{NAME}.0", f"{NAME}.1"]], [[0.5, 0.25], [np.nan, np.nan], [1.0, np.nan]])


def test_a_table_without_lists_has_no_such_columns():
    table = pd.DataFrame({"beta": [1.0, 2.0], NAME: [None, None]})
    assert list(spread_lists(table).columns) == ["beta"]
    assert spread_lists(table[["beta"]]).equals(table[["beta"]])
    assert list(spread_lists(table[:0]).columns) == ["beta"]


def test_parts_with_and_without_a_list_are_one_table(tmp_path):
    """Null in the rows of the older part, which has no such column."""
    results = storage_path(tmp_path)
    older, newer = rows_of("a"), [changed(row, **{NAME: [0.5, 0.1 + 0.2]}) for row in rows_of("b")]
    write_part(results / "measurements" / "1.parquet", to_arrow(older).drop_columns(NAME))
    write_part(results / "measurements" / "2.parquet", to_arrow(newer))
    assert read_parts(results / "measurements", [NAME])[NAME].to_pylist() == [None] * 4 + [[0.5, 0.1 + 0.2]] * 4
    table = load_measurements(results)
    assert table.loc[table["cell_id"] == "a", NAME].isna().all()
    assert [list(rates) for rates in table.loc[table["cell_id"] == "b", NAME]] == [[0.5, 0.1 + 0.2]] * 4
