"""How many more seeds would settle an open question."""

import math

import numpy as np
import pytest

from rdstudy.analysis.contrasts import OPEN, Effect, effect
from rdstudy.analysis.power import MAX_SEEDS, seeds_needed


def _effect(nats: float, sd: float, seeds: int = 2) -> Effect:
    return Effect(nats, -math.inf, math.inf, sd, seeds)


@pytest.mark.parametrize(("nats", "sd"), [(2.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (0.0, 0.4)])
def test_with_the_seeds_it_asks_for_four_of_five_studies_are_settled(nats, sd):
    """800 studies of the true effect; the normal-theory power is 80%, its standard error 1.4%."""
    seeds = seeds_needed(_effect(nats, sd))
    assert seeds is not None
    generator = np.random.default_rng(3)
    settled = [effect(nats + sd * generator.standard_normal(seeds)).decided() != OPEN for _ in range(800)]
    assert 0.75 <= np.mean(settled) <= 0.99


def test_larger_effects_and_smaller_spreads_need_fewer_seeds():
    needed = [seeds_needed(_effect(nats, 1.0)) for nats in (0.6, 1.0, 2.0, 10.0)]
    assert None not in needed
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] == 3


def test_it_is_not_told_where_it_would_take_too_many_or_nothing_is_known():
    assert seeds_needed(_effect(0.499, 1.0)) is None  # at the boundary: no number of seeds settles it
    assert seeds_needed(_effect(0.6, 50.0)) is None
    assert seeds_needed(_effect(2.0, math.nan)) is None
    assert seeds_needed(_effect(math.nan, 1.0)) is None
    assert MAX_SEEDS == 100


def test_a_single_seed_borrows_the_spread_of_others():
    assert seeds_needed(_effect(2.0, math.nan, seeds=1), sd=1.0) == seeds_needed(_effect(2.0, 1.0))
