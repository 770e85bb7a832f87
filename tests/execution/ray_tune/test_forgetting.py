"""A long study's driver does not remember the packs that have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_tune_keeps_only_the_trials_that_are_at_work_or_wait(tmp_path: Path):
    command = [sys.executable, "-m", "tests.execution.ray_tune.trials_kept", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "gave up" not in ended.stderr, ended.stderr
    said = ended.stdout.split()
    packs, kept = int(said[1]), int(said[3])
    at_once = (os.cpu_count() or 1) + 1  # a pack a core, and one that waits
    assert 1 <= kept <= at_once + 4 < packs, said  # and those of the last step of Tune's loop
