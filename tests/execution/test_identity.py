"""Whose data and whose weights: what is copied, changed or removed by hand is noticed before it is used."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import rdstudy
from rdstudy.errors import UserError
from tests.command import contents, refused


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four cells of 20 steps, with their weights."""
    place = tmp_path_factory.mktemp("made")
    pixels = np.random.default_rng(7).integers(0, 256, (50, 3, 5), dtype=np.uint8)
    np.savez(place / "images.npz", images=pixels)
    study = {
        "name": "tiny",
        "dataset": {"name": "images", "path": str(place / "images.npz")},
        "grid": {"split": ["random"], "beta": [1, 0.1], "width": [4], "latent_dim": [2], "train_size": [20]},
        "training": {"steps": 20, "batch_size": 10},
        "evaluation": {"num_images": 1},
    }
    (place / "tiny.yaml").write_text(str(study).replace("'", '"'))
    rdstudy.run(place / "tiny.yaml", place / "there", ray=False)
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of the finished folder, its study and its images."""
    shutil.copytree(made, tmp_path / "copy")
    study = tmp_path / "copy" / "tiny.yaml"
    study.write_text(study.read_text().replace(str(made), str(tmp_path / "copy")))
    rdstudy.run(study, tmp_path / "copy" / "there", ray=False)
    return tmp_path / "copy"


def models(place: Path) -> list[Path]:
    return sorted((place / "there" / "models").iterdir())


def test_the_weights_of_another_cell_are_refused(place, command):
    first, second = models(place)
    shutil.copy(first, second)
    with pytest.raises(UserError, match=rf"holds the weights of cell '{first.stem}', not of {second.stem}"):
        rdstudy.load_model(place / "there", second.stem)
    ended = command("remeasure", place / "there", "--no-ray", "--nll-draws", 2)
    assert ended.code == 1
    assert rdstudy.load_measurements(place / "there")["evaluation_id"].nunique() == 2, "the other cell is measured"
    assert "holds the weights of cell" in command("verify", place / "there", "--cells", 1).out


def test_weights_that_changed_by_one_bit_are_refused(place):
    path = models(place)[0]
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(UserError, match="was changed after training"):
        rdstudy.load_model(place / "there", path.stem)


@pytest.mark.parametrize("name", ["../there/models/a", "", "a/b", "x" * 65])
def test_what_is_no_cell_id_opens_no_file(place, name):
    with pytest.raises(UserError, match="is not a cell's id"):
        rdstudy.load_model(place / "there", name)


@pytest.mark.parametrize("record", [True, False])
def test_changed_images_are_noticed_also_when_every_cell_is_finished(place, command, record):
    np.savez(place / "images.npz", images=np.zeros((50, 3, 5), dtype=np.uint8) + np.arange(5, dtype=np.uint8))
    if not record:
        (place / "there" / "study.json").unlink()
    before = contents(place / "there")
    refused(command("run", place / "tiny.yaml", "--no-ray", "--results", place / "there"), "The images changed")
    refused(command("plan", place / "tiny.yaml", "--results", place / "there"), "The images changed")
    assert contents(place / "there") == before


def test_a_removed_record_is_written_by_a_run_with_nothing_to_train(place, command):
    record = place / "there" / "study.json"
    before = record.read_bytes()
    record.unlink()
    assert command("run", place / "tiny.yaml", "--no-ray", "--results", place / "there").code == 0
    assert record.read_bytes() == before


@pytest.mark.parametrize("text", ["{not", "{}", "[1]", "[" * 9999, '{"numerics": "x"}', "\udc80"])
def test_a_damaged_record_is_refused_with_its_fix(place, command, text):
    (place / "there" / "study.json").write_bytes(text.encode(errors="surrogateescape"))
    for arguments in (["status", place / "there"], ["run", place / "tiny.yaml", "--results", place / "there"]):
        refused(command(*arguments, *(["--no-ray"] if arguments[0] == "run" else [])), "study.json", "Remove it")


def test_parts_removed_under_a_run_are_not_counted_as_finished(place, monkeypatch):
    from rdstudy.storage.table import Table

    shutil.rmtree(place / "there")
    whole = Table.commit

    def removing(self: Table, staged: Path) -> list[str]:
        finished = whole(self, staged)
        shutil.rmtree(str(self.folder))
        return finished

    monkeypatch.setattr(Table, "commit", removing)
    with pytest.raises(UserError, match="were removed while it ran"):
        rdstudy.run(place / "tiny.yaml", place / "there", ray=False)
