import dataclasses
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdstudy.models.shape import model_shape
from rdstudy.study import Cell
from rdstudy.training.packs import FAST_PACK, MAX_STATE, Pack, flop, packing_key, plan_packs

PIXELS = 15


@st.composite
def grids(draw: st.DrawFn, make_cell) -> list[Cell]:
    """Some cells of a small grid, in any order."""
    points = st.tuples(
        st.sampled_from([0, 1, 3]),
        st.sampled_from([8, 64]),
        st.sampled_from([20, 40]),
        st.sampled_from([1.0, 0.1]),
        st.integers(0, 9),
    )
    names = ("depth", "width", "train_size", "beta", "seed")
    return [
        make_cell(**dict(zip(names, point, strict=True)))
        for point in draw(st.lists(points, unique=True, min_size=1, max_size=40))
    ]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_cell_is_in_exactly_one_pack_of_its_like(data, make_cell):
    cells = data.draw(grids(make_cell))
    size = data.draw(st.sampled_from(["auto", 1, 3, 100]))
    chosen = data.draw(st.lists(st.sampled_from(cells), unique=True))
    begun = [[cell.id for cell in pack.cells] for pack in plan_packs(chosen, pixels=PIXELS, pack_size=5)]
    workers = data.draw(st.integers(1, 8))
    packs = plan_packs(cells, pixels=PIXELS, pack_size=size, workers=workers, kept=begun)

    assert sorted(cell.id for pack in packs for cell in pack.cells) == sorted(cell.id for cell in cells)
    assert all(len({packing_key(cell) for cell in pack.cells}) == 1 for pack in packs)
    members = [{cell.id for cell in pack.cells} for pack in packs]
    assert all(set(pack) in members for pack in begun)
    limit = FAST_PACK["cpu"] if size == "auto" else size
    assert all(
        len(pack) <= limit for pack, ids in zip(packs, members, strict=True) if sorted(ids) not in map(sorted, begun)
    )
    work = [sum(flop(cell, PIXELS) for cell in pack.cells) for pack in packs]
    assert all(a >= b for a, b in pairwise(work))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depth", 2),
        ("width", 10),
        ("latent_dim", 4),
        ("steps", 99),
        ("batch_size", 9),
        ("learning_rate", 2e-3),
        ("optimizer", "adamw"),
        ("precision", "bfloat16"),
    ],
)
def test_cells_of_unlike_shape_or_budget_do_not_train_together(make_cell, field, value):
    assert len(plan_packs([make_cell(), make_cell(**{field: value})], pixels=PIXELS)) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beta", 0.1),
        ("seed", 1),
        ("train_size", 20),
        ("split", "standard"),
        ("data_seed", 1),
        ("test_size", 5),
        ("validation_size", 5),
    ],
)
def test_cells_that_differ_in_anything_else_do(make_cell, field, value):
    assert len(plan_packs([make_cell(), make_cell(**{field: value})], pixels=PIXELS)) == 1


def test_cells_whose_images_depend_on_the_data_seed_train_together_only_with_their_own(make_cell):
    cells = [
        make_cell(dataset="tetrominoes", data_seed=data_seed, seed=seed) for data_seed in (1, 2) for seed in (0, 1)
    ]
    packs = plan_packs(cells, pixels=PIXELS)
    assert sorted(sorted({cell.data_seed for cell in pack.cells}) for pack in packs) == [[1], [2]]


def test_an_automatic_pack_fits_into_memory(make_cell):
    cells = [make_cell(seed=seed) for seed in range(20)]
    one = model_shape(cells[0], PIXELS).bytes_per_model(cells[0].batch_size)
    for models in (1, 3, 7):
        packs = plan_packs(cells, pixels=PIXELS, memory_bytes=models * one + one / 2)
        assert max(len(pack) for pack in packs) <= models
        assert len(packs) == math.ceil(20 / models)


@pytest.mark.parametrize(("device", "largest"), FAST_PACK.items())
def test_an_automatic_pack_is_no_larger_than_is_fast(make_cell, device, largest):
    packs = plan_packs([make_cell(seed=seed) for seed in range(300)], pixels=PIXELS, device=device)
    assert len(packs) == math.ceil(300 / largest)
    assert max(map(len, packs)) - min(map(len, packs)) <= 1


def test_a_gpus_automatic_pack_has_a_checkpoint_that_can_be_written(make_cell):
    cells = [make_cell(depth=3, width=512, seed=seed) for seed in range(84)]
    each = 3 * 4 * model_shape(cells[0], 3072).n_parameters
    largest = max(len(pack) for pack in plan_packs(cells, pixels=3072, device="cuda"))
    assert 0.9 * MAX_STATE < largest * each < MAX_STATE


def test_one_model_too_large_for_memory_is_refused_with_what_to_do(make_cell):
    with pytest.raises(ValueError, match=r"one 1x9 model needs .* GiB.*raise resources.memory_per_pack_gib"):
        plan_packs([make_cell()], pixels=PIXELS, memory_bytes=1000.0)


@pytest.mark.parametrize("workers", [1, 2, 5, 8])
def test_every_worker_has_a_pack_where_there_are_cells_enough(make_cell, workers):
    cells = [make_cell(seed=seed) for seed in range(8)]
    assert len(plan_packs(cells, pixels=PIXELS, workers=workers)) == workers


def test_every_worker_has_a_pack_of_a_grid_with_several_shapes(make_cell):
    cells = [make_cell(width=width, seed=seed) for width in (8, 9, 10) for seed in range(8)]
    assert len(plan_packs(cells, pixels=PIXELS, workers=4)) >= 4


def test_a_pack_of_a_stated_size_is_that_size_however_many_workers_wait(make_cell):
    cells = [make_cell(seed=seed) for seed in range(8)]
    assert [len(pack) for pack in plan_packs(cells, pixels=PIXELS, pack_size=4, workers=8)] == [4, 4]


def test_what_is_left_of_a_begun_pack_stays_together(make_cell):
    cells = [make_cell(seed=seed) for seed in range(6)]
    begun = [[cell.id for cell in (cells[5], cells[0], cells[3])], ["of another study"]]
    packs = plan_packs(cells[1:], pixels=PIXELS, kept=begun)
    assert sorted(sorted(cell.seed for cell in pack.cells) for pack in packs) == [[1, 2, 4], [3, 5]]


def test_begun_packs_that_overlap_share_no_cell(make_cell):
    cells = [make_cell(seed=seed) for seed in range(4)]
    ids = [cell.id for cell in cells]
    packs = plan_packs(cells, pixels=PIXELS, kept=[ids[:2], ids])
    assert sorted(sorted(cell.seed for cell in pack.cells) for pack in packs) == [[0, 1], [2, 3]]


def test_the_id_of_a_pack_is_of_its_members_whatever_their_order(make_cell):
    a, b, c = (make_cell(seed=seed) for seed in range(3))
    assert Pack((a, b)).id == Pack((b, a)).id
    assert len({Pack(cells).id for cells in [(a,), (b,), (a, b), (a, c), (a, b, c)]}) == 5


def test_nothing_to_train_is_no_packs():
    assert plan_packs([], pixels=PIXELS, workers=4) == []


def test_larger_models_and_longer_training_are_more_arithmetic(make_cell):
    cell = make_cell()
    for change in ({"width": 10}, {"depth": 2}, {"latent_dim": 4}, {"steps": 101}, {"batch_size": 11}):
        assert flop(dataclasses.replace(cell, **change), PIXELS) > flop(cell, PIXELS)
