"""Which cells a search stops early: a rule on what earlier cells had at the same step, replayed to the same cells."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.execution.search import Outcome, Search
from rdstudy.execution.search.pruning import MIN_CELLS, as_stopped, limits_of
from rdstudy.execution.search.warm_start import _course
from rdstudy.study import Cell, StudyError
from rdstudy.study.early_stopping import Limit, Measured, first_above, from_json, to_json
from tests.execution.search.objective import noise, play, study, trained

STOP = "search.pruner={hopeless: true}"
STEPS = (150, 400)


def outcome(*values: float | None) -> Outcome:
    """A fully trained cell with these test distortions at the first steps; its ELBO is 20 nats worse."""
    tested = [Measured(value, None if value is None else -value - 20.0) for value in values]
    return Outcome(distortion=1.0, elbo=-21.0, course=dict(zip(STEPS, tested, strict=False)))


def full(cell: Cell) -> Outcome:
    """What training to the end gives: on the way there more, and some cells are slower than others."""
    found = trained(cell)
    assert found.distortion is not None
    slower = [1.0 + 0.1 * abs(noise(cell.id, step)) for step in STEPS]
    course = {
        step: Measured(found.distortion * factor * 20 / step**0.5, -found.distortion * factor)
        for step, factor in zip(STEPS, slower, strict=True)
    }
    return replace(found, course=course)


def batches(search: Search) -> list[list[str]]:
    return [[cell.id for cell in batch] for batch in search.batches]


def stopped_of(search: Search, outcomes: dict[str, Outcome]) -> set[str]:
    asked = [cell.id for batch in search.batches for cell in batch]
    return {cell_id for cell_id in asked if (seen := search.seen(cell_id, outcomes)) and seen.stopped}


# --- the rule ---


def test_a_limit_lies_halfway_between_the_best_and_the_worst_at_the_same_step():
    cells = [outcome(300.0, 90.0), outcome(500.0, 70.0), outcome(310.0, 80.0), outcome(320.0, 75.0)]
    assert limits_of(cells, "test_distortion", steps=500) == {
        150: Limit("test_distortion", 400.0, 4),
        400: Limit("test_distortion", 80.0, 4),
    }


def test_an_elbo_is_best_where_it_is_largest():
    cells = [outcome(300.0), outcome(500.0), outcome(310.0), outcome(320.0)]
    (limit,) = limits_of(cells, "test_elbo", steps=500).values()
    assert limit == Limit("test_elbo", 420.0, 4)
    assert limit.exceeded(Measured(0.0, -420.5))
    assert not limit.exceeded(Measured(0.0, -420.0))


def test_fewer_than_four_fully_trained_cells_set_no_limit():
    three = [outcome(300.0, 90.0), outcome(500.0, 70.0), outcome(310.0, None)]
    assert len(three) == MIN_CELLS - 1
    others = [replace(outcome(900.0, 900.0), stopped=True), Outcome(failed=True, course=outcome(900.0).course)]
    assert limits_of([*three, *others], "test_distortion", steps=500) == {}
    assert limits_of([*three, outcome(320.0, 95.0)], "test_distortion", steps=500).keys() == {150}


def test_nothing_is_hopeless_before_a_quarter_of_its_training():
    cells = [outcome(300.0, 90.0), outcome(500.0, 70.0), outcome(310.0, 80.0), outcome(320.0, 75.0)]
    found = {steps: set(limits_of(cells, "test_distortion", steps=steps)) for steps in (600, 601, 1601)}
    assert found == {600: {150, 400}, 601: {400}, 1601: set()}


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_was_not_measured_or_is_not_finite_neither_sets_a_limit_nor_exceeds_one(value):
    cells = [outcome(300.0), outcome(500.0), outcome(310.0), outcome(320.0), outcome(value)]
    assert limits_of(cells, "test_distortion", steps=500)[150] == Limit("test_distortion", 400.0, 4)
    assert first_above(outcome(value).course, {150: Limit("test_distortion", 400.0, 4)}) is None


def test_a_cell_is_stopped_at_the_first_step_at_which_it_is_above():
    limits = {150: Limit("test_distortion", 400.0, 4), 400: Limit("test_distortion", 80.0, 5)}
    assert first_above(outcome(400.0, 80.0).course, limits) is None
    assert first_above(outcome(400.0, 80.5).course, limits) == 400
    assert first_above(outcome(400.5, 80.5).course, limits) == 150
    reason = limits[400].reason(Measured(80.54, None), 1000, 4000, "test")
    assert reason == (
        "stopped at step 1,000 of 4,000: test distortion 80.5 nats, above 80.0, halfway between the best and the worst "
        "of 5 cells there"
    )


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=1),
        st.dictionaries(
            st.integers(1, 10**7),
            st.builds(
                Limit,
                st.sampled_from(["test_distortion", "test_elbo"]),
                st.floats(allow_nan=False, allow_infinity=False),
                st.integers(4, 99),
            ),
        ),
    )
)
def test_limits_travel_as_text_to_the_same_bits(limits):
    assert from_json(to_json(limits)) == limits


# --- what a search sees ---


def test_an_outcome_is_seen_as_far_as_its_limits_let_it_train():
    limits = {150: Limit("test_distortion", 400.0, 4), 400: Limit("test_distortion", 80.0, 4)}
    fine, slow, hopeless = outcome(300.0, 70.0), outcome(300.0, 90.0), outcome(500.0, 70.0)
    assert as_stopped(fine, limits) == fine
    assert as_stopped(slow, limits) == Outcome(course=slow.course, stopped=True)
    seen = as_stopped(hopeless, limits)
    assert seen == Outcome(course={150: hopeless.course[150]}, stopped=True)
    spec = study(STOP).search
    assert spec is not None
    assert seen.criterion(spec) == 500.0
    assert as_stopped(seen, limits) == seen
    assert as_stopped(seen, {}) is None, "a search without such limits asks for it"
    assert as_stopped(fine, {}) == fine
    diverged_later = Outcome(failed=True, course=slow.course)
    assert as_stopped(diverged_later, limits) == Outcome(course=slow.course, stopped=True)
    assert as_stopped(diverged_later, {}) == diverged_later


@pytest.mark.parametrize("of", ["test_distortion", "test_elbo"])
def test_a_search_takes_the_same_course_whoever_trained_its_cells_and_how_far(of):
    """Stopped where its limits say, trained to the end by a grid, or interrupted after any number of cells."""
    search = Search(study(STOP, f"search.metric={of}"))
    to_the_end = play(search, full)
    expected = batches(search)
    stopped = stopped_of(search, to_the_end)
    assert 0 < len(stopped) <= 28, "of 48; more would mean that the rule, or what is asked for, has changed"
    assert not stopped & set(expected[0]), "nothing is known yet of the first batch"
    only_so_far = {}
    for cell_id, found in to_the_end.items():
        seen = search.seen(cell_id, to_the_end)
        only_so_far[cell_id] = found if seen is None else seen
    for n in (0, 21):
        again = Search(study(STOP, f"search.metric={of}"))
        part = dict(list(only_so_far.items())[:n])
        rest = play(again, lambda cell: only_so_far[cell.id], part)
        assert batches(again) == expected
        assert stopped_of(again, rest) == stopped
        assert again.limits == search.limits


def test_a_search_without_stop_asks_for_the_cells_that_another_stopped():
    stopping, plain = Search(study(STOP)), Search(study())
    to_the_end = play(stopping, full)
    stopped = stopped_of(stopping, to_the_end)
    there = {i: stopping.seen(i, to_the_end) or found for i, found in to_the_end.items()}
    first = plain.advance({i: Outcome(course=o.course, stopped=True) for i, o in there.items()})
    assert len(first) == 8
    assert all(plain.seen(cell.id, {cell.id: there[next(iter(stopped))]}) is None for cell in first)


def test_nothing_is_stopped_unless_it_is_asked_for():
    plain = study()
    search = Search(plain)
    found = play(search, full)
    assert search.limits == {}
    assert stopped_of(search, found) == set()
    for off in ("search.pruner={}", "search.pruner={hopeless: false}", "search.pruner=null"):
        assert _course(study(off)) == _course(plain) == "bab777eed64b9eae", "searches begun before go on"
    assert _course(study(STOP)) != _course(plain)


# --- the user's mistakes ---


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["search.metric=test_nll"],
            "pruner.hopeless is not possible for goal: best_beta, metric: test_nll; allowed: goal: "
            "best_beta with metric: test_distortion or metric: test_elbo, which are measured at every evaluation step",
        ),
        (["search.goal=saturation"], "pruner.hopeless is not possible for goal: saturation"),
        (
            ["evaluation.steps=[124, 500]"],
            "evaluation.steps: names no step from 125 on and before the last, 500, at which search.pruner could stop",
        ),
        (["search.pruner={hopeless: maybe}"], "search.pruner.hopeless: "),
        (["search.pruner={useless: true}"], "search.pruner.useless: "),
    ],
)
def test_a_mistake_in_what_is_to_be_stopped_is_named_with_what_is_allowed(overrides, words):
    with pytest.raises(StudyError) as caught:
        study(STOP, *overrides)
    assert words in str(caught.value)


def test_what_is_to_be_stopped_is_recorded_with_the_study():
    asked = study(STOP)
    assert type(asked).model_validate(asked.model_dump(mode="json")) == asked
