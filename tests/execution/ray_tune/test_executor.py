"""A real Ray on this machine gives the table that one process gives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from tests.execution.ray_tune.kill_and_resume import Runs, values, write_study

pytestmark = pytest.mark.slow


class TwoRuns(NamedTuple):
    """One study, run twice, and what the run on Ray said."""

    on_ray: Runs
    inline: Runs
    said: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TwoRuns:
    """One small study, run on Ray and inline, where the temporary folder's name is too long for Ray's sockets."""
    folder = tmp_path_factory.mktemp("runs")
    tmp = folder / "temporary-files-of-a-job-of-a-batch-system-that-likes-names"
    tmp.mkdir()
    study = write_study(folder, cells=16, steps=128, pack_size=4)
    on_ray, inline = (Runs(study, folder / name, tmp) for name in ("ray", "inline"))
    code, said = on_ray.finish()
    assert code == 0, said
    assert inline.finish("--no-ray")[0] == 0
    return TwoRuns(on_ray, inline, said)


def test_ray_gives_the_bits_that_one_process_gives(runs: TwoRuns):
    on_ray, inline = (values(run.results) for run in runs[:2])
    pd.testing.assert_frame_equal(on_ray, inline, check_exact=True)


def test_a_finished_study_trains_nothing_again(runs: TwoRuns):
    before = {path: path.stat().st_mtime_ns for path in runs.on_ray.results.glob("measurements/*")}
    code, output = runs.on_ray.finish()
    assert code == 0
    assert "nothing to train" in output
    assert before == {path: path.stat().st_mtime_ns for path in runs.on_ray.results.glob("measurements/*")}


def test_ray_leaves_no_files_and_says_nothing(runs: TwoRuns):
    assert not list(runs.on_ray.tmp.glob("rdstudy-ray-*"))
    ours = ("pack ", "interrupted: ", "next: ", "      ")
    images, *lines = runs.said.splitlines()
    assert images.startswith("data: 600 images")
    assert lines[0].startswith("interrupted: 16 cells")
    assert lines[1].startswith("starting Ray")
    assert all(line.startswith(ours) or "/16 cells" in line for line in [lines[0], *lines[2:]]), runs.said
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"([\d,.e-]+) model-steps/s", runs.said)]
    assert rates
    assert min(rates) > 0


def test_measuring_again_gives_the_same_bits_on_ray_and_in_one_process(runs: TwoRuns):
    for run, options in zip(runs[:2], ([], ["--no-ray"]), strict=True):
        command = [sys.executable, "-m", "rdstudy", "remeasure", str(run.results), "--mi-draws", "2", *options]
        environment = {**os.environ, "TMPDIR": str(run.tmp)}
        subprocess.run(command, check=True, timeout=300, env=environment)
    on_ray, inline = (values(run.results).query("mi_draws == 2").reset_index(drop=True) for run in runs[:2])
    assert len(inline) == 2 * 16
    pd.testing.assert_frame_equal(on_ray, inline, check_exact=True)


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(runs: TwoRuns, tmp_path: Path):
    study = write_study(tmp_path, cells=16, steps=100_000, pack_size=4)
    process = Runs(study, tmp_path / "results", runs.on_ray.tmp).start()
    until = time.monotonic() + 120
    while not list((tmp_path / "results").glob("checkpoints/*/*")) and time.monotonic() < until:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Resume with: rdstudy run" in output
    assert "Traceback" not in output


def test_no_cluster_at_the_address_is_the_users_mistake(runs: TwoRuns):
    code, output = runs.on_ray.finish("--address", "127.0.0.1:1", "--set", "grid.beta=[3]", timeout=180)
    assert code == 2, output
    assert "no Ray cluster at 127.0.0.1:1" in output
    assert "Traceback" not in output


def test_an_inline_run_does_not_import_ray(runs: TwoRuns, tmp_path: Path):
    check = (
        "import sys; from rdstudy.cli import app\n"
        f"try: app(['run', {str(runs[1].study)!r}, '--results', {str(tmp_path / 'r')!r}, '--no-ray',"
        " '--set', 'training.steps=2'])\n"
        "except SystemExit as e: assert e.code == 0, e.code\n"
        "sys.exit('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
