"""Running a study over several data seeds, with validation examples."""

import json

import numpy as np
import pytest

from rdstudy import load_measurements
from rdstudy.execution.verify import Recorded, contradictions
from rdstudy.storage.study_record import recorded_fingerprints
from tests.command import Ended

TEXT = """\
name: tiny
dataset: {name: tetrominoes, size: 64, test_size: 10}
grid: {split: [random], beta: [1, 0.1], width: [4], latent_dim: [2], train_size: [20], seed: [0]}
training: {steps: 12, batch_size: 10}
evaluation: {steps: [6], nll: {importance_samples: 4, examples: 5}, num_images: 1}
resources: {device: cpu}
"""
LISTED = ("--set", "grid.data_seed=[0,3]", "--set", "dataset.validation_size=8")


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("RDSTUDY_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT)
    return path


def ok(ended: Ended) -> Ended:
    assert ended.code == 0, ended.err
    return ended


def test_every_command_works_over_data_seeds_and_validation_examples(study, command, tmp_path):
    results = tmp_path / "results"
    planned = json.loads(ok(command("plan", study, *LISTED, "--results", results, "--json")).out)
    assert planned["missing"] == 4
    ok(command("run", study, *LISTED, "--no-ray", "--results", results))
    table = load_measurements(results)
    assert table.groupby(["population", "step"]).size().to_dict() == {
        (population, step): 4 for population in ("train", "test", "validation") for step in (6, 12)
    }
    assert table.groupby("population")["n_examples"].unique().map(list).to_dict() == {
        "train": [20],
        "test": [10],
        "validation": [8],
    }
    assert set(table["data_seed"]) == {0, 3}
    assert table.loc[table["is_final"], "mi_nats"].notna().all()
    record = json.loads((results / "study.json").read_text())
    assert len(set(recorded_fingerprints(record).values())) == 2
    assert "0 missing" in ok(command("status", results)).out
    ok(command("verify", results, "--cells", 4))
    ok(command("remeasure", results, "--no-ray", "--nll-draws", 8))
    again = load_measurements(results)
    assert len(again) == len(table) + 4 * 3
    ok(command("report", results))
    ok(command("export", results, tmp_path / "exported", "--format", "csv"))
    cell = table["cell_id"].iloc[0]
    assert "validation" in ok(command("show", results, cell)).out


def test_a_data_seed_is_added_without_training_the_first_again(study, command, tmp_path):
    results = tmp_path / "results"
    ok(command("run", study, "--no-ray", "--results", results))
    before = load_measurements(results)
    said = ok(command("run", study, "--set", "grid.data_seed=[0,3]", "--no-ray", "--results", results))
    assert "2 missing" in said.out
    after = load_measurements(results)
    kept = after[after["data_seed"] == 0].reset_index(drop=True)
    assert kept["distortion_nats"].tolist() == before["distortion_nats"].tolist()
    assert (after["data_seed"] == 3).sum() == len(before)


def test_a_cell_has_the_same_bits_with_and_without_other_data_seeds_and_validation(study, command, tmp_path):
    ok(command("run", study, *LISTED, "--no-ray", "--results", tmp_path / "all"))
    ok(command("run", study, "--set", "dataset.seed=3", "--no-ray", "--results", tmp_path / "one"))
    both, one = (load_measurements(tmp_path / name) for name in ("all", "one"))
    both = both[(both["data_seed"] == 3) & (both["population"] != "validation")]
    order, values = ["beta", "step", "population"], ["distortion_nats", "rate_nats", "mi_nats", "nll_nats"]
    found = [table.sort_values(order)[values].to_numpy(dtype=float) for table in (both, one)]
    np.testing.assert_array_equal(*found)


def test_too_large_a_validation_size_is_one_message_and_code_2(study, command):
    for name in ("plan", "run", "data"):
        ended = command(name, study, "--set", "dataset.validation_size=60")
        assert ended.code == 2
        assert ended.err.count("validation_size=60, but split random") == 1
        assert "Traceback" not in ended.err


def test_data_shows_the_validation_examples_and_every_fingerprint(study, command):
    said = ok(command("data", study, *LISTED)).out
    assert "10 for test, 8 for validation" in said
    assert "fingerprint of data seed 0 " in said
    assert "fingerprint of data seed 3 " in said


def test_other_images_of_one_data_seed_are_refused(study, command, tmp_path):
    results = tmp_path / "results"
    ok(command("run", study, *LISTED, "--no-ray", "--results", results))
    record = json.loads((results / "study.json").read_text())
    record["data_fingerprints"]["3"] = "0" * 64
    (results / "study.json").write_text(json.dumps(record))
    ended = command("run", study, *LISTED, "--set", "grid.seed=[0,1]", "--no-ray", "--results", results)
    assert ended.code == 2
    assert "was made from other data" in ended.err
    assert command("verify", results, "--cells", 4).code == 2


def test_rows_made_before_there_was_the_column_have_the_data_seed_of_their_study(study, command, tmp_path):
    import pyarrow.parquet as pq

    results = tmp_path / "results"
    ok(command("run", study, "--set", "dataset.seed=3", "--no-ray", "--results", results))
    for part in (results / "measurements").glob("*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(["data_seed"]), part)
    assert set(load_measurements(results)["data_seed"]) == {3}
    (recorded,) = Recorded.within(results)
    assert contradictions(recorded) == []
