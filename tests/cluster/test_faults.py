"""Faults that need no hosts: a cell that kills its process, a bucket that stutters. Real Ray on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from rdstudy.storage import load_measurements, read_cell_states
from tests.buckets import BUCKET, running
from tests.execution.ray_tune.kill_and_resume import Runs, values, write_study

pytestmark = pytest.mark.cluster

POISON = """
import os, sys
class Poison:
    def find_spec(self, name, path=None, target=None):
        if name == "rdstudy.execution.ray_tune.trainable":
            sys.meta_path.remove(self)
            from rdstudy.execution import pack_run
            begin = pack_run.PackRun.__init__
            def poisoned(self, pack, *rest):
                if any(cell.seed == 0 and cell.beta == 5 and cell.depth == 1 and cell.train_size == 100
                       for cell in pack.cells):
                    os._exit(11)
                begin(self, pack, *rest)
            pack_run.PackRun.__init__ = poisoned
        return None
sys.meta_path.insert(0, Poison())
"""
"""For `sitecustomize`: one cell of the study ends its process each time, as a bug in a driver would."""


def test_a_cell_that_kills_its_process_is_recorded_and_the_rest_of_its_pack_finishes(tmp_path: Path, monkeypatch):
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(POISON)
    study = write_study(tmp_path, cells=16, steps=64, pack_size=4)
    poisoned, sound = Runs(study, tmp_path / "poisoned", tmp_path), Runs(study, tmp_path / "sound", tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "poison"))
        code, said = poisoned.finish(timeout=900)
    assert code == 1, said
    failed = read_cell_states(poisoned.results / "measurements").failed
    assert len(failed) == 1, failed
    assert "(3 times)" in next(iter(failed.values()))
    assert "Traceback" not in said
    assert sound.finish("--no-ray")[0] == 0
    found, expected = values(poisoned.results), values(sound.results)
    rest, their = (frame[~frame["cell_id"].isin(failed)].reset_index(drop=True) for frame in (found, expected))
    assert rest["cell_id"].nunique() == 15
    pd.testing.assert_frame_equal(rest, their, check_exact=True, check_dtype=False)  # nulls made integers float
    assert poisoned.finish()[0] == 0  # the next run, without the poison, finishes it too
    pd.testing.assert_frame_equal(values(poisoned.results), expected, check_exact=True)


def test_a_study_on_ray_into_a_bucket_that_stutters_gives_the_same_table(tmp_path: Path, monkeypatch):
    study = write_study(tmp_path, cells=32, steps=200, pack_size=3)
    alone = Runs(study, tmp_path / "alone", tmp_path)
    assert alone.finish("--no-ray")[0] == 0
    with running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.faults(errors=0.05, slow=0.05)
        url = f"s3://{BUCKET}/study"
        code, said = Runs(study, Path(url), tmp_path).finish("--results", url, timeout=900)
        assert code == 0, said
        counts = server.faults(errors=0.0, slow=0.0)
        assert counts["errors"] > 10
        assert counts["slow"] > 10
        print(f"\n{counts}")
        table = load_measurements(url)
        assert table["cell_id"].nunique() == 32
        pd.testing.assert_frame_equal(values(url), values(alone.results), check_exact=True)
    assert not os.path.exists("s3:")
