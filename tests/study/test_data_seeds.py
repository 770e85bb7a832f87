"""Seeds of the data as an axis, and the validation part of the test pool, in a study."""

import numpy as np
import pytest

from rdstudy.study import SettingError, StudyError, parse_study
from rdstudy.study.data import check_sizes, load_data, outline, splits_of

TEXT = """\
name: example
dataset: {name: tetrominoes, seed: 4, size: 64, test_size: 10}
grid: {split: [checkerboard, random], beta: [1, 0.1], train_size: [20], seed: {count: 2}}
training: {steps: 500}
"""
OWN = """\
name: own
dataset: {name: images, path: %s}
grid: {split: [random], beta: [1], train_size: [40], data_seed: [0, 1]}
training: {steps: 500}
"""


def study(*settings: str, text: str = TEXT):
    return parse_study(text, overrides=settings)


def test_the_data_seed_of_a_study_that_lists_none_is_that_of_its_data_set():
    assert {cell.data_seed for cell in study().cells.values()} == {4}
    assert study().values_of("data_seed") == [4]


def test_a_listed_data_seed_gives_the_cells_of_a_study_with_that_seed():
    """So that a study that lists more data seeds does not train its first one again."""
    listed = study("grid.data_seed=[4, 5]").cells
    assert set(listed) == {*study().cells, *study("dataset.seed=5").cells}
    assert {cell.data_seed for cell in listed.values()} == {4, 5}


def test_data_seeds_are_counted_as_seeds_are():
    assert study("grid.data_seed={count: 3}").grid.data_seed == [0, 1, 2]
    with pytest.raises(StudyError, match="unknown key; allowed: count"):
        study("grid.data_seed={number: 3}")


def test_cells_share_their_streams_within_a_seed_and_data_seed():
    cells = study("grid.data_seed=[4, 5]", "grid.split=[random]").cells.values()
    streams = {(cell.seed, cell.data_seed, cell.stream_id) for cell in cells}
    assert len(streams) == 4 == len({stream for _, _, stream in streams})


def test_a_cell_says_its_data_seed_where_it_is_not_0():
    assert "data_seed=4" in str(next(iter(study().cells.values())))
    assert "data_seed" not in str(next(iter(study("dataset.seed=0").cells.values())))


def test_a_validation_size_of_0_leaves_the_record_of_the_data_set_as_it_was():
    assert "validation_size" not in study().model_dump(mode="json")["dataset"]
    assert "validation_size" not in study().dataset.identity
    assert list(study("dataset.validation_size=0").cells) == list(study().cells)


def test_validation_examples_change_what_is_measured_and_not_what_is_trained():
    plain, validated = (list(each.cells.values()) for each in (study(), study("dataset.validation_size=5")))
    assert not {cell.id for cell in plain} & {cell.id for cell in validated}
    assert [cell.stream_id for cell in plain] == [cell.stream_id for cell in validated]


def test_each_data_seed_has_its_own_generated_images(tmp_path, monkeypatch):
    monkeypatch.setenv("RDSTUDY_CACHE", str(tmp_path))
    data = load_data(study("grid.data_seed=[4, 5]"))
    assert len(set(data.fingerprints.values())) == 2
    assert data.n_bytes == 2 * data.of(4).images.nbytes
    assert data.fingerprints[4] == load_data(study()).fingerprints[4]
    some = load_data(study("grid.data_seed=[4, 5]"), [5])
    assert some.fingerprints == {5: data.fingerprints[5]}


def test_images_that_do_not_depend_on_the_seed_are_loaded_once(images_file):
    wanted = study(text=OWN % images_file)
    data = load_data(wanted)
    assert data.of(0) is data.of(1)
    assert data.n_bytes == data.of(0).images.nbytes
    first, second = (splits_of(wanted, data, seed)["random"] for seed in (0, 1))
    assert not np.array_equal(first.test, second.test)


def test_sizes_are_checked_for_every_data_seed():
    wanted = study("grid.data_seed=[4, 5]", "dataset.validation_size=6")
    assert check_sizes(wanted, outline(wanted)) == 10


def test_too_large_a_validation_size_names_its_setting():
    wanted = study("dataset.validation_size=23")
    with pytest.raises(SettingError, match=r"validation_size=23, .* 32 test examples, .* allowed: 0 to 22") as caught:
        check_sizes(wanted, outline(wanted))
    assert tuple(caught.value.setting) == ("dataset", "validation_size")
