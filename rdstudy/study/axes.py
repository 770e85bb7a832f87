"""The one list of axes: everything that tells one cell from another.

A line here is a field of `Cell`, a list of the study file's `grid`, a column of the table, an axis that a search keeps
apart, and a word in the report. An axis that was added after the first release has `added=True`: at its default it is
not part of a cell's id, so that cells trained before it keep theirs.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from rdstudy.study.registry import PARTS, canonical, json_schema
from rdstudy.study.scalars import NaturalNumber, PositiveFloat, PositiveInt, Split

Optimizer = Literal["adam", "adamw", "sgd"]
Precision = Literal["float32", "bfloat16", "float64"]
MAX_DEPTH = 64
Depth = Annotated[int, Field(ge=0, le=MAX_DEPTH)]
Beta = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _part(kind: str) -> Any:
    """The type of a value that names a part of the model."""
    return Annotated[str, AfterValidator(lambda value: canonical(kind, value)), WithJsonSchema(json_schema(kind))]


def _choices(kind: str) -> str:
    return ", ".join(PARTS[kind])


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        name: of the field, the grid's list and the column.
        type: of a value.
        unit: of a value.
        meaning: in a phrase, for the table.
        label: how a value reads in a report.
        listed: pydantic's type of a value in the grid; None where the grid has no such list.
        help: what the study file says of the list; the meaning where it is left out.
        values: the grid's list where the study gives none; None where it must.
        default: of a cell, for an axis with `added`.
        added: whether the axis came after the first release.
        section: of the study file, has the value of all cells, unless the grid lists the axis; empty: none.
        key: the axis's name in that section.
        hashed_as: the axis's name in a cell's id.
        column: whether the table has it.
        searchable: whether a search may vary it.
        shape: whether cells that differ in it have other tensors, and so cannot train in one pack.
        schedule: whether cells that differ in it take other steps, and so cannot train in one pack.
        setting: whether a curve over beta has one value of it.
        paired: whether cells that differ in it alone share their random streams.
        replicate: whether it only numbers repetitions.
    """

    name: str
    type: type
    unit: str
    meaning: str
    label: str
    listed: Any
    help: str
    values: tuple[Any, ...] | None
    default: Any
    added: bool
    section: str
    key: str
    hashed_as: str
    column: bool
    searchable: bool
    shape: bool
    schedule: bool
    setting: bool
    paired: bool
    replicate: bool


def _axis(
    unit: str,
    meaning: str,
    *,
    label: str = "{}",
    listed: Any = None,
    help: str = "",
    values: tuple[Any, ...] | None = None,
    default: Any = dataclasses.MISSING,
    section: str = "",
    key: str = "",
    hashed_as: str = "",
    column: bool = True,
    searchable: bool = False,
    shape: bool = False,
    schedule: bool = False,
    setting: bool = True,
    paired: bool = False,
    replicate: bool = False,
) -> Any:
    record = dict(locals())
    added = record.pop("default") is not dataclasses.MISSING
    # What tables of values need, by the names that `storage.schema` gives them.
    record |= {"added": added, "group": "which", "help": help or f"{meaning[:1].upper()}{meaning[1:]}."}
    return dataclasses.field(default=default, metadata=record)


