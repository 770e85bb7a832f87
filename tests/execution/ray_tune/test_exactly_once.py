"""The promise: every cell exactly once, the same bits, whatever was killed when. Longer: `make exactly-once`."""

import tempfile
from pathlib import Path

import pytest

from tests.execution.ray_tune.kill_and_resume import kill_and_resume


@pytest.mark.slow
def test_a_study_killed_at_random_moments_ends_with_the_uninterrupted_table_bit_for_bit():
    with tempfile.TemporaryDirectory(prefix="rd-") as folder:
        log = kill_and_resume(Path(folder), cells=16, kills=3, steps=640, pack_size=4, seed=1, spread=1.5)
    assert any("second run refused" in line for line in log)
    assert sum("kill " in line for line in log) == 3
