"""The rate of each latent dimension: a closed form, the sum, and nothing else changed by it."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import rdstudy
from rdstudy.evaluation.evaluate import measure
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.study import Evaluation
from rdstudy.study.measures import measure_classes

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
POPULATION = np.random.default_rng(3).permutation(100)[:37]


@pytest.fixture(scope="module")
def images(dataset) -> torch.Tensor:
    return torch.from_numpy(dataset.images.copy())


def model(prior: str = "standard_normal", *, collapsed: int | None = None) -> VAE:
    """An untrained model; the posterior of the dimension `collapsed` is the prior for every image."""
    shape = ModelShape(15, 1, 9, 3, prior=prior)
    vae = VAE(shape, 1.5 * initial_parameters(shape, "a", torch.float32))
    if collapsed is not None:
        with torch.no_grad():
            for output in (collapsed, 3 + collapsed):
                vae.get_parameter("encoder.2.weight")[:, output] = 0
                vae.get_parameter("encoder.2.bias")[output] = 0
    return vae


def columns(vae: VAE, images: torch.Tensor, indices: np.ndarray = POPULATION, evaluation: Evaluation | None = None):
    asked = evaluation or Evaluation()
    found = measure(vae, images, {"test": indices}, asked, beta=1.0, stream_id="a", step=7, final=100)
    return found["test"].columns


def test_each_is_the_kl_of_its_dimension_averaged_over_the_population(images):
    found = columns(model(), images)["latent_rates_nats"]
    mean, log_std = (each.detach().double().numpy() for each in model().encode(images[POPULATION] / 255))
    kl = 0.5 * (mean**2 + np.exp(2 * log_std) - 1 - 2 * log_std)
    assert found == pytest.approx(kl.mean(0).tolist(), rel=1e-5)


def test_they_sum_to_the_rate(images):
    found = columns(model(), images)
    assert sum(found["latent_rates_nats"]) == pytest.approx(found["rate_nats"], rel=1e-6)


def test_a_dimension_that_tells_nothing_of_the_image_has_rate_0_and_the_others_do_not(images):
    found = columns(model(collapsed=1), images)["latent_rates_nats"]
    assert found[1] == 0
    assert [rate > 0.01 for rate in found] == [True, False, True]


def test_a_prior_whose_rate_is_no_sum_over_dimensions_has_none(images):
    found = columns(model("mixture(2)"), images)
    assert found["latent_rates_nats"] is None
    assert found["rate_nats"] > 0


def test_no_other_value_depends_on_it(images):
    class Without(Evaluation):
        _classes: ClassVar = {name: each for name, each in measure_classes().items() if name != "latent_rates"}

    asked = {"mutual_information": {"at": "all"}, "nll": {"at": "all", "importance_samples": 8}}
    whole = columns(model(), images, evaluation=Evaluation.model_validate(asked))
    del whole["latent_rates_nats"]
    assert whole == columns(model(), images, evaluation=Without.model_validate(asked))


def test_tables_made_before_it_have_null():
    table = rdstudy.load_measurements(str(REFERENCE / "published_figure"), columns=["latent_rates_nats", "rate_nats"])
    assert table["latent_rates_nats"].isna().all()
    assert table["rate_nats"].notna().any()
