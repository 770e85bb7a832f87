"""The section of a study file that lets a search choose cells: what is looked for, over what, and when to stop."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    field_serializer,
    model_validator,
)

from rdstudy.study.axes import AXES, listed_axes
from rdstudy.study.scalars import LARGEST, PositiveInt, Strict, Unique

GROUPS = tuple(axis.name for axis in listed_axes() if axis.setting)
"""Axes of the grid whose every combination is a setting with a curve of its own over beta."""
SEARCHABLE = {name: axis.type for name, axis in AXES.items() if axis.searchable}
"""Axes that a search may vary, and their kind."""
_RULES: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(AXES[name].listed) for name in SEARCHABLE}
NOT_BEFORE = 0.25
"""Share of a cell's steps before which none is hopeless: early on, the start decides which is worse, not the beta."""
CURVE_SAMPLERS = ("variance_reduction", "tpe", "gp", "qmc", "random")
FRONTIER_SAMPLERS = ("tpe", "gp", "nsga2", "nsga3", "qmc", "random")


class Range(Strict):
    """From `low` to `high`, both included; in log units unless `log: false`."""

    low: float
    high: float
    log: bool = True

    @model_validator(mode="after")
    def _not_empty(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"the range is empty: low {self.low:g} must lie below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}, but log units start above 0: raise it or say log: false")
        return self


Choices = Annotated[list[int] | list[float], Unique, Field(min_length=2)]


class StopWhen(Strict):
    """What ends a search: the first of these that is reached."""

    cells: PositiveInt | None = Field(None, description="Cells trained or found in the table.")
    hours: Annotated[float, Field(gt=0)] | None = Field(None, description="Hours of this run.")
    interval: Annotated[float, Field(gt=1)] | None = Field(
        None, description="For a beta: its 95% interval's high end over its low end, for every setting."
    )

    @model_validator(mode="after")
    def _some_end(self) -> StopWhen:
        if self.cells is None and self.hours is None and self.interval is None:
            raise ValueError("a search needs an end: give cells, hours or interval")
        return self


class Pruner(Strict):
    """What ends a cell before its last step. It biases what is measured, so it is off unless it is asked for."""

    hopeless: bool = Field(
        False,
        description="Stop a cell that after a quarter of its steps, or later, is worse on the test set (the "
        "validation examples, where there are some) than halfway between the best and the worst earlier cell of its "
        "setting at that step. Such cells are marked, and left out of analyses: this biases them.",
    )


def _group(value: str) -> str:
    if value not in GROUPS:
        raise ValueError(f"not an axis that settings differ in; allowed: {', '.join(GROUPS)}")
    return value


Group = Annotated[str, AfterValidator(_group), WithJsonSchema({"type": "string", "enum": list(GROUPS)})]


