import json

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from rdstudy.data.split_spec import SPLITS
from rdstudy.study import DatasetSpec, Evaluation, Resources, Training, load_study, parse_study, study_schema
from rdstudy.study.grid import Grid
from rdstudy.study.measures import measure_classes
from rdstudy.study.search_section import SearchSpec
from rdstudy.study.template import MIN_IMAGES, template
from tests.command import contents, refused

FITTING = {"tetrominoes": {"root", "download", "path"}, "images": {"size", "root", "download"}}
"""Keys of `dataset:` that do not go with a data set; of torchvision's: size and path."""


def images(folder, n, shape=(4, 6)):
    folder.mkdir()
    rng = np.random.default_rng(n)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i:05}.png")
    return folder


def keys(text):
    return {line.strip().removeprefix("# ").partition(":")[0].removeprefix("# ") for line in text.splitlines()}


@pytest.mark.parametrize("name", SPLITS)
def test_a_draft_is_a_study_and_names_every_key_with_its_meaning(name, images_file):
    text = template("mine", dataset=name, path=str(images_file) if name == "images" else None)
    study = parse_study(text)
    assert (study.name, study.dataset.name) == ("mine", name)
    left_out = FITTING.get(name, {"size", "path"})
    sections: list[type[BaseModel]] = [Grid, Training, Evaluation, Resources, DatasetSpec, *measure_classes().values()]
    for section in sections:
        for key, field in section.model_fields.items():
            if section is DatasetSpec and key in left_out:
                continue
            assert key in keys(text), f"{section.__name__}.{key}"
            assert field.description is None or field.description in text
    assert str(SearchSpec.model_fields["goal"].description) in text
    assert "study.schema.json" in text.splitlines()[0]


def test_a_draft_turns_into_a_search_as_its_comment_says():
    text = template("mine", dataset="tetrominoes")
    before, _, after = text.partition("# search:")
    lines = [line for line in before.splitlines() if not line.strip().startswith("beta:")]
    search = ["search:", *(line.removeprefix("# ") for line in after.splitlines())]
    searching = parse_study("\n".join([*lines, *search])).search
    assert searching is not None
    assert searching.goal == "best_beta"


def test_a_study_is_begun_and_planned_at_once(command, tmp_path):
    begun = command("init", "mine")
    assert (begun.code, begun.err) == (0, "")
    assert begun.out.startswith("mine.yaml: 40 cells of tetrominoes")
    assert "next: rdstudy plan mine.yaml" in begun.out
    assert json.loads((tmp_path / "study.schema.json").read_text()) == study_schema()
    planned = command("plan", "mine.yaml")
    assert (planned.code, planned.err) == (0, "")
    assert "mine: 40 cells, 0 finished, 40 missing (results/mine)" in planned.out


@pytest.mark.parametrize(("n", "sizes", "test_size"), [(10, [8], 2), (100, [20, 80], 20), (3000, [500, 2000], 500)])
def test_sizes_fit_the_images_that_are_found(command, tmp_path, n, sizes, test_size):
    path = tmp_path / "pictures.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (n, 2, 3), dtype=np.uint8))
    assert command("init", "mine", "--path", "pictures.npz").code == 0
    study = load_study("mine.yaml")
    assert (study.grid.train_size, study.dataset.test_size) == (sizes, test_size)
    assert study.training.batch_size <= min(sizes)
    assert command("plan", "mine.yaml").code == 0


def test_a_folder_of_ones_own_images_is_begun_with(command, tmp_path):
    images(tmp_path / "my 'pictures'", 40)
    begun = command("init", "own.yaml", "--dataset", "images", "--path", "my 'pictures'")
    assert begun.code == 0
    assert load_study("own.yaml").dataset.path == "my 'pictures'"
    assert command("plan", "own.yaml").code == 0


def test_nothing_is_overwritten_and_nothing_written_by_a_mistake(command, tmp_path):
    assert command("init", "mine").code == 0
    images(tmp_path / "few", MIN_IMAGES - 1)
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    refused(command("init", "mine"), "mine.yaml exists already; remove it, or give another name")
    refused(command("init", "a/b"), "'a/b' cannot name a study")
    refused(command("init", "b", "--dataset", "minst"), "--dataset minst: there is no such data set; allowed: tetr")
    refused(command("init", "b", "--dataset", "images"), "--path FOLDER and --dataset images belong together")
    refused(command("init", "b", "--dataset", "mnist", "--path", "few"), "belong together")
    refused(command("init", "b", "--path", "gone"), "gone does not exist")
    refused(command("init", "b", "--path", "empty"), "empty holds no image")
    refused(command("init", "b", "--path", "few"), f"few: holds 9 images; a study needs at least {MIN_IMAGES}")
    assert contents(tmp_path) == before


def test_a_copied_study_finds_its_schema(command, tmp_path):
    assert command("examples", "copy", "quickstart", "--to", "mine").code == 0
    assert json.loads((tmp_path / "mine" / "study.schema.json").read_text()) == study_schema()
