"""A run that is told to end saves what it has done, also before its first checkpoint was due."""

import signal
from collections.abc import Iterator

import pytest
import torch

from rdstudy.execution.interrupts import deferred_interrupts
from rdstudy.execution.protocols import RunContext
from rdstudy.execution.worker import run_pack
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.study.data import StudyData
from rdstudy.training.packs import Pack


@pytest.fixture
def at(make_study, dataset, tmp_path) -> RunContext:
    return RunContext(make_study(), StudyData({0: dataset}), tmp_path, torch.device("cpu"))


@pytest.mark.parametrize("end", ["closed", "interrupted"])
def test_a_pack_that_is_ended_is_saved_where_it_stands(at, end):
    pack = Pack(tuple(at.study.cells.values()))
    running = run_pack(pack, at)
    step = next(running).step
    assert Checkpoints(at.results).progress() == [], "the first one is due after 30 s"
    if end == "closed":
        running.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            running.throw(KeyboardInterrupt)
    assert [saved for _, saved in Checkpoints(at.results).progress()] == [step]
    assert next(run_pack(pack, at)).start_step == step


def test_a_finished_pack_leaves_no_checkpoint(at):
    running = run_pack(Pack(tuple(at.study.cells.values())), at)
    for progress in running:
        if progress.staged:
            running.close()
    assert Checkpoints(at.results).progress() == []


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """SIGINT raises, also where the tests run in the background, in which it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(n: int, reached: list[str]) -> None:
    """A deferring block in which `n` signals arrive."""
    with deferred_interrupts():
        for _ in range(n):
            signal.raise_signal(signal.SIGINT)
        reached.append("end")


def test_an_interrupt_waits_for_the_end_of_the_block():
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(1, reached)
    assert reached == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_does_not_wait():
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(2, reached)
    assert not reached
