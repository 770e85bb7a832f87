"""From a study to its data: the images themselves, or only what is needed to plan."""

from __future__ import annotations

import numpy as np

from rdstudy.data.dataset import Dataset, load_dataset, make_dataset
from rdstudy.data.splits import split_dataset
from rdstudy.errors import UserError
from rdstudy.study import Study


def load_data(study: Study) -> Dataset:
    """The study's images.

    Raises:
        UserError: they are not there, or cannot be read.
    """
    spec = study.dataset
    try:
        return load_dataset(
            spec.name,
            seed=spec.seed,
            size=spec.size,
            root=spec.root,
            download=spec.download,
            path=spec.path,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def outline(study: Study) -> Dataset:
    """The study's data set, but with blank pixels where making the real ones takes long: enough to plan with."""
    if study.dataset.name != "tetrominoes":
        return load_data(study)
    from rdstudy.data.tetrominoes import SHAPE, draw_factors

    try:
        factors = draw_factors(study.dataset.seed, study.dataset.size)
    except ValueError as error:
        raise UserError(str(error)) from error
    blank = np.zeros((len(factors), int(np.prod(SHAPE))), dtype=np.uint8)  # untouched pages take no memory
    return make_dataset("tetrominoes", blank, SHAPE, factors=factors, images_sha256="blank")


def check_sizes(study: Study, dataset: Dataset) -> int:
    """The number of test examples; the largest over the study's splits.

    Raises:
        UserError: a split leaves fewer training or test examples than the study asks for.
    """
    n_test = 0
    for name in study.grid.split:
        try:
            split = split_dataset(dataset, name, seed=study.dataset.seed, test_size=study.dataset.test_size)
            for size in study.grid.train_size:
                split.training(size)
        except ValueError as error:
            raise UserError(f"study {study.name}: {error}") from error
        n_test = max(n_test, len(split.test))
    return n_test
