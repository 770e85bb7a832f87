"""A study file becomes a `Study`, and a `Study` becomes cells.

    study.yaml -> Study (strict, typed) -> cells (the product of the grid's lists)

A cell is one point of the grid with its seed: what is trained, measured and counted. Its id is a hash of everything
that determines the trained model, and of nothing else. Imports nothing of ours but the spelling of splits.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from rdstudy.data.split_spec import check_split, parse_split
from rdstudy.errors import UserError

NUMERICS = 1
"""Part of every cell's id. Raise it when a change of the code changes the numbers a cell gives."""


class StudyError(UserError):
    """A mistake in a study file: says what was found, what is allowed, and where."""


def _unique(values: list[Any]) -> list[Any]:
    twice = [value for value, n in Counter(values).items() if n > 1]
    repeated = sorted({f"{value:g}" if isinstance(value, float) else str(value) for value in twice})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} stands in the list more than once; list each value once")
    return values


def _split(value: object) -> str:
    return str(parse_split(value))


Axis = Field(min_length=1)
LARGEST = 2**63 - 1
"""The largest whole number that a column of the table can hold."""
PositiveInt = Annotated[int, Field(ge=1, le=LARGEST)]
Unique = AfterValidator(_unique)
Split = Annotated[str, BeforeValidator(_split)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DatasetSpec(_Strict):
    """The data set: what it is (part of every cell's identity) and where it lies (not part of it)."""

    name: Literal["tetrominoes", "mnist", "fashion_mnist", "kmnist", "cifar10", "images"] = Field(
        description="A generated or torchvision data set, or `images` for your own (needs `path`)."
    )
    seed: int = Field(
        0, ge=0, le=LARGEST, description="Determines the generated images, the split and the nested subsets."
    )
    size: PositiveInt | None = Field(
        None, description="Use this many images of a generated data set instead of all (tetrominoes: 163840)."
    )
    test_size: PositiveInt | None = Field(
        None, description="Measure on this many test examples instead of all; the same ones for every cell."
    )
    root: str | None = Field(None, description="Folder in which torchvision's data sets lie.")
    download: bool = Field(False, description="Whether torchvision may download a missing data set.")
    path: str | None = Field(None, description="For `images`: an .npz file or a folder of image files.")

    @model_validator(mode="after")
    def _path_belongs_to_images(self) -> DatasetSpec:
        if (self.name == "images") != (self.path is not None):
            raise ValueError("`path` and `name: images` belong together: give both or neither")
        if self.size is not None and self.name != "tetrominoes":
            raise ValueError(f"`size` is for generated data (tetrominoes), found it with {self.name}")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What of this determines a result: no paths."""
        return {"name": self.name, "seed": self.seed, "size": self.size, "test_size": self.test_size}


class SeedCount(_Strict):
    """`seed: {count: 5}` is `seed: [0, 1, 2, 3, 4]`."""

    count: Annotated[int, Field(ge=1, le=1_000_000)]


class Grid(_Strict):
    """The product of all lists is the study; each point with its seed is a cell."""

    split: Annotated[list[Split], Unique, Axis] = Field(
        description="How far test lies from train: random, checkerboard, cropped(RATIO), standard, holdout(CLASSES)."
    )
    beta: Annotated[list[Annotated[float, Field(ge=0, allow_inf_nan=False)]], Unique, Axis] = Field(
        description="Weight of the rate in training."
    )
    depth: Annotated[list[Annotated[int, Field(ge=0, le=64)]], Unique, Axis] = Field(
        [1], description="Hidden layers of the encoder, and of the decoder."
    )
    width: Annotated[list[PositiveInt], Unique, Axis] = Field([512], description="Units per hidden layer.")
    latent_dim: Annotated[list[PositiveInt], Unique, Axis] = Field([10], description="Dimensions of the code.")
    train_size: Annotated[list[PositiveInt], Unique, Axis] = Field(
        description="Numbers of training examples: nested subsets against one fixed test set."
    )
    prior: Annotated[list[Literal["standard_normal"]], Unique, Axis] = Field(
        ["standard_normal"], description="Prior p(z)."
    )
    seed: Annotated[list[Annotated[int, Field(ge=0, le=LARGEST)]], Unique, Axis] = Field(
        [0], description="Replicates, as a list or as {count: N} for 0 to N-1."
    )

    @field_validator("seed", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: object) -> object:
        if isinstance(value, dict):
            return list(range(SeedCount.model_validate(value).count))
        return value


class Training(_Strict):
    """How long and with what; the same for every cell."""

    steps: PositiveInt | None = Field(None, description="Training steps, the same for every data size.")
    epochs: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = Field(
        None, description="Instead of steps: passes through the training set, so that larger sets train longer."
    )
    batch_size: PositiveInt = Field(128, description="Examples per step.")
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(1e-3, description="Step size.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="Optimizer, with PyTorch's defaults.")
    precision: Literal["float32", "bfloat16", "float64"] = Field(
        "float32", description="Type of the matrix products in training; weights stay float32 or better."
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Training:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs`")
        return self

    def steps_for(self, train_size: int) -> int:
        """Training steps of a cell with this many training examples."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, math.ceil(self.epochs * train_size / self.batch_size))


class LogSpaced(_Strict):
    """`steps: {log_spaced: 12}`: twelve steps, evenly spaced in log(step), the last one final."""

    log_spaced: Annotated[int, Field(ge=1, le=1000)]


class Evaluation(_Strict):
    """What is measured when. Rate, distortion and ELBO always; the costly estimates at the final step."""

    steps: LogSpaced | Annotated[list[PositiveInt], Unique, Axis] = Field(
        LogSpaced(log_spaced=12),
        description="Steps at which train and test are measured; the final step always is. A list or {log_spaced: N}.",
    )
    sheet_examples: Annotated[int, Field(ge=0, le=64)] = Field(
        8, description="Images per population kept as reconstructions, and as samples, of each cell; 0 for none."
    )

    def steps_of(self, final: int) -> tuple[int, ...]:
        """Steps, ascending, at which a cell of `final` training steps is measured; ends with `final`."""
        if isinstance(self.steps, LogSpaced):
            n = self.steps.log_spaced
            wanted = {round(final ** (i / n)) for i in range(1, n + 1)}
        else:
            wanted = {step for step in self.steps if step < final}
        return tuple(sorted(wanted | {final}))

    @property
    def identity(self) -> dict[str, Any]:
        """What of this determines the values of a row (not which rows there are)."""
        return {"distortion_draws": 1}

    @cached_property
    def evaluation_id(self) -> str:
        """Hash of the settings that determine a row's values; part of the row's key."""
        return _digest(self.identity, 4)


class Resources(_Strict):
    """What a pack may use. Nothing here changes a result."""

    pack_size: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = Field(
        "auto", description="Models trained at once; auto: as many as are fast and fit."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where packs train.")
    cpus_per_pack: PositiveInt = Field(
        1, description="Threads per pack. With 1, a CPU gives a cell the same bits in every pack."
    )
    gpus_per_pack: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="GPUs per pack, fractions allowed; auto: 1 where training is on a GPU, else 0."
    )
    memory_per_pack_gib: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        "auto", description="Memory a pack with its data may use; auto: the device's free share."
    )
    checkpoint_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="At most this much training is lost when a machine dies."
    )
    keep_models: bool = Field(True, description="Keep every cell's trained weights as safetensors.")
    max_failures: Annotated[int, Field(ge=0)] = Field(
        2, description="How often a pack whose training raises an error is tried again in one run."
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the grid with its seed. Every field determines the trained model."""

    dataset: str
    dataset_seed: int
    dataset_size: int | None
    test_size: int | None
    split: str
    train_size: int
    depth: int
    width: int
    latent_dim: int
    prior: str
    beta: float
    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    optimizer: str
    precision: str

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits: the hash of all fields and of `NUMERICS`."""
        return _digest({"numerics": NUMERICS, **asdict(self)}, 8)

    def __str__(self) -> str:
        return (
            f"{self.dataset} {self.split} n={self.train_size} {self.depth}x{self.width} "
            f"latent={self.latent_dim} beta={self.beta:g} seed={self.seed}"
        )


class Study(_Strict):
    """A whole experiment, as its YAML file says it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Names the results folder: letters, digits, dot, dash and underscore."
    )
    question: str = Field("", description="The question that the study answers, in a sentence; heads the report.")
    dataset: DatasetSpec
    grid: Grid
    training: Training
    evaluation: Evaluation = Evaluation()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _splits_belong_to_the_data_set(self) -> Study:
        wrong: list[InitErrorDetails] = []
        for i, split in enumerate(self.grid.split):
            try:
                check_split(split, self.dataset.name)
            except ValueError as error:
                problem = PydanticCustomError("split", "{problem}", {"problem": str(error)})
                wrong.append({"type": problem, "loc": ("grid", "split", i), "input": split})
        if wrong:
            raise ValidationError.from_exception_data("Study", wrong)
        return self

    @property
    def n_cells(self) -> int:
        """Number of cells: the product of the lengths of the grid's lists."""
        return math.prod(len(values) for _, values in self.grid)

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """All cells by id, in the grid's order."""
        data = self.dataset
        axes = [name for name, _ in self.grid]
        cells = {}
        for point in itertools.product(*(values for _, values in self.grid)):
            axis = dict(zip(axes, point, strict=True))
            cell = Cell(
                dataset=data.name,
                dataset_seed=data.seed,
                dataset_size=data.size,
                test_size=data.test_size,
                steps=self.training.steps_for(axis["train_size"]),
                batch_size=self.training.batch_size,
                learning_rate=self.training.learning_rate,
                optimizer=self.training.optimizer,
                precision=self.training.precision,
                **{**axis, "beta": float(axis["beta"])},
            )
            cells[cell.id] = cell
        return cells


def _digest(record: dict[str, Any], n_bytes: int) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=n_bytes).hexdigest()


