"""Limits for early stopping: the rule by which a search stops cells that cannot become the best.

    limit(setting, step) = (best + worst) / 2  of what the setting's fully trained cells had at that step

There is no limit before the share `NOT_BEFORE` of the training. A cell's limits are fixed when it is asked for, from
the cells known by then, so a search replayed from the table finds the same limits. Early stopping biases the remaining
cells: slow learners are missing. It is off by default.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rdstudy.execution.search.outcome import Outcome
from rdstudy.study.early_stopping import Limit, Limits, first_above
from rdstudy.study.search_section import NOT_BEFORE

MIN_CELLS = 4
"""With fewer fully trained cells in a setting there is no limit."""


def limits_of(trained: Iterable[Outcome], of: str, *, steps: int) -> dict[int, Limit]:
    """The limits of a setting's next cells, by step.

    Args:
        trained: outcomes of the setting's cells so far; those that failed or were stopped do not count.
        of: the search's metric, `test_distortion` or `test_elbo`.
        steps: training steps of each cell.
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
    """An outcome under these limits, however far the cell was trained.

    Returns:
        The values up to the first step above the limit, marked as stopped; the outcome itself, if no step is above
        it; None if the cell was stopped although no step is above these limits.
    """
    step = first_above(outcome.course, limits)
    if step is not None:
        return Outcome(stopped=True, course={s: t for s, t in outcome.course.items() if s <= step})
    return None if outcome.stopped else outcome
