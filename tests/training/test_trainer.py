from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from rdstudy.models.likelihoods.bernoulli import Bernoulli
from rdstudy.models.objective import lagrangian
from rdstudy.models.priors.standard_normal import StandardNormal
from rdstudy.models.shape import model_shape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.study import Cell
from rdstudy.study.seeding import generator
from rdstudy.training.batches import CHUNK, batch_indices, permutation
from rdstudy.training.trainer import PackTrainer

STEPS = 100


@pytest.fixture(scope="module")
def images(dataset) -> torch.Tensor:
    return torch.from_numpy(dataset.images.copy())


@pytest.fixture
def train(images):
    """Train cells together, interrupted at the given steps; every cell's weights at the end, by its id."""

    def run(cells: Sequence[Cell], *, stops: Sequence[int] = ()) -> dict[str, torch.Tensor]:
        training = start(cells, images)
        for stop in stops:
            training.advance(stop)
            tensors, record = training.state()
            saved = {name: tensor.clone() for name, tensor in tensors.items()}
            training = start(cells, images)
            training.restore(saved, record)
        training.advance(cells[0].steps)
        return weights(training)

    return run


def start(cells: Sequence[Cell], images: torch.Tensor) -> PackTrainer:
    return PackTrainer(cells, images, [training_set(cell) for cell in cells])


def training_set(cell: Cell) -> np.ndarray:
    """As many images as the cell trains on, others for each train size."""
    return np.random.default_rng(cell.train_size).permutation(100)[: cell.train_size]


def weights(training: PackTrainer) -> dict[str, torch.Tensor]:
    return {cell.id: row.clone() for cell, row in zip(training.cells, training.stack.rows.detach(), strict=True)}


def some_cells(make_cell, **changes) -> list[Cell]:
    """Five cells that differ in all that members of a pack may differ in."""
    settings = [(1.0, 0, 40), (0.01, 0, 40), (4.0, 1, 17), (1.0, 1, 80), (0.0, 2, 3)]
    return [make_cell(beta=beta, seed=seed, train_size=n, **changes) for beta, seed, n in settings]


# --- packed equals alone ---

COMPANIES = [[0, 1, 2, 3, 4], [4, 2, 0], [3, 1], [0]]


