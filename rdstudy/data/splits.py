"""Which examples are train and which are test.

    split_dataset(dataset, "checkerboard", seed=0) -> Split;   split.training(1024) -> indices

A training set of n examples is the first n of `train`, so smaller ones lie within larger ones and all are
measured on one test set. (The authors' `train_ratio` changes the test set along with the training set: a
confound.)
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
    """Train and test of one data set, each in random order; no example is in both."""

    train: Int64[np.ndarray, " train"]
    """Indices of the examples that may be trained on, in the order in which training sets take them."""
    test: Int64[np.ndarray, " test"]
    """Indices of the examples that are tested on, the same for every training set."""
    name: str
    """What was split, and how; for messages."""

    def training(self, size: int) -> Int64[np.ndarray, " size"]:
        """Indices of the training set of this size.

        Raises:
            ValueError: there are not so many examples.
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
) -> Split:
    """Split a data set into train and test.

    - `random`: at random, into the data set's own sizes (MNIST: 60,000 and 10,000, train and test pooled
      first), or into halves (tetrominoes), or four fifths and one fifth (one's own images).
    - `standard`: the data set's own training and test part.
    - `holdout(classes)`: train is the standard training part without these classes, test is these classes of
      the standard test part, and nothing else: a test set with seen classes in it would hide how far the
      unseen ones lie from training. The standard part's other test examples, and these classes' training
      examples, are not used.
    - `checkerboard` (tetrominoes): halving each factor's range gives 2^5 boxes; boxes whose indices sum to an
      even number are train, the others test. Combinations in test are never seen in training, each single
      value is.
    - `cropped(ratio)` (tetrominoes): only images whose factors all lie in the central box, each range times
      ratio^(1/5), at random halved into train and test: fewer examples at the same density.

    Args:
        dataset: what is split.
        split: one that the data set allows, see `split_spec.SPLITS`.
        seed: the data set's seed; with it, the same split is made every time.
        test_size: measure on only so many of the test examples.

    Raises:
        ValueError: the split does not go with the data set, or leaves too few examples.

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
    train = shuffled(train, seed, f"{spec}: order of train")
    test = shuffled(test, seed, f"{spec}: order of test")[:test_size]
    train.setflags(write=False)
    test.setflags(write=False)
    return Split(train, test, name)


def _parts(dataset: Dataset, spec: SplitSpec, seed: int) -> tuple[np.ndarray, np.ndarray]:
    every = np.arange(dataset.n_examples)
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
