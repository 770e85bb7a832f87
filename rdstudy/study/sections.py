"""The sections of a study file as strict records: data set, training, resources."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from rdstudy.study.axes import Optimizer, Precision
from rdstudy.study.grid import Epochs
from rdstudy.study.renamed_keys import Record
from rdstudy.study.scalars import LARGEST, NaturalNumber, PositiveFloat, PositiveInt, Strict


class DatasetSpec(Strict):
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
    validation_size: NaturalNumber = Field(
        0,
        description="Set apart this many examples of the test pool: the best beta is chosen on them, and judged on "
        "the test examples. 0: none.",
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

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, plain: Callable[[Any], Any]) -> Record:
        """As it was recorded before there was a validation set, where there is none."""
        record: Record = plain(self)
        if not self.validation_size:
            record.pop("validation_size", None)
        return record

    @property
    def identity(self) -> Record:
        """What of this determines a result: no paths."""
        found: Record = {"name": self.name, "seed": self.seed, "size": self.size, "test_size": self.test_size}
        return found | ({"validation_size": self.validation_size} if self.validation_size else {})


class Training(Strict):
    """How long and with what: the same for every cell, where the grid does not list it."""

    steps: PositiveInt | None = Field(None, description="Training steps, the same for every data size.")
    epochs: Epochs | None = Field(
        None, description="Instead of steps: passes through the training set, so that larger sets train longer."
    )
    batch_size: PositiveInt = Field(128, description="Examples per step.")
    learning_rate: PositiveFloat = Field(1e-3, description="Step size.")
    optimizer: Optimizer = Field("adam", description="Optimizer, with PyTorch's defaults.")
    precision: Precision = Field(
        "float32", description="Type of the matrix products in training; weights stay float32 or better."
    )
    beta_warmup_steps: NaturalNumber = Field(
        0, description="Steps over which beta rises linearly from 0 to its value; 0: it has its value from the start."
    )

    @model_validator(mode="after")
    def _one_budget(self) -> Training:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of `steps` and `epochs`")
        return self

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, plain: Callable[[Any], Any]) -> Record:
        """As it was recorded before there was a warm-up, where there is none."""
        record: Record = plain(self)
        if not self.beta_warmup_steps:
            record.pop("beta_warmup_steps", None)
        return record

    def steps_for(
        self, train_size: int, *, steps: int | None = None, epochs: float | None = None, batch_size: int | None = None
    ) -> int:
        """Training steps of a cell with this many training examples; what is given overrides the section."""
        if steps is None and epochs is None:
            steps, epochs = self.steps, self.epochs
        if steps is not None:
            return steps
        assert epochs is not None
        return max(1, math.ceil(epochs * train_size / (batch_size or self.batch_size)))


class Resources(Strict):
    """What a pack may use. Nothing here changes a result."""

    pack_size: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = Field(
        "auto", description="Models trained at once; auto: as many as are fast and fit."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where packs train.")
    cpus_per_pack: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        description="Threads per pack. With 1, a CPU gives a cell the same bits in every pack. For a pack on a GPU, "
        "up to 16 more draw order and noise.",
    )
    gpus_per_pack: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="GPUs per pack, fractions allowed; auto: 1 where training is on a GPU, else 0."
    )
    memory_per_pack_gib: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        "auto", description="Memory a pack with its data may use; auto: a share of the machine's; on a GPU, what fits."
    )
    checkpoint_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0,
        description="At most this much training is lost when a machine dies; more where storage takes longer to write.",
    )
    save_models: bool = Field(True, description="Keep every cell's trained weights as safetensors.")
    max_retries: Annotated[int, Field(ge=0)] = Field(
        2, description="How often a pack whose training raises an error is tried again in one run."
    )
