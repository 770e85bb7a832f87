"""Splits of a data set into training, test and validation examples.

    split_dataset(dataset, "checkerboard", seed=0) -> Split;   split.training(1024) -> indices

A training set of n examples is the first n of `train`, so smaller training sets are subsets of larger ones and all
share one test set. (The `train_ratio` of Bozkurt et al. changes the test set too, which confounds the comparison.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from rdstudy.data.dataset import Dataset, shuffled
from rdstudy.data.split_spec import SplitSpec, check_split


@dataclass(frozen=True, eq=False)
class Split:
    """Training, test and validation examples of one data set, each in random order and without a common example."""

    train: Int64[np.ndarray, " train"]
    """Indices of the training examples, in the order in which training sets take them."""
    test: Int64[np.ndarray, " test"]
    """Indices of the test examples, the same for every training set."""
    validation: Int64[np.ndarray, " validation"]
    """Indices of the examples that were set apart from the test pool; empty where there are none."""
    name: str
    """Description of the split, for messages."""

    def training(self, size: int) -> Int64[np.ndarray, " size"]:
        """Indices of the training set of this size.

        Raises:
            ValueError: the size is below 1, or above the number of training examples.
        """
        if not 1 <= size <= len(self.train):
            raise ValueError(
                f"train_size={size}, but {self.name} has {len(self.train)} training examples; "
                f"allowed: 1 to {len(self.train)}"
            )
        return self.train[:size]


def split_dataset(
    dataset: Dataset,
    split: str | Mapping[str, object] | SplitSpec,
    *,
    seed: int,
    test_size: int | None = None,
    validation_size: int = 0,
) -> Split:
    """Split a data set into train and test, and set a validation part of the test pool apart.

    - `random`: at random, into sets of the standard sizes after pooling (MNIST: 60,000 and 10,000), into halves
      (tetrominoes), or into four fifths and one fifth (the user's own images).
    - `standard`: the data set's standard training and test sets; of the user's own images, the folders `train` and
      `test`, which no other split may mix.
    - `holdout(classes)`: train is the standard training set without these classes; test is these classes of the
      standard test set. All other examples are unused, because a test set with seen classes would hide the
      difference between seen and unseen ones.
    - `checkerboard` (tetrominoes): halving each factor's range gives 2^5 boxes; boxes whose indices sum to an
      even number are train, the others test. Combinations in test are never seen in training, each single
      value is.
    - `cropped(ratio)` (tetrominoes): only images whose factors all lie in the central box, each range times
      ratio^(1/5), at random halved into train and test: fewer examples at the same density.

    Args:
        dataset: the data set.
        split: a split that the data set allows, see `split_spec.SPLITS`.
        seed: the data set's seed, which determines the split.
        test_size: number of test examples to use; default all but the validation examples.
        validation_size: number of validation examples: the last of the test pool in its random order, so that the
            test examples of a `test_size` do not depend on it.

    Raises:
        ValueError: the data set does not allow the split, or too few examples are left.

    >>> from rdstudy.data.dataset import make_dataset
    >>> images = make_dataset("images", np.zeros((10, 4), dtype=np.uint8), (2, 2, 1))
    >>> split = split_dataset(images, "random", seed=0)
    >>> len(split.train), len(split.test), set(split.training(3)) < set(split.training(5))
    (8, 2, True)
    """
    spec = check_split(split, dataset.name)
    train, test = _parts(dataset, spec, seed)
    name = f"split {spec} of {dataset.name} ({dataset.n_examples} examples)"
    if len(train) == 0 or len(test) == 0:
        raise ValueError(f"{name} leaves {len(train)} training and {len(test)} test examples; it needs one of each")
    if test_size is not None and not 1 <= test_size <= len(test):
        raise ValueError(f"test_size={test_size}, but {name} has {len(test)} test examples; allowed: 1 to {len(test)}")
    most = len(test) - (test_size or 1)
    if not 0 <= validation_size <= most:
        kept = "one is kept for the test set" if test_size is None else f"test_size={test_size} of them are tested on"
        raise ValueError(
            f"validation_size={validation_size}, but {name} has {len(test)} test examples, and {kept}; "
            f"allowed: 0 to {most}"
        )
    train = shuffled(train, seed, f"{spec}: order of train")
    pool = shuffled(test, seed, f"{spec}: order of test")
    test, validation = np.split(pool, [len(pool) - validation_size])
    test = test[:test_size]
    for part in (train, test, validation):
        part.setflags(write=False)
    return Split(train, test, validation, name)


def _parts(dataset: Dataset, spec: SplitSpec, seed: int) -> tuple[np.ndarray, np.ndarray]:
    every = np.arange(dataset.n_examples)
    if dataset.name == "images" and (spec.kind == "standard") != (dataset.standard_train is not None):
        raise ValueError(
            f"split {spec}: the images are in folders train and test, which must not be mixed: use the split standard"
            if spec.kind != "standard"
            else "split standard: the images are not in folders train and test: use the split random"
        )
    if spec.kind in ("standard", "holdout"):
        assert dataset.standard_train is not None
        train, test = every[: dataset.standard_train], every[dataset.standard_train :]
        if spec.kind == "standard":
            return train, test
        assert dataset.labels is not None
        known = np.unique(dataset.labels)
        unknown = sorted(set(spec.classes) - set(known.tolist()))
        if unknown:
            raise ValueError(
                f"split {spec}: {dataset.name} has no class {', '.join(map(str, unknown))}; "
                f"its classes are {', '.join(map(str, known))}"
            )
        held = np.isin(dataset.labels, spec.classes)
        return train[~held[train]], test[held[test]]
    if spec.kind == "checkerboard":
        from rdstudy.data.tetrominoes import is_odd_box

        assert dataset.factors is not None
        odd = is_odd_box(dataset.factors)
        return every[~odd], every[odd]
    if spec.kind == "cropped":
        from rdstudy.data.tetrominoes import is_central

        assert dataset.factors is not None
        assert spec.ratio is not None
        every = every[is_central(dataset.factors, spec.ratio)]
    if dataset.standard_train is not None:
        n_train = dataset.standard_train
    elif dataset.factors is not None:
        n_train = (len(every) + 1) // 2
    else:
        n_train = len(every) - (len(every) + 4) // 5
    every = shuffled(every, seed, f"{spec}: train or test")
    return every[:n_train], every[n_train:]
