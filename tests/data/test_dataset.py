import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from rdstudy.data.dataset import Dataset, data_generator, make_dataset, sha256, shuffled
from rdstudy.data.loading import load_dataset
from rdstudy.data.split_spec import SPLITS

IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 6)
LABELS = np.array([0, 1, 1, 2])


def toy(**changes: Any) -> Dataset:
    given: dict[str, Any] = {
        "name": "images",
        "images": IMAGES,
        "shape": (1, 2, 3),
        "labels": LABELS,
        **changes,
    }
    return make_dataset(given.pop("name"), given.pop("images"), given.pop("shape"), **given)


def test_the_fingerprint_is_of_the_content():
    assert toy().fingerprint == toy(images=IMAGES.copy(), labels=LABELS.copy()).fingerprint
    assert toy(name="mnist").fingerprint == toy().fingerprint
    assert len(toy().fingerprint) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"images": IMAGES + np.uint8(1)},
        {"images": IMAGES[::-1].copy()},
        {"images": np.concatenate([IMAGES, IMAGES[:1]]), "labels": np.append(LABELS, 0)},
        {"shape": (2, 1, 3)},
        {"shape": (1, 6, 1)},
        {"labels": LABELS[::-1].copy()},
        {"labels": None},
        {"factors": np.zeros((4, 5))},
        {"standard_train": 3},
    ],
)
def test_the_fingerprint_changes_with_everything_that_a_result_depends_on(changes):
    assert toy(**changes).fingerprint != toy().fingerprint


def test_the_fingerprint_is_the_same_on_every_machine():
    assert toy().fingerprint == "3db079c3cbe6c24f8b09e48969a361214a2ab75657597ea230282b5af780586f"
    assert sha256(LABELS) == sha256(LABELS.astype(">i8"))


def test_arrays_are_read_only_and_the_callers_stay_as_they_are():
    mine = IMAGES.copy()
    dataset = toy(images=mine)
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0, 0] = 1
    mine[0, 0] = 1


def test_a_checksum_known_already_is_not_computed_again():
    assert toy(images_sha256=sha256(IMAGES)).fingerprint == toy().fingerprint
    assert toy(images_sha256="other").fingerprint != toy().fingerprint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "imagenet"}, f"'imagenet' is not known; known are {', '.join(SPLITS)}"),
        ({"name": "MNIST"}, "'MNIST' is not known"),
        ({"name": "images"}, "needs a path"),
        ({"name": "mnist", "path": "a.npz"}, "only data set images has a path"),
        ({"name": "mnist", "size": 3}, "only generated data"),
        ({"name": "tetrominoes", "seed": -1}, "seed is -1"),
        ({"name": "tetrominoes", "size": 0}, "allowed: 2 to 163840"),
    ],
)
def test_impossible_wishes_are_refused_with_what_is_possible(arguments, complaint):
    with pytest.raises(ValueError, match=r"data set|tetrominoes") as refusal:
        load_dataset(**arguments)
    assert complaint in str(refusal.value)


def test_torchvisions_data_is_looked_for_in_the_cache_folder_unless_told_otherwise(tmp_path):
    with pytest.raises(ValueError, match="MNIST is missing") as refusal:
        load_dataset("mnist", cache=tmp_path / "here")
    assert str(tmp_path / "here" / "torchvision" / "MNIST" / "raw") in str(refusal.value)


def test_generators_differ_by_seed_and_by_purpose_and_by_nothing_else():
    draws = [data_generator(seed, purpose).random() for seed in (0, 1) for purpose in ("a", "b")]
    assert len(set(draws)) == 4
    np.random.default_rng(0).random(3)
    assert draws[0] == data_generator(0, "a").random()


def test_the_generator_draws_the_same_numbers_everywhere():
    assert data_generator(0, "a").random(2).tolist() == [0.1393333051615384, 0.7205714857558031]


def test_every_order_is_equally_likely():
    orders = [tuple(shuffled(np.arange(3), seed, "test").tolist()) for seed in range(1200)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 200) ** 2 / 200).sum() < 20.5  # chi-square with 5 degrees of freedom: p = 0.001


def test_generating_data_and_naming_splits_needs_no_torch():
    code = (
        "import sys; from rdstudy.data.loading import load_dataset;"
        "from rdstudy.data.splits import split_dataset;"
        "split_dataset(load_dataset('tetrominoes', size=64), 'checkerboard', seed=0);"
        "print([m for m in ('torch', 'torchvision', 'ray', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
