import math

import pytest
import torch

from rdstudy.models.likelihoods.bernoulli import Bernoulli
from rdstudy.models.objective import lagrangian
from rdstudy.models.priors.standard_normal import StandardNormal
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import ROW_MULTIPLE, StackedVAE, initial_parameters
from rdstudy.models.vae import VAE

MODELS = 3
BETAS = torch.tensor([1.0, 0.1, 4.0], dtype=torch.float64)


def rows_of(shape: ModelShape, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.stack([initial_parameters(shape, f"cell {k}", dtype) for k in range(MODELS)])


def batch_of(
    shape: ModelShape, batch_size: int, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and noise for every model, the rows beyond the batch filled with other numbers."""
    n_rows = math.ceil(batch_size / ROW_MULTIPLE) * ROW_MULTIPLE
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(MODELS, n_rows, shape.pixels, generator=generator, dtype=torch.float64)
    noise = torch.randn(MODELS, n_rows, shape.latent_dim, generator=generator, dtype=torch.float64)
    return images.to(dtype), noise.to(dtype)


def gradient(stack: StackedVAE, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    stack.lagrangian_gradient(images, noise, BETAS.to(images.dtype).view(-1, 1, 1))
    return stack.grad.clone()


def autograd(
    shape: ModelShape, row: torch.Tensor, images: torch.Tensor, noise: torch.Tensor, beta: float
) -> torch.Tensor:
    """The gradient of the objective through the plain module, as a row."""
    model = VAE(shape, row.clone())
    posterior = model.encode(images)
    loss = lagrangian(
        Bernoulli().distortion(model.decode(posterior.sample(noise)), images), StandardNormal().rate(posterior), beta
    )
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    flat = torch.cat([each.reshape(-1) for each in gradients])
    return torch.nn.functional.pad(flat, (0, shape.row - len(flat)))


@pytest.mark.parametrize("batch_size", [1, 10, 32, 45])
@pytest.mark.parametrize(
    "shape",
    [ModelShape(15, 0, 9, 3), ModelShape(15, 1, 9, 3), ModelShape(64, 1, 32, 8), ModelShape(7, 3, 5, 1)],
    ids=str,
)
def test_the_hand_written_gradient_is_autograds(shape, batch_size):
    rows = rows_of(shape)
    images, noise = batch_of(shape, batch_size)
    stack = StackedVAE(shape, rows.clone(), batch_size=batch_size)
    found = gradient(stack, images, noise)
    for k in range(MODELS):
        expected = autograd(shape, rows[k], images[k, :batch_size], noise[k, :batch_size], BETAS[k].item())
        torch.testing.assert_close(found[k], expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(stack.rows, rows)


def test_a_second_gradient_takes_the_place_of_the_first():
    shape = ModelShape(15, 2, 9, 3)
    images, noise = batch_of(shape, 10)
    stack = StackedVAE(shape, rows_of(shape), batch_size=10)
    first = gradient(stack, images, noise)
    gradient(stack, 1 - images, -noise)
    assert torch.equal(gradient(stack, images, noise), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_only_pad_the_batch_count_nothing(dtype):
    shape = ModelShape(15, 1, 9, 3)
    images, noise = batch_of(shape, 10, dtype)
    stack = StackedVAE(shape, rows_of(shape, dtype), batch_size=10)
    assert stack.n_rows == ROW_MULTIPLE
    first = gradient(stack, images, noise)
    images[:, 10:], noise[:, 10:] = 0, 0
    assert torch.equal(gradient(stack, images, noise), first)
    assert first[:, : shape.n_parameters].any(dim=1).all()
    assert not first[:, shape.n_parameters :].any()


@pytest.mark.parametrize("product_dtype", [None, torch.bfloat16])
def test_no_model_touches_anothers_gradient(product_dtype):
    shape = ModelShape(15, 1, 9, 3)
    images, noise = batch_of(shape, 10, torch.float32)
    rows = rows_of(shape, torch.float32)
    first = gradient(StackedVAE(shape, rows.clone(), batch_size=10, product_dtype=product_dtype), images, noise)
    rows[1] = math.nan
    images[1], noise[1] = math.inf, math.nan
    second = gradient(StackedVAE(shape, rows, batch_size=10, product_dtype=product_dtype), images, noise)
    assert torch.equal(first[[0, 2]], second[[0, 2]])
    assert second[1, : shape.n_parameters].isnan().all()


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_gradient_of_rounded_products_is_the_exact_one_but_for_rounding(depth):
    shape = ModelShape(64, depth, 32, 8)
    images, noise = batch_of(shape, 45)
    exact = gradient(StackedVAE(shape, rows_of(shape), batch_size=45), images, noise)
    stack = StackedVAE(shape, rows_of(shape, torch.float32), batch_size=45, product_dtype=torch.bfloat16)
    rounded = gradient(stack, images.float(), noise.float()).double()
    error = (rounded - exact).norm(dim=1) / exact.norm(dim=1)
    assert (error < 0.01 * (depth + 1)).all()  # bfloat16 keeps 8 bits: 2^-8 = 0.004 for each rounding
    assert (error > 1e-4).all()
    assert stack.rows.dtype == torch.float32


def test_one_model_of_a_stack_is_a_view_of_its_row():
    shape = ModelShape(15, 1, 9, 3)
    rows = rows_of(shape)
    stack = StackedVAE(shape, rows, batch_size=10)
    assert len(stack) == MODELS
    model = stack.model(1)
    assert torch.equal(model.row(), rows[1])
    rows[1] += 1
    assert torch.equal(model.row()[: shape.n_parameters], rows[1, : shape.n_parameters])


# --- initialisation ---

WIDE = ModelShape(100, 2, 80, 10)


def test_a_cell_is_initialised_as_a_linear_layer_is():
    row = initial_parameters(WIDE, "a", torch.float32)
    inputs = 0
    for parameter, place in WIDE.places():
        values = row[place]
        inputs = parameter.shape[0] if len(parameter.shape) == 2 else inputs  # a bias follows its weight
        bound = 1 / math.sqrt(inputs)
        assert parameter.bound == bound
        assert torch.nn.Linear(inputs, 1).weight.abs().max() <= bound
        n = len(values)
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.8 * bound  # n >= 20 draws: fails once in 0.8^20 = 1%, with a fixed seed
        assert abs(values.mean()) < 4 * bound / math.sqrt(3 * n)
        # The variance of a square of U(-1, 1) is 4/45.
        assert abs((values / bound).square().mean() - 1 / 3) < 4 * math.sqrt(4 / 45 / n)
    assert not row[WIDE.n_parameters :].any()


def test_initial_parameters_belong_to_the_cell_alone():
    first, other = initial_parameters(WIDE, "a", torch.float32), initial_parameters(WIDE, "b", torch.float32)
    assert torch.equal(first, initial_parameters(WIDE, "a", torch.float32))
    used = slice(WIDE.n_parameters)
    assert (first[used] != other[used]).float().mean() > 0.999


def test_initial_parameters_are_the_same_in_every_precision():
    torch.testing.assert_close(
        initial_parameters(WIDE, "a", torch.float64).float(),
        initial_parameters(WIDE, "a", torch.float32),
        rtol=1e-6,
        atol=1e-7,
    )
