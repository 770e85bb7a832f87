"""Types of single settings that several sections share, and the base of every section."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from rdstudy.data.split_spec import parse_split


def _unique(values: list[object]) -> list[object]:
    twice = [value for value, n in Counter(values).items() if n > 1]
    repeated = sorted({f"{value:g}" if isinstance(value, float) else str(value) for value in twice})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} stands in the list more than once; list each value once")
    return values


def _split(value: object) -> str:
    return str(parse_split(value))


LARGEST = 2**63 - 1
"""The largest whole number that a column of the table can hold."""
NotEmpty = Field(min_length=1)
NaturalNumber = Annotated[int, Field(ge=0, le=LARGEST)]
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Unique = AfterValidator(_unique)
Split = Annotated[str, BeforeValidator(_split)]


class Strict(BaseModel):
    """A record that refuses unknown keys and wrong types, and cannot be changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