# --- reading a file ---------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but `1e-3` is a number (as in YAML 1.2), not text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}  # what looks like a date is text: no setting is a date, and an impossible one would be an error without a line

_Path = tuple[str | int, ...]


def _lines(node: yaml.Node | None, where: str, at: _Path = ()) -> Iterator[tuple[_Path, int]]:
    """Line of every key and list item; refuses a key that stands twice."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise StudyError(
                    f"{where}:{line}: `{key.value}` stands here and in line {seen[key.value]}; keep one of them"
                )
            seen[key.value] = line
            yield (*at, key.value), line
            yield from _lines(value, where, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield (*at, i), value.start_mark.line + 1
            yield from _lines(value, where, (*at, i))


def _parse_yaml(text: str, where: str) -> tuple[Any, dict[_Path, int]]:
    try:
        node = yaml.compose(text, Loader=_Loader)
        return yaml.load(text, Loader=_Loader), dict(_lines(node, where))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise StudyError(f"{where}{line}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise StudyError(f"{where}: not valid YAML: {error}") from None


def _override(data: Any, setting: str) -> _Path:
    """Apply one `a.b=c` in place; return the path it set."""
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise StudyError(f"--set {setting}: expected KEY.KEY=VALUE, for example --set grid.beta=[1,0.1]")
    value, _ = _parse_yaml(text, f"--set {setting}")
    for i, key in enumerate(keys[:-1]):
        if not isinstance(data, dict):
            raise StudyError(f"--set {setting}: `{'.'.join(keys[:i])}` holds {data!r}, which has no keys")
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    data[keys[-1]] = value
    if keys[-1] in ("steps", "epochs") and keys[:-1] == ["training"]:
        data.pop("epochs" if keys[-1] == "steps" else "steps", None)
    return tuple(keys)


def _document_path(error: Any, data: Any) -> _Path:
    """Where in the document an error is: pydantic's location without its names for alternative spellings."""
    path: list[str | int] = []
    for i, part in enumerate(error["loc"]):
        if (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]
        elif not (error["type"] == "missing" and i == len(error["loc"]) - 1):
            continue
        path.append(part)
    return tuple(path)


