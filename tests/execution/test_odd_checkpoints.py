"""A checkpoint whose tensors are not the pack's is left aside at the first attempt, and the pack begins anew."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from rdstudy.execution.protocols import RunContext
from rdstudy.execution.worker import run_pack
from rdstudy.study.data import StudyData
from rdstudy.training.packs import Pack


@pytest.mark.parametrize("shape", [(3,), (1, 3), (0,)])
@pytest.mark.parametrize("name", ["rows", "a"])
def test_a_checkpoint_with_other_tensors_is_not_used(make_study, dataset, tmp_path, name, shape):
    study = make_study("training.steps=10", "evaluation.steps=[10]")
    pack = Pack(tuple(study.cells.values()))
    folder = tmp_path / "checkpoints" / pack.id
    folder.mkdir(parents=True)
    record = {"cells": [cell.id for cell in pack.cells], "step": 5, "diverged": {}, "seconds": 1.0}
    metadata = {"record": json.dumps(record), "rows": "[]"}
    save_file({name: np.zeros(shape, np.float32)}, folder / "000000000005.safetensors", metadata)
    at = RunContext(study, StudyData({0: dataset}), tmp_path, torch.device("cpu"))
    *_, last = run_pack(pack, at, attempts=1)
    assert (last.start_step, len(last.cells)) == (0, 4)
    assert last.staged is not None
