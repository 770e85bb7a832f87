"""Every measure on a CUDA device: the values that a CPU gives, up to the rounding of other kernels and their draws."""

import numpy as np
import pytest
import torch

from rdstudy.evaluation.evaluate import measure
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.study import Evaluation

pytestmark = pytest.mark.gpu

EVALUATION = Evaluation.model_validate(
    {
        "nll": {"importance_samples": 64, "examples": 30},
        "refit": {"at": "final", "steps": 30, "examples": 30},
        "ais": {"at": "final", "examples": 30, "steps": 60},
        "ex_post_prior": {"at": "final", "prior": "flow(2)", "steps": 50, "nll_examples": 30},
    }
)


@pytest.mark.parametrize("prior", ["standard_normal", "mixture(3)", "vampprior(4)"])
def test_a_value_is_that_of_a_cpu_within_its_error(dataset, cuda, prior):
    shape = ModelShape(15, 1, 9, 3, prior=prior)
    row = 1.5 * initial_parameters(shape, "a", torch.float32)
    order = np.random.default_rng(3).permutation(100)
    populations = {"train": order[:60], "test": order[60:]}
    found = {}
    for device in (torch.device("cpu"), cuda):
        images = torch.from_numpy(dataset.images.copy()).to(device)
        model = VAE(shape, row.to(device))
        made = measure(model, images, populations, EVALUATION, beta=0.5, stream_id="a", step=50, final=50)
        found[device.type] = made["test"].columns
    for name, value in found["cpu"].items():
        if not name.endswith("_nats") or value is None:
            continue
        error = found["cpu"].get(name.replace("_nats", "_se"))
        allowed = 1e-3 + 0.05 * np.abs(value) + (0 if error is None else 6 * np.asarray(error))
        assert np.all(np.abs(np.subtract(found["cuda"][name], value)) <= allowed), name
