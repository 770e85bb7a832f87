"""`clean` removes what no run needs any more, and nothing else."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from rdstudy.data.files import TEMPORARY_PREFIX
from rdstudy.storage import locked, stage
from rdstudy.storage.parts import to_arrow, write_part
from rdstudy.study import Study
from tests.command import contents, refused
from tests.made import make_results, make_sheet, rows_of


def checkpoint(results: Path, pack: str, *cells: str, step: int = 10) -> Path:
    path = results / "checkpoints" / pack / f"{step:012d}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"cells": cells, "step": step, "diverged": {}, "seconds": 1.0}
    save_file({"rows": np.zeros((len(cells), 3), np.float32)}, path, {"record": json.dumps(record), "rows": "[]"})
    return path


def write(path: Path, n_bytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * n_bytes)
    return path


@pytest.fixture
def study(make_study) -> Study:
    made: Study = make_study()
    return made


@pytest.fixture
def results(study, tmp_path) -> Path:
    """A folder with two finished cells, one that failed, one that is missing, and all that belongs to them."""
    first, second, third, _ = study.cells
    folder = make_results(tmp_path / "r", study, {first: "ok", second: "ok", third: "failed"})
    make_sheet(folder, first)
    write(folder / "models" / f"{first}.safetensors", 50)
    write(folder / "report" / "index.html", 20)
    write(folder / "search.json", 2)
    write(folder / "set-aside" / "foreign.parquet", 8)
    return folder


@pytest.fixture
def needed(results, study) -> dict[Path, bytes]:
    """What must stay: the results, and what the next run continues from."""
    _, second, third, fourth = study.cells
    checkpoint(results, "unfinished", second, fourth)
    stage(results, "unfinished", rows_of(study, study.cells[third]))
    return contents(results)


@pytest.fixture
def disposable(results, needed, study) -> dict[str, list[Any]]:
    """What nobody needs, by kind."""
    first, second, _, _ = study.cells
    finished = [checkpoint(results, "finished", first, second, step=step) for step in (10, 20)]
    return {
        "checkpoints of finished cells": finished,
        "damaged checkpoints": [write(results / "checkpoints" / "half" / f"{3:012d}.safetensors", 30)],
        "staged rows that the table has": [stage(results, "twice", rows_of(study, study.cells[first]))],
        "temporary files of killed runs": [
            write(results / folder / f"{TEMPORARY_PREFIX}x.{i}", 1000 + i)
            for i, folder in enumerate((".", "measurements", "models", "sheets", "staging", "checkpoints/unfinished"))
        ],
        "outdated bundles": [outdated_bundle(results, study)],
    }


def outdated_bundle(results: Path, study: Study) -> Path:
    path = results / "bundles" / "old.parquet"
    table = to_arrow(rows_of(study, next(iter(study.cells.values()))))
    write_part(path, table.replace_schema_metadata({b"rdstudy.parts": json.dumps({"gone.parquet": 1})}))
    return path


def test_what_is_not_needed_is_listed_with_its_size_and_stays(command, results, disposable):
    before = contents(results)
    ended = command("clean", results, "--json")
    assert (ended.code, ended.err) == (0, "")
    listed = json.loads(ended.out)
    assert {each["kind"]: (each["files"], each["bytes"]) for each in listed["disposable"]} == {
        kind: (len(paths), sum(path.stat().st_size for path in paths)) for kind, paths in disposable.items()
    }
    assert listed["bytes"] == sum(each["bytes"] for each in listed["disposable"])
    assert listed["removed"] is False
    text = command("clean", results).out
    for kind in disposable:
        assert kind in text
    assert f"rdstudy clean {results} --yes" in text
    assert contents(results) == before


def test_yes_removes_exactly_that(command, results, needed, disposable):
    listed = json.loads(command("clean", results, "--json").out)
    removed = json.loads(command("clean", results, "--yes", "--json").out)
    assert removed == listed | {"removed": True}
    after = contents(results)
    del after[results / "lock"]
    after.pop(results / "bundles", None)
    assert after == needed
    ended = command("clean", results, "--yes")
    assert (ended.code, "nothing" in ended.out) == (0, True)


def test_nothing_is_listed_or_removed_during_a_run(command, results, disposable):
    with locked(results):
        before = contents(results)
        for more in ([], ["--json"], ["--yes"], ["--yes", "--json"]):
            ended = command("clean", results, *more)
            refused(ended, "is being written by process ")
            assert ended.out == ""
        assert contents(results) == before


@pytest.mark.parametrize("linked", ["checkpoints", "checkpoints/finished", "staging", "models", "bundles"])
def test_a_linked_folder_is_not_followed(command, results, disposable, tmp_path, linked):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(results / linked, elsewhere)
    write(elsewhere / f"{TEMPORARY_PREFIX}x", 9)
    (results / linked).symlink_to(elsewhere)
    before = contents(elsewhere)
    assert command("clean", results, "--yes").code == 0
    assert contents(elsewhere) == before
    assert (results / linked).is_symlink()


def test_a_linked_file_stays_and_so_does_what_it_names(command, results, disposable, tmp_path):
    paths = [path for kind in disposable.values() for path in kind]
    for i, path in enumerate(paths):
        path.rename(tmp_path / f"kept{i}")
        path.symlink_to(tmp_path / f"kept{i}")
    before = contents(tmp_path)
    assert command("clean", results, "--yes").code == 0
    after = contents(tmp_path)
    del after[results / "lock"]
    assert after == before


def test_a_file_of_ones_own_among_the_checkpoints_stays(command, results, disposable):
    own = [write(results / "checkpoints" / "finished" / name, 5) for name in ("notes.txt", "best.safetensors")]
    assert command("clean", results, "--yes").code == 0
    assert all(path.exists() for path in own)
    assert not any(path.exists() for path in disposable["checkpoints of finished cells"])


def test_what_is_no_results_folder_is_refused_and_unchanged(command, tmp_path):
    write(tmp_path / "checkpoints" / "a" / f"{1:012d}.safetensors", 3)
    before = contents(tmp_path)
    refused(command("clean", tmp_path, "--yes"), "not a results folder")
    refused(command("clean", tmp_path / "gone", "--yes"), "not a results folder")
    assert contents(tmp_path) == before


def test_a_damaged_table_is_named_and_nothing_is_removed(command, results, disposable):
    write(results / "measurements" / "bad.parquet", 10)
    before = contents(results)
    refused(command("clean", results), "bad.parquet")
    refused(command("clean", results, "--yes"), "bad.parquet")
    after = contents(results)
    after.pop(results / "lock", None)
    assert after == before


def test_a_killed_run_that_was_cleaned_is_resumed(command, study_file, tmp_path):
    """Real leftovers: of a run that was killed while it trained."""
    slow = [str(study_file), "--no-ray", "--set", "training.steps=200000", "--set", "evaluation.steps=[100]"]
    arguments = [*slow, "--results", str(tmp_path / "r")]
    run = subprocess.Popen([sys.executable, "-m", "rdstudy", "run", *arguments], stdout=subprocess.DEVNULL)
    with run:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("r/lock")) and time.monotonic() < until:
            time.sleep(0.05)
        refused(command("clean", tmp_path / "r", "--yes"), f"process {run.pid} ")
        run.send_signal(signal.SIGKILL)
    write(tmp_path / "r" / "models" / f"{TEMPORARY_PREFIX}killed", 7)
    listed = json.loads(command("clean", tmp_path / "r", "--yes", "--json").out)
    assert {"kind": "temporary files of killed runs", "files": 1, "bytes": 7} in listed["disposable"]
    assert command("status", tmp_path / "r").code == 0
