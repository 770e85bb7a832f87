"""Columns of lists, such as one value for each latent dimension, as columns of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdstudy.study.measures import measured_columns

if TYPE_CHECKING:
    import pandas as pd

LISTS = tuple(column.name for column in measured_columns() if column.type == list[float])
"""Names of the table's list columns."""


def column_of(name: str) -> str:
    """The table's column that a column of `spread_lists` belongs to.

    >>> column_of("latent_rates_nats.3")
    'latent_rates_nats'
    """
    return name.partition(".")[0]


def spread_lists(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column of numbers for each entry of a list column: NAME.0, NAME.1, ... in place of NAME.

    NaN where a row has no list, or a shorter one than others. A column without any list is left out.

    Args:
        table: rows as `rdstudy.load_measurements` gives them.
    """
    import numpy as np
    import pandas as pd

    for name in [name for name in LISTS if name in table.columns]:
        lists = [() if value is None or isinstance(value, float) else value for value in table[name]]
        numbers = np.full((len(lists), max(map(len, lists), default=0)), np.nan)
        for row, entries in zip(numbers, lists, strict=True):
            row[: len(entries)] = entries
        columns = [f"{name}.{k}" for k in range(numbers.shape[1])]
        place = table.columns.get_loc(name)
        assert isinstance(place, int)
        spread = pd.DataFrame(numbers, index=table.index, columns=columns)
        table = pd.concat([table.iloc[:, :place], spread, table.iloc[:, place + 1 :]], axis=1)
    return table
