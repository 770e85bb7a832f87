"""Which limit a cell gets: the rule by which a search stops cells that cannot become the best. Pure.

    limit(setting, step) = (best + worst) / 2  of what the setting's fully trained cells had at that step

There is none before `NOT_BEFORE` of the training. A cell's limits are fixed when it is asked for, of the cells that
were known by then, so a search that is replayed from the table finds the same ones, however it was interrupted. It
biases what is measured: among the cells that are left, those that learn slowly are missing. So it is off by default.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rdstudy.execution.search.outcome import Outcome
from rdstudy.study.early_stopping import Limit, Limits, first_above
from rdstudy.study.search_section import NOT_BEFORE

MIN_CELLS = 4
"""Fully trained cells of a setting below which nothing is said of the next one."""


def limits_of(trained: Iterable[Outcome], of: str, *, steps: int) -> dict[int, Limit]:
    """The limits of a setting's next cells, by step.

    Args:
        trained: outcomes of the setting's cells so far; those that failed or were stopped do not count.
        of: the search's criterion, `test_distortion` or `test_elbo`.
        steps: of the training of each.
    """
    values: defaultdict[int, list[float]] = defaultdict(list)
    for outcome in trained:
        if not outcome.failed and not outcome.stopped:
            for step, tested in outcome.course.items():
                value = tested.criterion(of)
                if value is not None:
                    values[step].append(value)
    return {
        step: Limit(of, (min(there) + max(there)) / 2, len(there))
        for step, there in sorted(values.items())
        if len(there) >= MIN_CELLS and step >= NOT_BEFORE * steps
    }


def as_stopped(outcome: Outcome, limits: Limits) -> Outcome | None:
    """An outcome as a search with these limits sees it, whoever trained the cell and how far.

    Returns:
        What was measured up to the first step at which the cell is above its limit, marked as stopped there; the
        outcome as it is, where the cell never is; None where it was stopped, but these limits would not have.
    """
    step = first_above(outcome.course, limits)
    if step is not None:
        return Outcome(stopped=True, course={s: t for s, t in outcome.course.items() if s <= step})
    return None if outcome.stopped else outcome
