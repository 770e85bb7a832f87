"""Cells trained again say whether a table is what training gives; a table says whether it contradicts itself."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rdstudy.execution.verify import COUNTED, _compared
from tests.command import contents, refused

RESULTS = Path("results/tiny")


@pytest.fixture
def finished(command, study_file):
    """The tiny study, run; then `rdstudy verify` on it."""
    assert command("run", study_file, "--no-ray").code == 0
    return lambda *options, place=RESULTS: command("verify", place, *options)


def change(column: str, by, *, row: int = -1) -> str:
    """Write another value into one row of the table; returns the row's cell."""
    [part] = (RESULTS / "measurements").glob("*.parquet")
    table = pq.read_table(part)
    rows = table.to_pylist()
    rows[row][column] = by(rows[row][column])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), part)
    return str(rows[row]["cell_id"])


def test_what_was_trained_here_comes_out_with_the_same_bits_and_nothing_is_written(finished):
    before = contents(Path("results"))
    ended = finished("--cells", 4)
    assert ended.code == 0, ended
    assert ended.out.count("same bits: ") == 4
    assert "4 of 4 cells, drawn with seed 0, match the table" in ended.out
    assert contents(Path("results")) == before


@pytest.mark.parametrize("column", ["mi_nats", "mi_upper_se", "nll_nats", "distortion_se", "active_units", "mi_draws"])
def test_a_changed_value_is_found_however_little_it_was_changed(finished, column):
    cell_id = change(column, lambda value: value + (1 if isinstance(value, int) else 1e-4 * value))
    ended = finished("--cells", 4)
    assert ended.code == 1
    assert f"different: cell {cell_id}, step 130, " in ended.out
    assert f": {column} is " in ended.out
    assert "3 of 4 cells" in ended.out


def test_a_changed_entry_of_a_list_is_found(finished):
    cell_id = change("latent_rates_nats", lambda rates: [rates[0], rates[1] + 1e-4 * sum(rates), *rates[2:]])
    ended = finished("--cells", 4)
    assert ended.code == 1
    assert f"different: cell {cell_id}, step 130, " in ended.out
    assert ": latent_rates_nats.1 is " in ended.out


def test_a_table_made_before_a_column_is_compared_without_it(finished):
    [part] = (RESULTS / "measurements").glob("*.parquet")
    table = pq.read_table(part)
    bounds = [name for name in table.column_names if name.startswith(("mi_lower", "mi_upper", "mi_bounds"))]
    pq.write_table(table.drop_columns(["latent_rates_nats", *bounds]), part)
    older = finished("--cells", 4)
    assert older.code == 0, older
    assert older.out.count("same bits: ") == 4
    half = [rates if k % 2 else None for k, rates in enumerate(table["latent_rates_nats"].to_pylist())]
    k = table.schema.get_field_index("latent_rates_nats")
    pq.write_table(table.set_column(k, table.schema.field(k), pa.array(half, table.schema.field(k).type)), part)
    assert finished("--cells", 4).code == 0


@pytest.mark.parametrize(
    ("column", "by", "words"),
    [
        ("beta", lambda beta: beta * 1.01, "beta is "),
        ("seed", lambda seed: seed + 1, "seed is "),
        ("elbo_nats", lambda elbo: elbo + 0.01, "not elbo_nats = -(distortion_nats + rate_nats)"),
        ("rate_nats", lambda rate: rate + 0.01, "not elbo_nats = "),
        ("mi_nats", lambda mi: mi + 9, "not mi_nats <= mi_ceiling_nats"),
        ("mi_lower_nats", lambda mi: mi + 9, "not mi_lower_nats <= log(n_examples)"),
        ("mi_upper_nats", lambda mi: mi + 0.01, "not marginal_kl_lower_nats = rate_nats - mi_upper_nats"),
    ],
)
def test_a_table_that_contradicts_itself_is_found_without_training_the_cell(finished, column, by, words):
    changed = change(column, by)
    ended = finished("--cells", 1, "--seed", 3)
    assert ended.code == 1
    assert f"different: cell {changed}" in ended.out
    assert words in ended.out


def test_what_another_processor_gives_of_a_single_seed_is_not_judged(make_cell):
    """After many steps two processors differ as two seeds do, and how far that is one seed does not tell."""
    key = pd.MultiIndex.from_tuples([(1000, "test")], names=["step", "population"])
    counted = dict.fromkeys(COUNTED, 1)
    there, here = (
        pd.DataFrame({**counted, **values}, index=key) for values in ({"rate_nats": 9.0}, {"rate_nats": 8.0})
    )
    of_seeds = {
        n: pd.DataFrame({"rate_nats": [spread]}, index=key) for n, spread in ((1, math.nan), (2, 0.5), (3, 0.1))
    }
    found = {n: _compared(make_cell(), there, here, spread) for n, spread in of_seeds.items()}
    assert (found[1].unjudged, len(found[1].wrong)) == (1, 0)
    assert (found[2].unjudged, len(found[2].wrong)) == (0, 0)
    assert (found[3].unjudged, len(found[3].wrong)) == (0, 1)


def test_another_processors_rounding_is_no_fault(finished, study_file):
    """The same libraries told to use instructions that an older processor has: other sums, other bits."""
    older = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    ended = subprocess.run(
        [sys.executable, "-m", "rdstudy", "verify", str(RESULTS), "--cells", "2"],
        env=older | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended
    assert "2 of 2 cells" in ended.stdout
    assert "within rounding" in ended.stdout, "the bits were the same: nothing was tried"


def test_the_draw_is_over_all_results_folders_in_a_folder_and_repeatable(finished, command, study_file):
    assert command("run", study_file, "--no-ray", "--results", "results/other", "--set", "grid.seed=[7]").code == 0
    first, again = (finished("--cells", 3, "--seed", 5, place=Path("results")) for _ in range(2))
    assert first.code == 0, first
    assert [line for line in first.out.splitlines() if "same bits" in line] == [
        line for line in again.out.splitlines() if "same bits" in line
    ]
    everything = finished("--cells", 6, place=Path("results"))
    assert everything.out.count("same bits: ") == 6


def test_other_data_are_refused(finished, tmp_path):
    import numpy as np

    (tmp_path / "else").mkdir()
    images = np.random.default_rng(8).integers(0, 256, (80, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "else" / "images.npz", images=images)
    ended = finished("--cells", 1, "--set", f"dataset.path={tmp_path / 'else' / 'images.npz'}")
    refused(ended, "fingerprint")


@pytest.mark.parametrize("n", [0, 5])
def test_more_cells_than_there_are_cannot_be_drawn(finished, n):
    refused(finished("--cells", n), f"--cells: expected 1 to 4, the number of finished cells; found {n}")


def test_a_folder_without_results_is_refused(command, tmp_path):
    refused(command("verify", tmp_path), "no study.json")
