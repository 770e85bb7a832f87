"""Run a study, kill it and all its Ray processes at random moments, run it again, and compare every value.

    python tests/execution/ray_tune/kill_and_resume.py --cells 48 --kills 10

The reference is one uninterrupted run in one process without Ray. Between two kills the newest checkpoint is
truncated, Ray's own files are deleted, and once a second run is started beside the first. `test_exactly_once.py` is the
short version.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

import rdstudy
from rdstudy.storage import finished_cells
from rdstudy.storage.schema import PROVENANCE

STUDY = """
name: interrupted
dataset: {{name: images, path: {images}}}
grid:
  split: [random]
  beta: [5, 1, 0.1, 0.01]
  depth: [1, 2]
  width: [128]
  latent_dim: [4]
  train_size: [100, 400]
  seed: {{count: {seeds}}}
training: {{steps: {steps}, batch_size: 50}}
evaluation: {{steps: {{log_spaced: 5}}, num_images: 2}}
resources: {{pack_size: {pack_size}, checkpoint_seconds: 0.3}}
"""


def write_study(folder: Path, *, cells: int, steps: int, pack_size: int) -> Path:
    """A study of at least `cells` small cells on random images."""
    images = np.random.default_rng(0).integers(0, 256, (600, 16, 16), dtype=np.uint8)
    np.savez(folder / "images.npz", allow_pickle=False, images=images)
    path = folder / "interrupted.yaml"
    seeds = math.ceil(cells / 16)
    path.write_text(STUDY.format(images=folder / "images.npz", seeds=seeds, steps=steps, pack_size=pack_size))
    return path


@dataclass
class Runs:
    """Runs of one study into one results folder, as a user would start them."""

    study: Path
    results: Path
    tmp: Path
    log: list[str] = field(default_factory=list)

    def start(self, *options: str) -> subprocess.Popen[str]:
        """`rdstudy run` in a session of its own; on Ray, unless told otherwise."""
        command = [sys.executable, "-m", "rdstudy", "run", str(self.study), "--results", str(self.results)]
        command += options if "--no-ray" in options else ["--ray", *options]
        environment = {**os.environ, "TMPDIR": str(self.tmp)}
        return subprocess.Popen(
            command,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )

    def finish(self, *options: str, timeout: float = 1800) -> tuple[int, str]:
        """`rdstudy run` to its end: exit code and output."""
        process = self.start(*options)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            kill_all(process)
            raise
        return process.returncode, output

    def damage(self) -> None:
        """Truncate the newest checkpoint, and delete all that Ray wrote for itself."""
        newest = max(self.results.glob("checkpoints/*/*.safetensors"), key=lambda p: p.stat().st_mtime, default=None)
        if newest is not None:
            os.truncate(newest, newest.stat().st_size // 2)
            self.log.append(f"truncated {newest.relative_to(self.results)}")
        for folder in self.tmp.glob("rdstudy-ray-*"):
            shutil.rmtree(folder)
            self.log.append(f"deleted {folder.name}")


def kill_all(process: subprocess.Popen[str]) -> int:
    """kill -9 of a run and of every process that it started; how many there were."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)
    process.communicate(timeout=30)
    return len(family)


def _last_words(process: subprocess.Popen[str]) -> str:
    """What a run has printed, which is ended here."""
    process.kill()
    output, _ = process.communicate(timeout=30)
    return output


def values(results: str | Path) -> pd.DataFrame:
    """The table without what may differ: who made a row, and when."""
    return rdstudy.load_measurements(results).drop(columns=list(PROVENANCE))


def kill_and_resume(
    folder: Path, *, cells: int, kills: int, steps: int, pack_size: int, seed: int, spread: float
) -> list[str]:
    """The whole story; raises AssertionError where the promise is broken. Returns what happened.

    A run is killed up to `spread` times later than the first one took to begin its packs.
    """
    study = write_study(folder, cells=cells, steps=steps, pack_size=pack_size)
    (folder / "tmp").mkdir()
    reference = Runs(study, folder / "uninterrupted", folder / "tmp")
    code, output = reference.finish("--no-ray")
    assert code == 0, output
    runs = Runs(study, folder / "killed", folder / "tmp")
    rng = random.Random(seed)
    started = time.monotonic()
    longest = 5.0
    for kill in range(kills):
        process = runs.start()
        try:
            if kill == 0:
                assert _wait_for(runs.results / "checkpoints", process, 300), f"no pack began: {_last_words(process)}"
                longest = time.monotonic() - started + 4
                process.send_signal(signal.SIGSTOP)  # it holds the folder, and cannot end before the second run asks
                second = runs.finish()
                process.send_signal(signal.SIGCONT)
                assert second[0] == 2, f"a second run beside the first was not refused: {second[1]}"
                assert f"process {process.pid}" in second[1], second[1]
                runs.log.append(f"second run refused: {second[1].strip().splitlines()[-1][:100]}")
            elif kill == 1:  # once when some packs are in the table and others are not
                _wait_for(runs.results / "measurements", process, 300)
                time.sleep(rng.uniform(0, 0.5))
            else:
                time.sleep(rng.uniform(0.5, spread * longest))
        finally:
            killed = kill_all(process)
        finished = len(finished_cells(runs.results / "measurements"))
        runs.log.append(f"kill {kill + 1}: {killed} processes; {finished} cells were finished")
        if kill % 2:
            runs.damage()
    code, output = runs.finish()
    assert code == 0, output
    expected, found = values(reference.results), values(runs.results)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    n_cells = rdstudy.load_study(study).n_cells
    assert found["cell_id"].nunique() == n_cells
    assert not list((runs.results / "checkpoints").iterdir()), "checkpoints of finished packs are left"
    assert not list((runs.results / "staging").iterdir()), "staged rows are left"
    assert not list(runs.tmp.glob("rdstudy-*")), "temporary folders of killed runs are left"
    runs.log.append(f"{n_cells} cells, {len(found)} rows, each once, equal to the uninterrupted run bit for bit")
    return runs.log


def _wait_for(path: Path, process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether anything appears in a folder while the process lives."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if path.is_dir() and any(path.iterdir()):
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=48)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pack-size", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    chosen = arguments.seed if arguments.seed is not None else int(time.time())
    print(f"seed {chosen}")
    with tempfile.TemporaryDirectory() as temporary:
        for line in kill_and_resume(
            Path(temporary),
            cells=arguments.cells,
            kills=arguments.kills,
            steps=arguments.steps,
            pack_size=arguments.pack_size,
            seed=chosen,
            spread=3,
        ):
            print(line)