@pytest.mark.parametrize(("depth", "optimizer"), [(0, "adam"), (1, "adam"), (3, "adam"), (1, "adamw"), (1, "sgd")])
def test_in_double_precision_a_cell_trains_in_any_company_as_alone(make_cell, train, depth, optimizer):
    cells = some_cells(make_cell, depth=depth, optimizer=optimizer, precision="float64", learning_rate=3e-3)
    first, *others = [train([cells[k] for k in company]) for company in COMPANIES]
    for other in others:
        for cell_id, row in other.items():
            torch.testing.assert_close(row, first[cell_id], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("sizes", "optimizer"),
    [
        ((0, 9, 3, 10), "adam"),
        ((1, 9, 3, 10), "adamw"),
        ((1, 64, 10, 33), "sgd"),
        ((1, 64, 10, 33), "adam"),
        ((3, 17, 5, 1), "adam"),
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_one_thread_a_cell_has_the_same_bits_in_any_company(make_cell, train, sizes, optimizer, precision):
    assert torch.get_num_threads() == 1
    names = ("depth", "width", "latent_dim", "batch_size")
    sizes = dict(zip(names, sizes, strict=True))
    cells = some_cells(make_cell, **sizes, optimizer=optimizer, precision=precision, learning_rate=3e-3, steps=70)
    first, *others = [train([cells[k] for k in company]) for company in COMPANIES]
    for other in others:
        for cell_id, row in other.items():
            assert torch.equal(row, first[cell_id])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_cell_has_the_same_bits_whether_its_companions_stay_or_leave(make_cell, train, images, optimizer):
    cells = some_cells(make_cell, optimizer=optimizer, learning_rate=3e-3)
    stayed = train(cells)
    training = start(cells, images)
    training.advance(30)
    training = training.without({1, 4})
    training.advance(71)
    training = training.without({0: "of the three that are left"})
    training.advance(STEPS)
    found = weights(training)
    assert list(found) == [cells[2].id, cells[3].id]
    for cell_id, row in found.items():
        assert torch.equal(row, stayed[cell_id])


def test_a_companion_that_diverged_stays_so_when_others_leave(make_cell, images):
    cells = [make_cell(beta=beta, optimizer="sgd") for beta in (1.0, 1e30, 0.1)]
    training = start(cells, images)
    training.advance(64)
    (message,) = training.diverged.values()
    rest = training.without({0})
    assert rest.diverged == {0: message}


def test_cells_that_differ_in_seed_or_beta_become_different_models(make_cell, train):
    trained = train(some_cells(make_cell))
    assert all((a != b).any() for a, b in pairwise(trained.values()))
    seeds = train([make_cell(seed=0), make_cell(seed=1)])
    first, second = seeds.values()
    assert (first != second).sum() > 300  # of 384, the row's padding not counted


def test_betas_of_one_seed_share_initialisation_order_and_noise(make_cell, train):
    """A beta that is nearly the same then becomes nearly the same model; with other streams it would be unrelated."""
    cells = [make_cell(beta=beta, seed=seed, precision="float64") for beta, seed in ((1.0, 0), (1 + 1e-9, 0), (1.0, 1))]
    one, near, other = train(cells).values()
    torch.testing.assert_close(near, one, rtol=0, atol=1e-6)
    assert (other - one).abs().max() > 0.1


def test_training_lowers_what_it_minimises(make_cell, images):
    cell = make_cell(steps=400, learning_rate=1e-2)
    training = start([cell], images)
    x = images[training_set(cell)].float() / 255

    def loss() -> float:
        model = training.model(0)
        with torch.no_grad():
            posterior = model.encode(x)
            noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(0))
            return lagrangian(
                Bernoulli().distortion(model.decode(posterior.sample(noise)), x), StandardNormal().rate(posterior), 1.0
            ).item()

    before = loss()
    training.advance(400)
    assert loss() < before - 0.1


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_training_is_a_plain_loop_over_the_plain_module(make_cell, images, optimizer):
    """An independent reference: PyTorch's optimizer on one module, autograd through the objective."""
    cell = make_cell(optimizer=optimizer, beta=0.3, precision="float64", steps=20)
    shape = model_shape(cell, 15)
    model = VAE(shape, initial_parameters(shape, cell.stream_id, torch.float64))
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    reference = kind(model.parameters(), lr=cell.learning_rate)
    indices = training_set(cell)[batch_indices(40, 10, 0, 20, partial(permutation, cell.stream_id, 40))]
    noise = generator(cell.stream_id, "noise", 0).standard_normal((CHUNK, 10, 3), dtype=np.float32)
    for step in range(20):
        x = images[torch.from_numpy(indices[step])].double() / 255
        posterior = model.encode(x)
        latent = posterior.sample(torch.from_numpy(noise[step]).double())
        loss = lagrangian(Bernoulli().distortion(model.decode(latent), x), StandardNormal().rate(posterior), cell.beta)
        reference.zero_grad()
        loss.backward()
        reference.step()
    training = start([cell], images)
    training.advance(20)
    torch.testing.assert_close(training.model(0).row(), model.row(), rtol=0, atol=1e-10)


# --- interruption ---


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [("adam", "float32"), ("adam", "bfloat16"), ("adamw", "float64"), ("sgd", "float32")],
)
def test_interruptions_change_no_bit(make_cell, train, optimizer, precision):
    cells = some_cells(make_cell, optimizer=optimizer, precision=precision, steps=130)
    expected = train(cells)
    for stops in [(70,), (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 130)]:
        for cell_id, row in train(cells, stops=stops).items():
            assert torch.equal(row, expected[cell_id])


def test_the_same_pack_run_twice_gives_the_same_bits(make_cell, train):
    cells = some_cells(make_cell)
    first, second = train(cells), train(cells)
    assert all(torch.equal(first[cell_id], second[cell_id]) for cell_id in first)


def test_a_part_of_a_pack_goes_on_from_the_whole_packs_state(make_cell, images, train):
    cells = some_cells(make_cell)
    expected = train(cells)
    whole = start(cells, images)
    whole.advance(70)
    part = start([cells[3], cells[1]], images)
    part.restore(*whole.state())
    assert part.step == 70
    whole.advance(90)  # the state it gave is not its own any more
    part.advance(STEPS)
    assert all(torch.equal(row, expected[cell_id]) for cell_id, row in weights(part).items())