@dataclass(frozen=True, kw_only=True)
class AxisColumns:
    """Axes that are columns of the table, in their order."""

    dataset: str = _axis("", "name of the data set")
    split: str = _axis(
        "",
        "how train and test were divided, e.g. `checkerboard`, `holdout(7,9)`",
        listed=Split,
        help="How far test lies from train: random, checkerboard, cropped(RATIO), standard, holdout(CLASSES).",
    )
    train_size: int = _axis(
        "examples",
        "number of training examples",
        label="{:,} examples",
        listed=PositiveInt,
        help="Numbers of training examples: nested subsets against one fixed test set.",
    )
    depth: int = _axis(
        "layers",
        "hidden layers of the encoder, and of the decoder",
        label="depth {}",
        listed=Depth,
        help="Hidden layers of the encoder, and of the decoder.",
        values=(1,),
        searchable=True,
        shape=True,
    )
    width: int = _axis(
        "units",
        "units per hidden layer",
        label="width {}",
        listed=PositiveInt,
        values=(512,),
        searchable=True,
        shape=True,
    )
    latent_dim: int = _axis(
        "dimensions",
        "dimensions of the code",
        label="{} latent",
        listed=PositiveInt,
        values=(10,),
        searchable=True,
        shape=True,
    )
    prior: str = _axis(
        "",
        "prior p(z)",
        label="prior {}",
        listed=_part("prior"),
        help=f"Prior p(z): {_choices('prior')}.",
        values=("standard_normal",),
        shape=True,
        paired=True,
    )
    likelihood: str = _axis(
        "",
        "likelihood p(x|z); distortions of different ones do not compare",
        label="likelihood {}",
        listed=_part("likelihood"),
        help=f"Likelihood p(x|z): {_choices('likelihood')}. Distortions of different ones do not compare.",
        default="bernoulli",
        shape=True,
        paired=True,
    )
    architecture: str = _axis(
        "",
        "kind of encoder and decoder",
        label="architecture {}",
        listed=_part("architecture"),
        help=f"Kind of encoder and decoder: {_choices('architecture')}.",
        default="mlp",
        shape=True,
    )
    beta: float = _axis(
        "",
        "weight of the rate in training; the measured values are never weighted",
        label="beta {:g}",
        listed=Beta,
        help="Weight of the rate in training; left out only where a search chooses it.",
        values=(),
        searchable=True,
        setting=False,
        paired=True,
    )
    beta_warmup_steps: int = _axis(
        "steps",
        "steps over which beta rises linearly from 0",
        label="warm-up {:,} steps",
        listed=NaturalNumber,
        default=0,
        section="training",
        paired=True,
    )
    learning_rate: float = _axis(
        "",
        "step size of the optimizer",
        label="learning rate {:g}",
        listed=PositiveFloat,
        section="training",
        searchable=True,
        schedule=True,
        paired=True,
    )
    batch_size: int = _axis(
        "examples",
        "examples per training step",
        label="batch {}",
        listed=PositiveInt,
        section="training",
        schedule=True,
    )
    optimizer: str = _axis(
        "", "`adam`, `adamw` or `sgd`", listed=Optimizer, section="training", schedule=True, paired=True
    )
    precision: str = _axis(
        "",
        "type of the matrix products in training; evaluation is float32 or better",
        listed=Precision,
        section="training",
        schedule=True,
        paired=True,
    )
    seed: int = _axis(
        "",
        "replicate number",
        listed=NaturalNumber,
        help="Replicates, as a list or as {count: N} for 0 to N-1.",
        values=(0,),
        setting=False,
        replicate=True,
    )
    data_seed: int = _axis(
        "",
        "seed of the data: of generated images, the split and the nested subsets",
        label="data seed {}",
        listed=NaturalNumber,
        help="Replicates of the data: seeds of the generated images, the split and the nested subsets.",
        section="dataset",
        key="seed",
        hashed_as="dataset_seed",
        setting=False,
        replicate=True,
    )


@dataclass(frozen=True, kw_only=True)
class CellAxes(AxisColumns):
    """All axes: those that the table has, and those that its rows share or that follow from them."""

    dataset_size: int | None = _axis("images", "images of the data set that are used", column=False, setting=False)
    test_size: int | None = _axis("examples", "number of test examples", column=False, setting=False)
    validation_size: int = _axis(
        "examples", "number of validation examples", default=0, column=False, setting=False, paired=True
    )
    steps: int = _axis(
        "steps",
        "training steps of the cell",
        label="{:,} steps",
        listed=PositiveInt,
        section="training",
        column=False,
        schedule=True,
        paired=True,
    )


def _axes() -> dict[str, Axis]:
    hints = typing.get_type_hints(CellAxes)
    found = {}
    for field in dataclasses.fields(CellAxes):
        hint = hints[field.name]
        kind = next(
            each for each in (*typing.get_args(hint), hint) if isinstance(each, type) and each is not type(None)
        )
        metadata = {name: value for name, value in field.metadata.items() if name != "group"}
        metadata |= {name: metadata[name] or field.name for name in ("key", "hashed_as")}
        default = None if field.default is dataclasses.MISSING else field.default
        found[field.name] = Axis(name=field.name, type=kind, default=default, **metadata)
    return found


AXES = _axes()
"""Every axis by its name, in the order of a cell's fields."""
GRID = ("split", "beta", "depth", "width", "latent_dim", "train_size", "prior", "seed")
"""Axes of the first release's grid, in the order in which it counts its cells; later ones follow."""


def listed_axes() -> tuple[Axis, ...]:
    """Axes that the grid may list, in its order."""
    later = [name for name, axis in AXES.items() if axis.listed is not None and name not in GRID]
    return tuple(AXES[name] for name in (*GRID, *later))
