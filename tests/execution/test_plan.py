"""What `plan` says on a machine with GPUs, told how many there are and how fast, for this one has none."""

import json

import pytest

from rdstudy.errors import UserError
from rdstudy.execution import machine
from rdstudy.execution.costs import EFFICIENCY, STEP_SECONDS
from tests.command import Ended

RATE = 5e13
STUDY = "training.batch_size=128", "grid.width=[512]", "grid.seed={count: 64}", "training.steps=1000"


@pytest.fixture
def plan(command, study_file, monkeypatch):
    """`rdstudy plan --json` where there are so many GPUs and cores."""

    def run(gpus: int, *settings: str, cores: int = 16) -> dict:
        monkeypatch.setattr(machine, "gpu_count", lambda: gpus)
        monkeypatch.setattr(machine, "gpu_throughput", lambda: machine.Throughput(RATE, 1.0))
        monkeypatch.setattr(machine, "cores", lambda: cores)
        options = [word for setting in ("resources.device=auto", *STUDY, *settings) for word in ("--set", setting)]
        done: Ended = command("plan", study_file, "--json", *options)
        assert done.code == 0, done.err
        found: dict = json.loads(done.out)
        return found

    return run


def test_packs_are_a_gpus_where_there_is_one(plan):
    [kind] = plan(1)["packs"]
    assert (kind["packs"], kind["models"]) == (1, 128)


def test_two_gpus_take_half_as_long_as_one(plan):
    one, two = plan(1, "grid.seed={count: 128}"), plan(2, "grid.seed={count: 128}")
    assert (one["workers"], two["workers"]) == (1, 2)
    assert two["seconds"] == pytest.approx(one["seconds"] / 2)


def test_gpus_that_no_core_is_left_for_help_nobody(plan):
    settings = "grid.seed={count: 128}"
    assert plan(4, settings, cores=2)["seconds"] == pytest.approx(plan(2, settings, cores=2)["seconds"])


def test_packs_that_share_a_gpu_share_its_speed(plan):
    whole, shared = plan(1, "grid.seed={count: 128}"), plan(1, "grid.seed={count: 128}", "resources.gpus_per_pack=0.5")
    assert shared["workers"] == 2
    assert whole["seconds"] / 2 < shared["seconds"] <= whole["seconds"]


def test_small_packs_are_as_slow_as_a_gpus_kernels(plan):
    """A step's latency does not depend on how many models share it."""
    few, many = (plan(1, f"grid.seed={{count: {seeds}}}", "grid.width=[8]") for seeds in (1, 8))
    assert many["seconds"] == pytest.approx(few["seconds"], rel=0.1)
    assert few["seconds"] > 1000 * STEP_SECONDS["cuda"]
    assert few["mfu"] < many["mfu"] < EFFICIENCY["cuda"]


def test_a_gpu_in_use_is_said_so(command, study_file, monkeypatch):
    def in_use() -> machine.Throughput:
        raise UserError("the GPU's memory is in use")

    monkeypatch.setattr(machine, "gpu_count", lambda: 1)
    monkeypatch.setattr(machine, "gpu_throughput", in_use)
    done = command("plan", study_file, "--set", "resources.device=auto")
    assert done.code == 2
    assert "memory is in use" in done.err


def test_a_machine_without_a_driver_has_no_gpus(monkeypatch):
    monkeypatch.setattr("pathlib.Path.exists", lambda self: False)
    assert machine.gpu_count() == 0
