import math
from dataclasses import astuple
from typing import Any

import pytest
import torch

from rdstudy.models.architectures.mlp import MLP
from rdstudy.models.protocols import Sizes
from rdstudy.models.shape import ALIGNMENT, ModelShape, model_shape
from rdstudy.models.vae import VAE
from rdstudy.training.packs import plan_packs
from rdstudy.training.trainer import PackTrainer

SHAPES = [
    ModelShape(784, 1, 512, 10),
    ModelShape(15, 0, 9, 3),
    ModelShape(7, 3, 5, 1),
    ModelShape(64, 2, 64, 32),
]


def test_the_usual_mnist_model_has_the_usual_number_of_parameters():
    encoder = 784 * 512 + 512 + 512 * 20 + 20
    decoder = 10 * 512 + 512 + 512 * 784 + 784
    assert ModelShape(784, 1, 512, 10).n_parameters == encoder + decoder


def test_without_hidden_layers_both_maps_are_affine():
    shape = ModelShape(15, 0, 9, 3)
    assert [each.shape for each in shape.network_parameters] == [(15, 6), (6,), (3, 15), (15,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_fill_the_row_without_gap_or_overlap(shape):
    at = 0
    for parameter, place in shape.places():
        assert (place.start, place.stop) == (at, at + math.prod(parameter.shape))
        at = place.stop
    assert at == shape.n_parameters
    assert shape.row % ALIGNMENT == 0
    assert 0 <= shape.row - shape.n_parameters < ALIGNMENT


@pytest.mark.parametrize("shape", SHAPES)
def test_layers_pass_on_what_they_give(shape):
    ends = ((shape.pixels, 2 * shape.latent_dim), (shape.latent_dim, shape.pixels))
    for layers, (first, last) in zip(
        MLP(Sizes(shape.pixels, shape.pixels, *astuple(shape)[1:4])).layers, ends, strict=True
    ):
        sizes = [first, *(layer.outputs for layer in layers)]
        assert [layer.inputs for layer in layers] == sizes[:-1]
        assert sizes[-1] == last
        assert sizes[1:-1] == [shape.width] * shape.depth


@pytest.mark.parametrize("shape", SHAPES)
def test_a_plain_module_has_as_many_parameters(shape):
    module = VAE(shape, torch.zeros(shape.row))
    assert sum(parameter.numel() for parameter in module.parameters()) == shape.n_parameters


def test_arithmetic_is_two_forward_and_four_backward_per_weight_but_for_the_images_gradient():
    first, others = 784 * 512, 512 * 20 + 10 * 512 + 512 * 784
    assert ModelShape(784, 1, 512, 10).flop_per_example == 4 * first + 6 * others


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(
    ("depth", "width", "batch_size", "prior"),
    [
        (1, 64, 128, "standard_normal"),
        (3, 32, 64, "standard_normal"),
        (0, 1, 96, "standard_normal"),
        (1, 256, 32, "standard_normal"),
        (1, 256, 128, "vampprior(40)"),
        (1, 256, 32, "vampprior(5)"),
    ],
)
def test_a_model_takes_no_more_memory_than_is_planned_for_it(
    make_cell, dataset, depth, width, batch_size, prior, precision
):
    """Counted are the tensors that live from step to step; what a step makes and frees comes on top."""
    cells = [
        make_cell(depth=depth, width=width, batch_size=batch_size, prior=prior, precision=precision, steps=1, seed=seed)
        for seed in range(3)
    ]
    images = torch.from_numpy(dataset.images.copy())
    training = PackTrainer(cells, images, [torch.arange(40).numpy()] * 3)
    training.advance(1)
    stack = training.stack
    tensors = [stack.rows, stack.grad, training._draws.order, training._draws.noise, training._batch, training._bytes]
    tensors += [*training._draws._host.memory, *training._optimizer.moments.values()]
    network: Any = stack._network
    tensors += [mine for mine, _ in network._rounded] + [mine for _, mine in network._unrounded]
    tensors += [layer.output for part in (network._encoder, network._decoder) for layer in part]
    if stack._inputs is not None:
        tensors += [stack._inputs._batch, stack._inputs.delta, *stack._inputs._padded.values()]
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    bytes_per_number = 8 if precision == "float64" else 4
    planned = 3 * model_shape(cells[0], 15).bytes_per_model(batch_size, bytes_per_number=bytes_per_number)
    assert held <= planned
    assert planned <= 4 * held


def test_pseudo_inputs_are_planned_as_more_rows_of_the_encoder():
    """Not as parameters that each code is compared with, of which they have as many as pixels."""
    plain, vampprior = (ModelShape(784, 1, 512, 10, prior=prior) for prior in ("standard_normal", "vampprior(128)"))
    assert vampprior.n_parameters - plain.n_parameters == 128 * 784
    assert 1.4 < vampprior.flop_per_step(128) / plain.flop_per_step(128) < 1.6
    assert vampprior.bytes_per_model(128) < 2 * plain.bytes_per_model(128)


def test_packs_of_double_precision_are_planned_with_twice_the_memory(make_cell):
    def packs(precision: str) -> int:
        cells = [make_cell(precision=precision, width=256, seed=seed) for seed in range(8)]
        memory = 8.5 * model_shape(cells[0], 15).bytes_per_model(10)
        return len(plan_packs(cells, pixels=15, memory_bytes=memory))

    assert packs("float32") == 1
    assert packs("float64") == 2
