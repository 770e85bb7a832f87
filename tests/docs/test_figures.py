"""Measured figures in the documents are those of the committed tables and of the kept benchmark results."""

from functools import cache

import pandas as pd
import pytest

import rdstudy
from tests.docs.documents import ROOT, commands, tables, text
from tests.docs.test_commands import mistake

KEPT = ROOT / "tests" / "benchmarks" / "results"
MOST_IMAGES = (8000, 20000)


@cache
def gains() -> pd.Series:
    """Mean test distortion at beta 0.001 minus that at 1, nats, by data set, split, training size and depth."""
    rows = pd.concat(
        rdstudy.load_measurements(
            ROOT / "results" / "reference" / name,
            columns=[
                *("dataset", "split", "train_size", "depth", "beta"),
                *("is_final", "status", "population", "distortion_nats"),
            ],
        )
        for name in ("tetrominoes", "mnist")
    )
    final = rows[rows["is_final"] & (rows["status"] == "ok") & (rows["population"] == "test")]
    means = final.groupby(["dataset", "split", "train_size", "depth", "beta"])["distortion_nats"].mean().unstack()
    return means[0.001] - means[1.0]


def gain_range(sizes: tuple[int, ...], depths: tuple[int, ...]) -> tuple[int, int]:
    keys = gains().index
    chosen = keys.get_level_values("train_size").isin(sizes) & keys.get_level_values("depth").isin(depths)
    return round(gains()[chosen].min()), round(gains()[chosen].max())


def test_the_findings_table_is_that_of_the_reference_tables():
    [rows] = [rows for rows in tables(text("results/README.md")) if "beta 0.001 minus beta 1, nats" in rows[0]]
    sizes = {"500": (500,), "8,000 Tetrominoes or 20,000 digits": MOST_IMAGES}
    depths = {"one hidden layer": (1,), "three hidden layers": (3,)}
    assert len(rows) == 4
    for row in rows:
        low, high = gain_range(sizes[row["training images"]], depths[row["networks"]])
        assert row["beta 0.001 minus beta 1, nats"] == f"{low:+d} to {high:+d}"


def test_the_gains_of_the_digits_are_those_of_their_table():
    [rows] = [rows for rows in tables(text("results/README.md")) if "800 epochs" in rows[0]]
    table = rdstudy.load_measurements(ROOT / "results" / "reference" / "digits")
    final = table[table["is_final"] & (table["population"] == "test")]
    means = final.groupby(["train_size", "depth", "beta", "step"])["distortion_nats"].mean().unstack("beta")
    gains = (means[1.0] - means[0.01]).groupby(["train_size", "depth"]).apply(list)  # by step, ascending
    assert len(rows) == len(gains) == 6
    for row in rows:
        found = gains[int(row["training digits"].replace(",", "")), int(row["hidden layers"])]
        assert [row[f"{n} epochs"] for n in (50, 200, 800)] == [f"{gain:.1f}" for gain in found]


def test_the_readme_states_the_verdicts_on_the_digits():
    claims = pd.read_parquet(ROOT / "results" / "reference" / "digits" / "report" / "analyses" / "claims.parquet")
    lowering = claims[claims["claim"] == "lowering_beta"]
    better = lowering[(lowering["criterion"] == "distortion_nats") & (lowering["verdict"] == "better")]
    low, high = better["difference_nats"].min(), better["difference_nats"].max()
    said = " ".join(text("README.md").split())
    assert f"improves test distortion in {len(better)} of 18 settings, by {low:.1f} to {high:.1f} nats" in said
    assert set(lowering[lowering["criterion"] == "negative_elbo_nats"]["verdict"]) == {"worse"}


def test_the_readme_states_the_findings_of_the_reference_tables():
    said = " ".join(text("README.md").split())
    low, high = gain_range((500,), (1,))
    assert f"{low} to {high} nats higher at beta 0.001 than at 1" in said
    low, high = gain_range(MOST_IMAGES, (1, 3))
    assert f"{-high} to {-low} nats lower" in said


def kept_row(file: str, model: str, training: str) -> dict[str, str]:
    """A row of a kept table of training speed, for 784 pixels."""
    document = (KEPT / file).read_text()
    section = document[document.index(f"784 pixels, {model}, ") :]
    [row] = [row for row in tables(section)[0] if row["training"] == training]
    return row


@pytest.mark.parametrize("model", ["1x512", "3x512"])
@pytest.mark.parametrize(
    ("device", "file", "training", "unit"),
    [
        ("NVIDIA H100", "gpu_speed.md", "pack of 128", "us"),
        ("two cores of a Xeon with AMX", "training_speed.md", "rdstudy, packs of 8, 2 x 1", "ms"),
    ],
)
def test_the_performance_table_is_that_of_the_kept_benchmarks(device, file, training, unit, model):
    [rows] = [rows for rows in tables(text("README.md")) if "time per model-step" in rows[0]]
    [row] = [row for row in rows if f"{device}, {model}" in row.values()]
    kept = kept_row(file, model, training)
    assert row["time per model-step"] == f"{kept[f'{unit} per model-step']} {unit}"
    medians = [value.split("-")[1] for name, value in kept.items() if name.startswith("times ")]
    assert [row["times as fast as pythae's trainer"], row["as a DataLoader loop"]] == medians[:2]


def test_a_kept_result_names_the_command_that_made_it():
    for file in sorted(KEPT.glob("*.md")):
        [command] = list(commands("\n".join(file.read_text().splitlines()[:4])))[:1]
        assert command[:2] == ["python", "-m"], file
        assert mistake(command) is None, file
