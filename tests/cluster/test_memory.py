"""Packs that need more memory than there is, on a real Ray: they are halved until they fit, and no number changes.

Memory is refused in the two ways in which it is: the process gets none (as under `ulimit` or on a GPU), or Ray ends
it because its machine is about to have none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from rdstudy.storage import load_measurements
from tests.execution.ray_tune.kill_and_resume import Runs, values

pytestmark = pytest.mark.cluster

STUDY = """
name: large
dataset: {name: images, path: %s}
grid: {split: [random], beta: [1], depth: [2], width: [2048], latent_dim: [4], train_size: [100], seed: {count: 8}}
training: {steps: 4, batch_size: 8}
evaluation: {steps: [4], num_images: 0}
resources: {pack_size: 4, device: cpu, save_models: false, checkpoint_seconds: 600}
"""
"""Eight models of 9.5 million parameters: with gradient and Adam's two moments 150 MB each, 600 MB a pack."""

HOOK = """
import sys
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == "rdstudy.execution.ray_tune.trainable":
            sys.meta_path.remove(self)
            from rdstudy.execution import pack_run
            begin = pack_run.PackRun.__init__
            def begun(self, pack, *rest):
                before(pack)
                begin(self, pack, *rest)
            pack_run.PackRun.__init__ = begun
        return None
sys.meta_path.insert(0, Hook())
"""

REFUSED = """
import re, resource
limited = False
def before(pack):
    global limited
    if not limited:
        used = 1024 * int(re.search(r"VmData:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
        resource.setrlimit(resource.RLIMIT_DATA, (used + 600_000_000, resource.RLIM_INFINITY))
        limited = True
"""
"""For `sitecustomize`: the process of a pack gets no more than 600 MB more."""

ENDED = """
def before(pack):
    global ballast
    if len(pack) > 1:
        import numpy
        ballast = numpy.ones(%d // 8)
"""
"""For `sitecustomize`: a pack of more than one model needs so many bytes more."""
BALLAST = 6e9


@pytest.fixture
def study(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", allow_pickle=False, images=images)
    path = tmp_path / "large.yaml"
    path.write_text(STUDY % (tmp_path / "images.npz"))
    return path


def run(way: str, study: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str, **environment: str) -> str:
    """Run the study where there is enough memory and where there is not, and compare; how large the packs were."""
    enough, little = Runs(study, folder / "enough", folder), Runs(study, folder / "little", folder)
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK + way)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "hook"), prepend=":")
        for name, value in environment.items():
            patch.setenv(name, value)
        code, said = little.finish(*options, timeout=900)
    assert code == 0, said
    assert "Traceback" not in said
    assert enough.finish("--no-ray", *options)[0] == 0
    pd.testing.assert_frame_equal(values(little.results), values(enough.results), check_exact=True)
    needed, got = (sorted(set(load_measurements(run.results)["pack_size"])) for run in (enough, little))
    return f"{needed} became {got}"


def test_a_pack_whose_process_gets_no_more_memory_is_halved_and_its_values_stay_the_same(study, tmp_path, monkeypatch):
    sizes = run(REFUSED, study, tmp_path, monkeypatch)
    print(f"\npacks of {sizes}")
    assert sizes in ("[4] became [2]", "[4] became [1, 2]", "[4] became [1]")


def test_a_pack_whose_process_ray_ends_for_its_memory_is_halved_and_its_values_stay_the_same(
    study, tmp_path, monkeypatch
):
    memory = psutil.virtual_memory()
    assert memory.available > BALLAST, "this test needs 6 GB of memory"
    limit = (memory.total - memory.available + BALLAST / 2) / memory.total
    options = ("--set", "grid.seed={count: 2}", "--set", "resources.pack_size=2")
    sizes = run(ENDED % BALLAST, study, tmp_path, monkeypatch, *options, RAY_memory_usage_threshold=f"{limit:.3f}")
    print(f"\npacks of {sizes}")
    assert sizes == "[2] became [1]"
