"""At which training steps a cell is measured, and on how many examples, as a study file says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rdstudy.study.scalars import NotEmpty, PositiveInt, Strict, Unique


class LogSpaced(Strict):
    """`steps: {log_spaced: 12}`: twelve steps, evenly spaced in log(step), the last one final."""

    log_spaced: Annotated[int, Field(ge=1, le=1000)]


Steps = LogSpaced | Annotated[list[PositiveInt], Unique, NotEmpty]
When = Literal["never", "final", "all"] | Steps
Examples = Literal["all"] | PositiveInt


def steps_within(steps: Steps, final: int) -> set[int]:
    """Those of the steps that a cell of `final` training steps passes."""
    if isinstance(steps, LogSpaced):
        n = steps.log_spaced
        return {round(final ** (i / n)) for i in range(1, n + 1)}
    return {step for step in steps if step <= final}


def examples_of(examples: Examples, n: int) -> int:
    """Number of examples in a subsample of a population of n."""
    return n if isinstance(examples, str) else min(examples, n)