class SearchSpec(Strict):
    """Cells chosen by what earlier ones showed, in batches that fill packs."""

    goal: Literal["best_beta", "frontier", "saturation"] = Field(
        description="best_beta and saturation: one beta for each setting; frontier: rate against distortion."
    )
    metric: Literal["test_distortion", "test_elbo", "test_nll"] = Field(
        "test_distortion",
        description="What the best beta makes best; with dataset.validation_size it is chosen on the validation "
        "examples, and judged on the test examples.",
    )
    group_by: Annotated[list[Group], Unique] | None = Field(
        None, description="For a beta: axes of the grid whose combinations are settings of their own; left out: all."
    )
    beta: Range | None = Field(None, description="For best_beta and saturation: where to look.")
    space: dict[str, Range | Choices] | None = Field(
        None, description="For frontier: axes to vary, each a {low, high} or a list."
    )
    sampler: Literal["variance_reduction", "tpe", "gp", "nsga2", "nsga3", "qmc", "random"] | None = Field(
        None,
        description="Who chooses: ours (variance_reduction) or one of Optuna's. Left out: variance_reduction for a "
        "beta, tpe for a frontier.",
    )
    seed: int = Field(0, ge=0, le=LARGEST, description="Of the sampler: the same seed and cells give the same batch.")
    batch: PositiveInt = Field(16, description="Cells asked for at once; the next batch knows all of their results.")
    stop_when: StopWhen = Field(description="What ends it: cells, hours, interval; the first that is reached.")
    pruner: Pruner | None = Field(
        None, description="Which cells to stop early; left out: none. Biases what is measured. For goal: best_beta."
    )
    storage: str | None = Field(None, description="URL of an Optuna storage in which to follow the search live.")

    @field_serializer("storage")
    def _without_password(self, storage: str | None) -> str | None:
        """Records and pages show no password; who runs the study again gives it again."""
        return None if storage is None else redacted(storage)

    @model_validator(mode="after")
    def _goal_has_its_axes(self) -> SearchSpec:
        if self.goal == "frontier":
            if not self.space:
                raise ValueError("goal: frontier needs `space`, the axes to vary: space: {beta: {low: 0.001, high: 5}}")
            if self.beta is not None:
                raise ValueError("goal: frontier takes beta's range under `space`")
            if self.group_by is not None:
                raise ValueError("`group_by` is for a beta; a frontier is one")
            unknown = sorted(set(self.space) - set(SEARCHABLE))
            if unknown:
                raise ValueError(f"space: {', '.join(unknown)} cannot be varied; allowed: {', '.join(SEARCHABLE)}")
            for name, axis in self.space.items():
                _check_kind(name, axis)
            if self.stop_when.interval is not None:
                raise ValueError("stop_when.interval is for a beta; a frontier ends by cells or hours")
        else:
            if self.beta is None:
                raise ValueError(f"goal: {self.goal} needs `beta`, where to look: beta: {{low: 0.001, high: 5}}")
            _check_kind("beta", self.beta)
            if not self.beta.log:
                raise ValueError("beta is looked for in log units; leave `log` out")
            if self.space is not None:
                raise ValueError(f"goal: {self.goal} looks for beta alone; `space` is for goal: frontier")
        if self.stops_hopeless and (self.goal != "best_beta" or self.metric == "test_nll"):
            raise ValueError(
                f"pruner.hopeless is not possible for goal: {self.goal}, metric: {self.metric}; allowed: "
                "goal: best_beta with metric: test_distortion or metric: test_elbo, which are measured at every "
                "evaluation step"
            )
        allowed = FRONTIER_SAMPLERS if self.goal == "frontier" else CURVE_SAMPLERS
        if self.sampler is not None and self.sampler not in allowed:
            raise ValueError(f"sampler: {self.sampler} cannot do goal: {self.goal}; allowed: {', '.join(allowed)}")
        return self

    @property
    def varied(self) -> tuple[str, ...]:
        """Axes that the search varies, so that the grid must not."""
        return tuple(self.space) if self.space else ("beta",)

    @property
    def stops_hopeless(self) -> bool:
        """Whether cells are stopped early."""
        return self.pruner is not None and self.pruner.hopeless

    @property
    def estimate(self) -> Literal["mutual_information", "nll"] | None:
        """The costly estimate that the goal is about, if it is about one."""
        if self.goal == "saturation":
            return "mutual_information"
        return "nll" if self.goal == "best_beta" and self.metric == "test_nll" else None

    @property
    def chooser(self) -> str:
        """The sampler, or what it is where none is named."""
        return self.sampler or ("tpe" if self.goal == "frontier" else "variance_reduction")


def redacted(text: str) -> str:
    """The text with the passwords of URLs left out."""
    text = re.sub(r"(://[^/@:\s]*):[^/\s]*@", r"\1:***@", text)
    return re.sub(r"(?i)(password|passwd|pwd|token|secret|key)=[^&\s]*", r"\1=***", text)


def _check_kind(name: str, axis: Any) -> None:
    """Check the values of a searched axis by the rule that the grid has for it."""
    numbers = [axis.low, axis.high] if isinstance(axis, Range) else list(axis)
    whole = SEARCHABLE[name] is int
    for number in numbers:
        try:
            _RULES[name].validate_python(int(number) if whole else float(number), strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ValueError(f"space.{name}: {reason[:1].lower()}{reason[1:]}; found {number:g}") from None
    if SEARCHABLE[name] is int and any(number != int(number) for number in numbers):
        raise ValueError(f"space.{name}: takes whole numbers, found {', '.join(f'{number:g}' for number in numbers)}")
