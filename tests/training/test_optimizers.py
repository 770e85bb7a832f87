"""The optimizers of packs are PyTorch's, bit for bit, and do without its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from rdstudy.training.optimizers import FlatOptimizer

CLASSES = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_those_of_pytorch_s_class_bit_for_bit(name, dtype):
    rows = torch.randn(4, 1001, generator=torch.Generator().manual_seed(0), dtype=dtype)
    theirs, ours, gradient = rows.clone().requires_grad_(), rows.clone(), torch.empty_like(rows)
    theirs.grad = gradient
    reference = CLASSES[name]([theirs], lr=3e-4, fused=True)
    optimizer = FlatOptimizer(name, ours, gradient, 3e-4)
    draws = torch.Generator().manual_seed(1)
    for step in range(30):
        gradient.normal_(generator=draws)
        reference.step()
        optimizer.step()
        if step == 10:  # as if from a checkpoint
            saved, optimizer = optimizer.moments, FlatOptimizer(name, ours, gradient, 3e-4)
            optimizer.restore({key: value.clone() for key, value in saved.items()}, 11)
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, rows)


def test_the_steps_are_counted_where_the_parameters_are():
    rows = torch.empty(3, device="meta")  # kernels of some devices take no counter from another
    optimizer = FlatOptimizer("adam", rows, rows, 0.1)
    assert optimizer._steps.device == rows.device
    optimizer.restore({"exp_avg": rows, "exp_avg_sq": rows}, 7)
    assert optimizer._steps.device == rows.device


def test_training_does_not_import_the_compiler():
    code = (
        "import sys, torch; from rdstudy.training.optimizers import FlatOptimizer\n"
        "before = 'torch._dynamo' in sys.modules\n"
        "for name in ('adam', 'adamw', 'sgd'): FlatOptimizer(name, torch.ones(3), torch.ones(3), 0.1).step()\n"
        "print(before, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
