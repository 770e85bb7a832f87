"""From a study to its data: the images themselves, or only what is needed to plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from rdstudy.data.dataset import Dataset, make_dataset
from rdstudy.data.loading import GENERATED, load_dataset
from rdstudy.data.splits import Split, split_dataset
from rdstudy.study import SettingError, Study


@dataclass(frozen=True)
class StudyData:
    """The data set of each data seed of a study. Seeds on which the images do not depend share one data set.

    Attributes:
        datasets: by data seed, in the study's order; at least one.
    """

    datasets: Mapping[int, Dataset]

    def of(self, data_seed: int) -> Dataset:
        """The data set of this data seed."""
        return self.datasets[data_seed]

    @property
    def pixels(self) -> int:
        """Numbers per image."""
        return int(next(iter(self.datasets.values())).images.shape[1])

    @property
    def fingerprints(self) -> dict[int, str]:
        """Fingerprint of each data seed's data set."""
        return {seed: dataset.fingerprint for seed, dataset in self.datasets.items()}

    @property
    def notes(self) -> list[str]:
        """Of the user's own images: their number and size, and what to know of them; else nothing."""
        dataset = next(iter(self.datasets.values()))
        return [f"data: {note}" for note in (str(dataset), *dataset.notes)] if dataset.name == "images" else []

    @property
    def n_bytes(self) -> int:
        """Bytes of the images of all data seeds."""
        different = {id(dataset): dataset for dataset in self.datasets.values()}
        return sum(dataset.images.nbytes for dataset in different.values())


def load_data(study: Study, seeds: Sequence[int] | None = None) -> StudyData:
    """The study's images.

    Args:
        study: names the data set.
        seeds: data seeds that are needed; default all of the study's.

    Raises:
        SettingError: they are not there, or cannot be read.
    """
    spec = study.dataset
    where = next(key for key in ("path", "root", "name") if getattr(spec, key) is not None)
    found: dict[int, Dataset] = {}
    for seed in study.values_of("data_seed") if seeds is None else seeds:
        if found and spec.name not in GENERATED:
            found[seed] = next(iter(found.values()))
            continue
        with _setting("dataset", where):
            found[seed] = load_dataset(
                spec.name, seed=seed, size=spec.size, root=spec.root, download=spec.download, path=spec.path
            )
    return StudyData(found)


def outline(study: Study) -> StudyData:
    """The study's data, but with blank pixels where making the real ones takes long: enough to plan with."""
    if study.dataset.name not in GENERATED:
        return load_data(study)
    from rdstudy.data.tetrominoes import draw_factors
    from rdstudy.data.tetrominoes_drawing import SHAPE

    found = {}
    for seed in study.values_of("data_seed"):
        with _setting("dataset", "size"):
            factors = draw_factors(seed, study.dataset.size)
        blank = np.zeros((len(factors), int(np.prod(SHAPE))), dtype=np.uint8)  # untouched pages take no memory
        found[seed] = make_dataset(study.dataset.name, blank, SHAPE, factors=factors, images_sha256="blank")
    return StudyData(found)


def splits_of(study: Study, data: StudyData, data_seed: int) -> dict[str, Split]:
    """The study's splits of one data seed's data, by name.

    Raises:
        SettingError: a split does not suit the data, or leaves fewer examples than the study asks for.
    """
    dataset, spec = data.of(data_seed), study.dataset
    found = {}
    for i, name in enumerate(study.grid.split):
        with _setting("grid", "split", i):
            split_dataset(dataset, name, seed=data_seed)
        with _setting("dataset", "test_size"):
            split_dataset(dataset, name, seed=data_seed, test_size=spec.test_size)
        with _setting("dataset", "validation_size"):
            found[name] = split_dataset(
                dataset, name, seed=data_seed, test_size=spec.test_size, validation_size=spec.validation_size
            )
        for k, size in enumerate(study.grid.train_size):
            with _setting("grid", "train_size", k):
                found[name].training(size)
    return found


def check_sizes(study: Study, data: StudyData) -> int:
    """The number of test examples; the largest over the study's splits and data seeds.

    Raises:
        SettingError: a split does not suit the data, or leaves fewer examples than the study asks for.
    """
    return max(
        len(split.test) for seed in study.values_of("data_seed") for split in splits_of(study, data, seed).values()
    )


@contextmanager
def _setting(*path: str | int) -> Iterator[None]:
    """Say of a mistake which setting of the study it is about."""
    try:
        yield
    except ValueError as error:
        raise SettingError(path, error) from error
