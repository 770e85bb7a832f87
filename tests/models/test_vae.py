import pytest
import torch
from torch.nn import functional

from rdstudy.models.shape import ModelShape
from rdstudy.models.vae import VAE

SHAPES = [ModelShape(15, 0, 9, 3), ModelShape(15, 1, 9, 3), ModelShape(7, 3, 4, 1)]


def random_row(shape: ModelShape) -> torch.Tensor:
    row = torch.zeros(shape.row, dtype=torch.float64)
    row[: shape.n_parameters] = torch.randn(
        shape.n_parameters, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return row


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_becomes_a_module_and_a_row_again(shape):
    row = random_row(shape)
    assert torch.equal(VAE(shape, row).row(), row)


def test_a_row_that_a_module_gives_is_a_copy():
    shape = SHAPES[0]
    row = random_row(shape)
    VAE(shape, row).row().zero_()
    assert row.any()


def test_a_modules_parameters_are_views_of_its_row():
    shape = SHAPES[1]
    row = random_row(shape)
    model = VAE(shape, row)
    row.zero_()
    assert not any(parameter.any() for parameter in model.parameters())


@pytest.mark.parametrize("shape", SHAPES)
def test_encoder_and_decoder_are_affine_maps_with_relu_between(shape):
    row = random_row(shape)
    model = VAE(shape, row)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, shape.pixels, generator=generator, dtype=torch.float64)
    latent = torch.randn(4, shape.latent_dim, generator=generator, dtype=torch.float64)

    values = [row[place].view(parameter.shape) for parameter, place in shape.places()]
    layers = list(zip(values[::2], values[1::2], strict=True))

    def mlp(x: torch.Tensor, part: int) -> torch.Tensor:
        n = shape.depth + 1
        for i, (weight, bias) in enumerate(layers[part * n : (part + 1) * n]):
            x = functional.linear(x if i == 0 else x.clamp(min=0), weight.T, bias)
        return x

    code = mlp(images, 0)
    posterior = model.encode(images)
    torch.testing.assert_close(posterior.mean, code[:, : shape.latent_dim])
    torch.testing.assert_close(posterior.log_std, code[:, shape.latent_dim :])
    torch.testing.assert_close(model.decode(latent), mlp(latent, 1))


def test_any_leading_axes_are_examples():
    shape = SHAPES[1]
    model = VAE(shape, random_row(shape))
    images = torch.rand(2, 3, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(model.encode(images).mean.flatten(0, 1), model.encode(images.flatten(0, 1)).mean)
    torch.testing.assert_close(model.encode(images[0, 0]).log_std, model.encode(images[:, 0]).log_std[0])


def test_a_module_has_no_randomness_of_its_own():
    shape = SHAPES[1]
    model = VAE(shape, random_row(shape))
    images = torch.rand(4, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state = torch.get_rng_state()
    trained, evaluated = model.train().encode(images), model.eval().encode(images)
    assert torch.equal(trained.mean, evaluated.mean)
    assert torch.equal(trained.log_std, evaluated.log_std)
    assert torch.equal(torch.get_rng_state(), state)
