"""The grid of a study file: a list for each axis, made from the list of axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model, field_validator, model_serializer, model_validator

from rdstudy.study.axes import Axis, listed_axes
from rdstudy.study.renamed_keys import Record
from rdstudy.study.scalars import NotEmpty, Strict, Unique

Epochs = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class SeedCount(Strict):
    """`seed: {count: 5}` is `seed: [0, 1, 2, 3, 4]`, and so for `data_seed`."""

    count: Annotated[int, Field(ge=1, le=1_000_000)]


class _Grid(Strict):
    """The product of all lists is the study; each point with its seed is a cell."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> list[Any]: ...

    def listed(self) -> dict[str, list[Any]]:
        """The lists whose product is the study: those of the first release, and of later ones what is given."""
        return {name: values for name, values in self if values or name in _ALWAYS}

    @model_validator(mode="after")
    def _one_budget(self) -> _Grid:
        if self.steps and self.epochs:
            raise ValueError("list one of `steps` and `epochs`")
        return self

    @model_serializer(mode="wrap")
    def _what_is_listed(self, plain: Callable[[Any], Any]) -> Record:
        return {name: values for name, values in plain(self).items() if values}

    @field_validator("seed", "data_seed", mode="before", check_fields=False)
    @classmethod
    def _count_of_seeds(cls, value: object) -> object:
        if isinstance(value, dict):
            return list(range(SeedCount.model_validate(value).count))
        return value


def _field(axis: Axis) -> tuple[Any, Any]:
    kind = Annotated[list[axis.listed], Unique, NotEmpty]  # type: ignore[name-defined]
    if axis.section:
        return kind, Field(default=[], description=f"{axis.help} Listed here, instead of the one in `{axis.section}`.")
    if axis.added:
        return kind, Field(default=[], description=f"{axis.help} Left out: {axis.default}.")
    if axis.values is None:
        return kind, Field(description=axis.help)
    return kind, Field(default=list(axis.values), description=axis.help)


_EPOCHS: tuple[Any, Any] = (
    Annotated[list[Epochs], Unique, NotEmpty],
    Field(default=[], description="Passes through the training set, instead of the steps or epochs in `training`."),
)
_ALWAYS = {axis.name for axis in listed_axes() if not axis.section and not axis.added}

if TYPE_CHECKING:
    Grid = _Grid
else:
    Grid = create_model(
        "Grid",
        __base__=_Grid,
        __module__=__name__,
        __doc__=_Grid.__doc__,
        **{axis.name: _field(axis) for axis in listed_axes()},
        epochs=_EPOCHS,
    )
