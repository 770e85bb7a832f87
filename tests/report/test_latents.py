"""What each latent carries, from models whose codes are known."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

from rdstudy.errors import UserError
from rdstudy.models.shape import ModelShape
from rdstudy.models.vae import VAE
from rdstudy.report import Analyses
from rdstudy.report.drawings import figure_specs
from rdstudy.report.drawings.latents import latents
from rdstudy.report.latents import STEPS, has_weights, measured_rates, traverse
from rdstudy.storage.images import save_images
from rdstudy.storage.weights import save_model
from tests.analysis.synthetic import Planted, study_table, u_shaped

SHAPE = (2, 3, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A results folder with the weights and images of one cell, `a`."""

    def made(prior: str = "standard_normal", cell_id: str = "a") -> VAE:
        shape = ModelShape(pixels=6, depth=1, width=8, latent_dim=3, prior=prior)
        model = VAE(shape, torch.from_numpy(np.random.default_rng(1).normal(0, 0.7, shape.row)))
        save_model(tmp_path, cell_id, model)
        save_images(tmp_path, cell_id, {"test_images": IMAGES[:2], "train_images": IMAGES[2:]}, SHAPE)
        return model

    return made


def test_rates_of_the_latents_sum_to_the_rate(folder, tmp_path):
    model = folder()
    found = traverse(tmp_path, "a")
    assert found is not None
    with torch.no_grad():
        posterior = model.encode(torch.from_numpy(IMAGES / 255.0))
        rate = model.rate(posterior, posterior.mean).mean()
    assert found.rates_nats.sum() == pytest.approx(float(rate), abs=1e-12)
    assert (np.diff(found.rates_nats[found.latents]) <= 0).all()
    assert found.examples == 4


def test_each_column_is_the_posterior_mean_with_one_latent_changed(folder, tmp_path):
    model = folder()
    found = traverse(tmp_path, "a")
    assert found is not None
    assert found.images.shape == (3, len(STEPS), *SHAPE)
    with torch.no_grad():
        code = model.encode(torch.from_numpy(IMAGES[:1] / 255.0)).mean
        code[0, found.latents[1]] = STEPS[5]
        image = model.mean_image(model.decode(code))
    assert np.array_equal(found.images[1, 5].ravel(), (255 * image[0].numpy()).round().astype(np.uint8))


def test_rates_of_the_table_come_first(folder, tmp_path):
    folder()
    found = traverse(tmp_path, "a", np.array([0.1, 0.3, 0.2]))
    assert found is not None
    assert (found.latents.tolist(), found.examples) == ([1, 2, 0], 0)


def test_the_rates_that_the_table_has_are_those_of_the_last_test_rows():
    table = study_table([Planted(u_shaped(best=0.3))], betas=(1.0,), seeds=1)
    known = pd.Series([[0.5, 0.25]] * len(table), index=table.index)
    found = measured_rates(table.assign(latent_rates_nats=known), table["cell_id"].iloc[0])
    assert found is not None
    assert found.tolist() == [0.5, 0.25]
    assert measured_rates(table.assign(latent_rates_nats=None), table["cell_id"].iloc[0]) is None


def test_a_prior_that_does_not_divide_into_latents_is_traversed_in_the_spread_of_its_codes(folder, tmp_path):
    folder("mixture(2)")
    found = traverse(tmp_path, "a")
    assert found is not None
    assert (found.rates_nats >= 0).all()


def test_weights_that_are_absent_or_cannot_be_read_are_told_apart(folder, tmp_path):
    assert not has_weights(tmp_path, "a")
    folder()
    assert has_weights(tmp_path, "a")
    (tmp_path / "models" / "a.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a model of rdstudy"):
        traverse(tmp_path, "a")


@pytest.fixture
def study(folder, tmp_path):
    table = study_table([Planted(u_shaped(best=0.3))], betas=(1.0, 0.3, 0.1), seeds=3)
    for cell_id in table.loc[table["seed"] == 0, "cell_id"].unique():
        folder(cell_id=cell_id)
    return Analyses.of(table), tmp_path


def test_the_best_beta_and_the_next_larger_one_are_drawn(study):
    spec = latents(*study)
    assert [panel.alt.split(".")[0] for panel in spec.panels] == [
        "Rate of each latent in nats",
        *(panel.alt.split(".")[0] for panel in spec.panels[1:]),
    ]
    assert ["\u03b2 = 1" in spec.panels[1].alt, "\u03b2 = 0.3" in spec.panels[2].alt] == [True, True]
    for panel in spec.panels:
        panel.draw()


def test_without_torch_the_page_says_so_in_a_line(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    spec = latents(*study)
    assert (len(spec.panels), spec.missing) == (0, True)
    assert "PyTorch, which is not installed" in spec.caption


def test_without_weights_there_is_no_word_of_latents(tmp_path):
    analyses = Analyses.of(study_table([Planted(u_shaped(best=0.3))], betas=(1.0, 0.3), seeds=3))
    assert "traversals" not in [spec.name for spec in figure_specs(analyses, tmp_path)]
