import dataclasses
import datetime as dt
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from rdstudy.data.files import TEMPORARY_PREFIX
from rdstudy.storage.checkpoints import AsyncCheckpointer, Checkpoint, Checkpoints
from rdstudy.storage.files import StorageError
from rdstudy.storage.schema import Measurement

VALUES: dict[str, Any] = {"distortion_nats": 0.1 + 0.2}
ROW = Measurement(
    study="tiny",
    cell_id="a",
    dataset="images",
    split="random",
    train_size=40,
    depth=1,
    width=9,
    latent_dim=3,
    prior="standard_normal",
    beta=0.1,
    learning_rate=1e-3,
    batch_size=10,
    optimizer="adam",
    precision="float32",
    seed=0,
    data_seed=0,
    step=10,
    epoch=2.5,
    is_final=False,
    population="test",
    evaluation_id="e",
    status="ok",
    **VALUES,
    finished_at=dt.datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=dt.UTC),
)


def checkpoint(*cells: str, step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "rows": torch.randn(len(cells), 64, generator=generator),
        "exp_avg": torch.randn(len(cells), 64, generator=generator, dtype=torch.float64),
    }
    record = {"step": step, "cells": list(cells), "diverged": {cells[0]: "why"}, "seconds": 0.1}
    return Checkpoint(tensors, record, (ROW, dataclasses.replace(ROW, cell_id=cells[-1])))


def assert_same(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert found.record == expected.record
    assert found.rows == expected.rows
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path)


def files(checkpoints: Checkpoints, pack: str) -> list[str]:
    return sorted(path.name for path in (checkpoints.folder / pack).iterdir())


def test_a_state_comes_back_bit_for_bit(checkpoints):
    saved = checkpoint("a", "b", step=64)
    saved.tensors["rows"][0, :3] = torch.tensor([float("inf"), -0.0, 1e-45])
    checkpoints.save("pack", saved)
    assert_same(checkpoints.load("pack", ["a", "b"]), saved)


def test_a_state_is_written_without_another_copy_of_it_in_memory(checkpoints):
    large = Checkpoint({"rows": torch.zeros(8, 2**20)}, {"step": 64, "cells": ["a"]}, ())
    tracemalloc.start()
    checkpoints.save("pack", large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert_same(checkpoints.load("pack", ["a"]), large)


def test_there_is_none_before_the_first(checkpoints):
    assert checkpoints.load("pack", ["a"]) is None
    assert checkpoints.begun() == []
    assert checkpoints.progress() == []
    checkpoints.remove("pack")
    checkpoints.remove_finished({"a"})


def test_the_newest_two_are_kept_and_the_newest_is_taken(checkpoints):
    for step in (9, 10, 100, 99_999, 1_000_000):
        checkpoints.save("pack", checkpoint("a", step=step))
    assert files(checkpoints, "pack") == ["000000099999.safetensors", "000001000000.safetensors"]
    assert_same(checkpoints.load("pack", ["a"]), checkpoint("a", step=1_000_000))


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_a_damaged_newest_is_passed_over_for_the_one_before(checkpoints, keep):
    for step in (64, 128):
        checkpoints.save("pack", checkpoint("a", "b", step=step))
    newest = checkpoints.folder / "pack" / "000000000128.safetensors"
    newest.write_bytes(newest.read_bytes()[:keep])
    assert_same(checkpoints.load("pack", ["a", "b"]), checkpoint("a", "b", step=64))
    assert checkpoints.begun() == [["a", "b"]]
    assert checkpoints.progress() == [(["a", "b"], 64)]


def test_where_all_are_damaged_the_pack_starts_again(checkpoints):
    checkpoints.save("pack", checkpoint("a", step=64))
    (checkpoints.folder / "pack" / "000000000064.safetensors").write_bytes(b"not safetensors")
    assert checkpoints.load("pack", ["a"]) is None
    assert checkpoints.begun() == []


def test_a_file_being_written_is_no_checkpoint(checkpoints):
    checkpoints.save("pack", checkpoint("a", step=64))
    (checkpoints.folder / "pack" / f"{TEMPORARY_PREFIX}0.safetensors").write_bytes(b"half")
    assert_same(checkpoints.load("pack", ["a"]), checkpoint("a", step=64))


def test_a_part_of_a_pack_finds_its_members_in_the_whole(checkpoints):
    checkpoints.save("whole", checkpoint("a", "b", "c", step=64))
    checkpoints.save("other", checkpoint("d", step=128))
    assert_same(checkpoints.load("half", ["c", "a"]), checkpoint("a", "b", "c", step=64))
    assert checkpoints.load("mixed", ["a", "d"]) is None
    assert checkpoints.load("half", ["c", "a"], elsewhere=False) is None


def test_a_packs_own_state_comes_before_a_larger_packs(checkpoints):
    checkpoints.save("a whole", checkpoint("a", "b", step=128))
    checkpoints.save("half", checkpoint("a", step=64))
    assert_same(checkpoints.load("half", ["a"]), checkpoint("a", step=64))


def test_halves_are_begun_before_the_whole(checkpoints):
    checkpoints.save("a whole", checkpoint("a", "b", step=64))
    checkpoints.save("half", checkpoint("b", step=128))
    assert checkpoints.begun() == [["b"], ["a", "b"]]


def test_states_are_removed_when_every_member_is_finished(checkpoints):
    checkpoints.save("whole", checkpoint("a", "b", step=64))
    checkpoints.save("half", checkpoint("b", step=128))
    checkpoints.remove_finished({"b"})
    assert checkpoints.begun() == [["a", "b"]]
    checkpoints.remove_finished({"a", "b", "c"})
    assert list(checkpoints.folder.iterdir()) == []


def test_the_states_of_one_pack_are_removed_and_no_other_s(checkpoints):
    checkpoints.save("one", checkpoint("a", step=64))
    checkpoints.save("two", checkpoint("b", step=64))
    checkpoints.remove("one")
    assert checkpoints.begun() == [["b"]]


def test_what_is_saved_is_the_state_of_that_moment_whatever_training_does_meanwhile(checkpoints):
    now, expected = checkpoint("a", "b", step=64), checkpoint("a", "b", step=64)
    with AsyncCheckpointer(checkpoints) as saver:
        saver.save("pack", now)
        for tensor in now.tensors.values():
            tensor.zero_()
        saver.wait()
        assert_same(checkpoints.load("pack", ["a", "b"]), expected)
        saver.save("pack", checkpoint("a", "b", step=128))
    assert_same(checkpoints.load("pack", ["a", "b"]), checkpoint("a", "b", step=128))


def test_a_checkpoint_that_cannot_be_written_is_an_error_at_the_next(checkpoints):
    checkpoints.folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.folder.write_text("a file where the folder should be")
    with AsyncCheckpointer(checkpoints) as saver:
        saver.save("pack", checkpoint("a", step=64))
        with pytest.raises(StorageError, match="checkpoints"):
            saver.save("pack", checkpoint("a", step=128))
        saver.wait()