def test_the_state_of_other_cells_is_refused(make_cell, images):
    mine, other = start([make_cell(seed=0), make_cell(seed=1)], images), start([make_cell(seed=1)], images)
    with pytest.raises(ValueError, match=f"but not {make_cell(seed=0).id}"):
        mine.restore(*other.state())


def test_cells_of_unlike_shape_are_refused_together(make_cell, images):
    with pytest.raises(ValueError, match=r"must share depth, width.*Group cells with `plan_packs`"):
        start([make_cell(width=8), make_cell(width=9)], images)


# --- divergence ---


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_model_that_diverges_is_frozen_and_its_companions_go_on_untouched(
    make_cell, images, train, optimizer, poison
):
    cells = some_cells(make_cell, optimizer=optimizer, steps=150)
    expected = train(cells)
    training = start(cells, images)
    training.advance(30)
    training.stack.rows.data[2, 5] = poison
    training.advance(CHUNK)
    assert training.diverged == {2: "weights were not finite any more at step 64; frozen there"}
    training.advance(90)
    again = start(cells, images)
    again.restore(*training.state())
    assert again.diverged == training.diverged
    again.advance(150)
    assert again.diverged.keys() == {2}
    for k, cell in enumerate(cells):
        row = weights(again)[cell.id]
        assert torch.equal(row, torch.zeros_like(row) if k == 2 else expected[cell.id])


def test_a_model_diverges_of_itself_and_alone(make_cell, images, train):
    steady, wild = make_cell(optimizer="sgd"), make_cell(optimizer="sgd", beta=1e30)
    training = start([wild, steady], images)
    training.advance(STEPS)
    assert training.diverged.keys() == {0}
    assert torch.equal(weights(training)[steady.id], train([steady])[steady.id])


def test_divergence_in_the_last_steps_is_found(make_cell, images):
    training = start([make_cell(), make_cell(seed=1)], images)
    training.advance(STEPS - 1)
    training.stack.rows.data[0] = float("nan")
    training.advance(STEPS)
    assert training.diverged == {0: f"weights were not finite any more at step {STEPS}; frozen there"}


def test_a_part_of_a_pack_knows_which_of_its_own_diverged(make_cell, images):
    cells = some_cells(make_cell)
    whole = start(cells, images)
    whole.stack.rows.data[2] = float("nan")
    whole.advance(CHUNK)
    for members, diverged in [([4, 2], {1}), ([0, 1], set())]:
        part = start([cells[k] for k in members], images)
        part.restore(*whole.state())
        assert part.diverged.keys() == diverged


def test_cells_of_one_seed_that_differ_only_in_beta_begin_alike_and_see_the_same_batches_and_noise(make_cell, images):
    cells = [make_cell(beta=1.0), make_cell(beta=0.01), make_cell(beta=1.0, seed=1)]
    training = start(cells, images)
    first, second, other = training.stack.rows.clone()
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    training.advance(10)
    order = training._draws.order.view(CHUNK, 3, -1)
    noise = training._draws.noise
    assert torch.equal(order[:, 0], order[:, 1])
    assert torch.equal(noise[:, 0], noise[:, 1])
    assert not torch.equal(order[:, 0], order[:, 2])
    assert not torch.equal(noise[:, 0], noise[:, 2])


def test_beta_rises_linearly_from_zero_and_stays(make_cell, dataset):
    cells = [make_cell(beta=2.0, beta_warmup_steps=100), make_cell(beta=0.5)]
    images = torch.from_numpy(dataset.images.copy())
    training = PackTrainer(cells, images, [np.arange(40)] * 2)
    used = []
    gradient = training.stack.lagrangian_gradient

    def recorded(images: torch.Tensor, noise: torch.Tensor, beta: torch.Tensor) -> None:
        used.append(beta.flatten().tolist())
        gradient(images, noise, beta)

    training.stack.lagrangian_gradient = recorded  # type: ignore[method-assign]
    training.advance(100)
    rising = [2.0 * min(1.0, step / 100) for step in range(100)]
    assert [first for first, _ in used] == pytest.approx(rising)
    assert {second for _, second in used} == {0.5}
