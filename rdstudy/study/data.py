"""From a study to its data: the images themselves, or only what is needed to plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from rdstudy.data.dataset import Dataset, make_dataset
from rdstudy.data.loading import load_dataset
from rdstudy.data.splits import split_dataset
from rdstudy.study import SettingError, Study


def load_data(study: Study) -> Dataset:
    """The study's images.

    Raises:
        SettingError: they are not there, or cannot be read.
    """
    spec = study.dataset
    where = next(key for key in ("path", "root", "name") if getattr(spec, key) is not None)
    with _setting("dataset", where):
        return load_dataset(
            spec.name,
            seed=spec.seed,
            size=spec.size,
            root=spec.root,
            download=spec.download,
            path=spec.path,
        )


def outline(study: Study) -> Dataset:
    """The study's data set, but with blank pixels where making the real ones takes long: enough to plan with."""
    if study.dataset.name != "tetrominoes":
        return load_data(study)
    from rdstudy.data.tetrominoes import draw_factors
    from rdstudy.data.tetrominoes_drawing import SHAPE

    with _setting("dataset", "size"):
        factors = draw_factors(study.dataset.seed, study.dataset.size)
    blank = np.zeros((len(factors), int(np.prod(SHAPE))), dtype=np.uint8)  # untouched pages take no memory
    return make_dataset("tetrominoes", blank, SHAPE, factors=factors, images_sha256="blank")


def check_sizes(study: Study, dataset: Dataset) -> int:
    """The number of test examples; the largest over the study's splits.

    Raises:
        SettingError: a split does not suit the data, or leaves fewer training or test examples than the study asks for.
    """
    n_test = 0
    for i, name in enumerate(study.grid.split):
        with _setting("grid", "split", i):
            split = split_dataset(dataset, name, seed=study.dataset.seed)
        with _setting("dataset", "test_size"):
            split = split_dataset(dataset, name, seed=study.dataset.seed, test_size=study.dataset.test_size)
        for k, size in enumerate(study.grid.train_size):
            with _setting("grid", "train_size", k):
                split.training(size)
        n_test = max(n_test, len(split.test))
    return n_test


@contextmanager
def _setting(*path: str | int) -> Iterator[None]:
    """Say of a mistake which setting of the study it is about."""
    try:
        yield
    except ValueError as error:
        raise SettingError(path, error) from error
