import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from rdstudy.storage.schema import COLUMNS, KEY, POPULATIONS, PROVENANCE, STATUSES, Measurement, columns_markdown

README = Path(__file__).parents[2] / "results" / "README.md"
BY_NAME = {column.name: column for column in COLUMNS}


def test_every_field_of_a_row_is_a_column_in_its_order():
    assert [column.name for column in COLUMNS] == [field.name for field in dataclasses.fields(Measurement)]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_column_says_what_it_means(column):
    assert len(column.meaning.split()) >= 2
    assert column.type in (str, int, float, bool, dt.datetime, list[float])
    assert column.group in ("which", "when and on what", "values", "health", "provenance")


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.endswith(("_nats", "_se"))])
def test_nats_are_nats_and_an_error_has_its_values_unit(name):
    assert BY_NAME[name].unit == "nats"
    assert BY_NAME[name].type in (float, list[float])
    assert BY_NAME[name].nullable
    if name.endswith("_se"):
        assert name.removesuffix("_se") + "_nats" in BY_NAME


def test_what_may_not_be_measured_is_null_and_what_names_a_row_is_not():
    for column in COLUMNS:
        required = column.group in ("which", "when and on what") or column.name == "status"
        assert column.nullable != required or column.name in ("n_examples", "numerics")
    assert set(KEY) <= set(BY_NAME)
    assert not any(BY_NAME[name].nullable for name in KEY)


def test_a_value_that_is_not_given_is_null():
    examples: dict[object, Any] = {str: "x", int: 1, float: 1.0, bool: True}
    required = {column.name: examples[column.type] for column in COLUMNS if not column.nullable}
    row = Measurement(**required)
    assert all(getattr(row, column.name) is None for column in COLUMNS if column.nullable)


def test_the_design_has_its_columns():
    """The names in the design that other tools read; a change of one is a change for every user."""
    text = """
        study cell_id dataset split train_size depth width latent_dim prior beta seed
        step epoch is_final population n_examples
        distortion_nats distortion_se rate_nats rate_se elbo_nats mi_nats mi_se mi_ceiling_nats
        marginal_kl_nats active_units nll_nats nll_se nll_draws nll_ess status message
    """
    assert set(text.split()) <= set(BY_NAME)
    assert STATUSES == ("ok", "diverged", "failed", "stopped")
    assert POPULATIONS == ("train", "test", "validation")
    assert "host" in PROVENANCE
    assert "distortion_nats" not in PROVENANCE


def test_the_columns_as_markdown_are_a_table_of_all_of_them():
    lines = columns_markdown().splitlines()
    for column in COLUMNS:
        (line,) = [line for line in lines if line.startswith(f"| `{column.name}` |")]
        assert column.unit in line
        assert ("or null" in line) == column.nullable
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}


def test_the_readme_of_results_has_the_table_of_columns_as_it_is():
    _, marker, after = README.read_text().partition("<!-- columns -->\n")
    assert marker
    assert after.partition("<!-- /columns -->")[0].strip() == columns_markdown().strip()
