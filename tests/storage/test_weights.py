import pytest
import torch
from safetensors.torch import load_file

from rdstudy.errors import UserError
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.storage.weights import load_model, save_model

SHAPE = ModelShape(15, 2, 9, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_comes_back_as_it_was_kept(tmp_path, dtype):
    model = VAE(SHAPE, initial_parameters(SHAPE, "a", dtype))
    save_model(tmp_path, "a", model)
    loaded = load_model(tmp_path, "a")
    assert loaded.shape == SHAPE
    assert torch.equal(loaded.row(), model.row())
    images = torch.rand(4, 15, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert torch.equal(loaded.encode(images).mean, model.encode(images).mean)


def test_weights_can_be_read_without_rdstudy(tmp_path):
    model = VAE(SHAPE, initial_parameters(SHAPE, "a", torch.float32))
    save_model(tmp_path, "a", model)
    tensors = load_file(tmp_path / "models" / "a.safetensors")
    assert tensors.keys() == dict(model.named_parameters()).keys()
    assert tensors["encoder.0.weight"].shape == (15, 9)


def test_what_is_kept_does_not_change_with_the_stack_it_came_from(tmp_path):
    row = initial_parameters(SHAPE, "a", torch.float32)
    save_model(tmp_path, "a", VAE(SHAPE, row))
    before = row.clone()
    row.zero_()
    assert torch.equal(load_model(tmp_path, "a").row(), before)


def test_a_cell_without_weights_is_answered_with_why(tmp_path):
    with pytest.raises(UserError, match=r"no weights of cell b: it is not finished, or diverged, or .*save_models"):
        load_model(tmp_path, "b")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_damaged_file_is_named(tmp_path, keep):
    save_model(tmp_path, "a", VAE(SHAPE, initial_parameters(SHAPE, "a", torch.float32)))
    path = tmp_path / "models" / "a.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"a\.safetensors: not a model of rdstudy"):
        load_model(tmp_path, "a")


def test_the_package_offers_it_by_name(tmp_path):
    import rdstudy

    save_model(tmp_path, "a", VAE(SHAPE, initial_parameters(SHAPE, "a", torch.float32)))
    assert rdstudy.load_model(str(tmp_path), "a").shape == SHAPE