def _allowed_keys(path: _Path) -> list[str]:
    """Keys that the mapping at `path` may have, where it is one of ours."""
    model: type[BaseModel] = Study
    for part in path:
        field = model.model_fields.get(str(part))
        spellings = [field.annotation, *get_args(field.annotation)] if field else []
        if part == "seed" and model is Grid:
            spellings = [SeedCount]
        ours = [kind for kind in spellings if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not ours:
            return []
        model = ours[0]
    return list(model.model_fields)


def _explain(error: Any, path: _Path) -> str:
    """One pydantic error in a sentence."""
    shown = ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        allowed = _allowed_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1]).lower(), allowed, n=1)
        guess = f"; did you mean `{near[0]}`?" if near else ""
        return f"{shown}: unknown key; allowed: {', '.join(allowed) or 'none here'}{guess}"
    if error["type"] == "missing":
        return f"{shown}: required, but not given"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if isinstance(error["input"], dict) or error["type"] == "split":
        return f"{shown}: {message}" if shown else message
    return f"{shown}: {message}; found {error['input']!r}"


def _locate(path: _Path, lines: dict[_Path, int], overridden: Iterable[_Path], where: str) -> str:
    for setting in overridden:
        if path and (path[: len(setting)] == setting or setting[: len(path)] == path):
            return "--set"
    for n in range(len(path), 0, -1):
        if path[:n] in lines:
            return f"{where}:{lines[path[:n]]}"
    return where


def parse_study(text: str, *, where: str = "study", overrides: Sequence[str] = ()) -> Study:
    """The study that a YAML text describes, with `a.b=c` overrides applied.

    Raises:
        StudyError: naming, for every mistake, the file and line (or the override), what was found, what is allowed.
    """
    data, lines = _parse_yaml(text, where)
    if not isinstance(data, dict):
        raise StudyError(f"{where}: expected a mapping with the keys {', '.join(Study.model_fields)}; found {data!r}")
    overridden = [_override(data, setting) for setting in overrides]
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        problems: dict[str, str] = {}
        for e in error.errors():
            path = _document_path(e, data)
            problems.setdefault(_explain(e, path), _locate(path, lines, overridden, where))
        raise StudyError("\n".join(f"{place}: {text}" for text, place in problems.items())) from None


def load_study(path: str | Path, *, overrides: Sequence[str] = ()) -> Study:
    """Read a study file.

    Args:
        path: a YAML file.
        overrides: settings such as `grid.beta=[1,0.1]` that replace the file's.

    Raises:
        StudyError: the file cannot be read, or says something that is not allowed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        raise StudyError(f"{path}: cannot be read: {reason}") from None
    return parse_study(text, where=str(path), overrides=overrides)


def study_schema() -> dict[str, Any]:
    """JSON Schema of a study file, for editors."""
    schema = Study.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    seed = schema["$defs"]["Grid"]["properties"]["seed"]
    count = {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 1}},
        "required": ["count"],
        "additionalProperties": False,
    }
    listed = {key: seed.pop(key) for key in ("type", "items", "minItems") if key in seed}
    seed["anyOf"] = [listed, count]
    split = schema["$defs"]["Grid"]["properties"]["split"]
    split["items"] = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    return schema
