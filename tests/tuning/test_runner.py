"""A real Ray on this machine gives the table that one process gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.tuning.kill_and_resume import Runs, values, write_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, Runs]:
    """One small study, run on Ray and inline, where the temporary folder's name is too long for Ray's sockets."""
    folder = tmp_path_factory.mktemp("runs")
    tmp = folder / "temporary-files-of-a-job-of-a-batch-system-that-likes-names"
    tmp.mkdir()
    study = write_study(folder, cells=16, steps=128, pack_size=4)
    on_ray, inline = (Runs(study, folder / name, tmp) for name in ("ray", "inline"))
    assert on_ray.finish()[0] == 0
    assert inline.finish("--inline")[0] == 0
    return on_ray, inline


def test_ray_gives_the_bits_that_one_process_gives(runs: tuple[Runs, Runs]):
    on_ray, inline = (values(run.results) for run in runs)
    pd.testing.assert_frame_equal(on_ray, inline, check_exact=True)


def test_a_finished_study_trains_nothing_again(runs: tuple[Runs, Runs]):
    before = {path: path.stat().st_mtime_ns for path in runs[0].results.glob("measurements/*")}
    code, output = runs[0].finish()
    assert code == 0
    assert "nothing to train" in output
    assert before == {path: path.stat().st_mtime_ns for path in runs[0].results.glob("measurements/*")}


def test_ray_leaves_no_files_and_says_nothing(runs: tuple[Runs, Runs]):
    assert not list(runs[0].tmp.glob("rdstudy-ray-*"))
    code, output = runs[0].finish("--set", "grid.beta=[5,1,0.1,0.01,7]")
    assert code == 0, output
    ours = ("pack ", "interrupted: ", "next: ", "      ")
    assert all(line.startswith(ours) or "/4 cells" in line for line in output.splitlines()), output


def test_measuring_again_gives_the_same_bits_on_ray_and_in_one_process(runs: tuple[Runs, Runs]):
    for run, options in zip(runs, ([], ["--inline"]), strict=True):
        command = [sys.executable, "-m", "rdstudy", "measure", str(run.results), "--draws", "2", *options]
        environment = {**os.environ, "TMPDIR": str(run.tmp)}
        subprocess.run(command, check=True, timeout=300, env=environment)
    on_ray, inline = (values(run.results).query("mi_draws == 2").reset_index(drop=True) for run in runs)
    assert len(inline) == 2 * 16
    pd.testing.assert_frame_equal(on_ray[on_ray["beta"] != 7].reset_index(drop=True), inline, check_exact=True)


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(runs: tuple[Runs, Runs], tmp_path: Path):
    study = write_study(tmp_path, cells=16, steps=100_000, pack_size=4)
    process = Runs(study, tmp_path / "results", runs[0].tmp).start()
    until = time.monotonic() + 120
    while not list((tmp_path / "results").glob("checkpoints/*/*")) and time.monotonic() < until:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "To go on: rdstudy run" in output
    assert "Traceback" not in output


def test_no_cluster_at_the_address_is_the_users_mistake(runs: tuple[Runs, Runs]):
    code, output = runs[0].finish("--address", "127.0.0.1:1", "--set", "grid.beta=[3]", timeout=180)
    assert code == 2, output
    assert "no Ray cluster at 127.0.0.1:1" in output
    assert "Traceback" not in output


def test_an_inline_run_does_not_import_ray(runs: tuple[Runs, Runs], tmp_path: Path):
    check = (
        "import sys; from rdstudy.cli import app\n"
        f"try: app(['run', {str(runs[1].study)!r}, '--results', {str(tmp_path / 'r')!r}, '--inline',"
        " '--set', 'training.steps=2'])\n"
        "except SystemExit as e: assert e.code == 0, e.code\n"
        "sys.exit('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
