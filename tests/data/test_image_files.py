import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rdstudy.data.dataset import Dataset
from rdstudy.data.loading import load_dataset

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (5, 4, 3), dtype=np.uint8)
RGB = RANDOM.integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)


def load(path: str | Path) -> Dataset:
    return load_dataset("images", path=path)


def save(folder: Path, names: Sequence[str], images: Iterable[np.ndarray]) -> None:
    for name, image in zip(names, images, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)


@pytest.mark.parametrize(
    ("images", "shape"),
    [(GREY, (4, 3, 1)), (RGB, (4, 3, 3)), (RGB[..., :2], (4, 3, 2))],
    ids=["grey", "RGB", "two"],
)
def test_an_npz_file_gives_its_images(tmp_path, images, shape):
    np.savez(tmp_path / "mine.npz", images=images)
    dataset = load(tmp_path / "mine.npz")
    assert np.array_equal(dataset.images, images.reshape(5, -1))
    assert dataset.shape == shape
    assert dataset.labels is None
    assert dataset.standard_train is None
    assert dataset.name == "images"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_an_npz_file_gives_its_labels(tmp_path, dtype):
    np.savez_compressed(tmp_path / "mine.npz", images=GREY, labels=np.array([3, 0, 1, 1, 2], dtype=dtype))
    labels = load(str(tmp_path / "mine.npz")).labels
    assert labels is not None
    assert labels.tolist() == [3, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"pictures": GREY}, "holds pictures; it needs an array `images`"),
        ({}, "holds nothing"),
        ({"images": GREY / 255}, "is float64 [5, 4, 3]; expected uint8"),
        ({"images": GREY[0]}, "is uint8 [4, 3]; expected uint8 (0 to 255) [n, height, width]"),
        ({"images": GREY[:0]}, "is uint8 [0, 4, 3]"),
        ({"images": GREY, "labels": np.zeros(4, dtype=int)}, "`labels` in"),
        ({"images": GREY, "labels": np.zeros(5)}, "is float64 [5]; expected 5 integers of at least 0"),
        (
            {"images": GREY, "labels": np.array([0, 1, -1, 0, 0])},
            "is int64 [5]; expected 5 integers of at least 0",
        ),
    ],
)
def test_an_npz_file_of_other_things_is_refused_with_what_is_needed(tmp_path, arrays, complaint):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=r"mine\.npz") as refusal:
        load(tmp_path / "mine.npz")
    assert complaint in str(refusal.value)


class Trap:
    """Unpickling this would be noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("was unpickled",))


@pytest.mark.parametrize("key", ["images", "labels"])
def test_an_npz_file_is_never_unpickled(tmp_path, key):
    objects = np.empty(5, dtype=object)
    objects[:] = [Trap() for _ in range(5)]
    arrays: dict[str, Any] = {"images": GREY, key: objects}
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=r"mine\.npz cannot be read as an \.npz file of plain arrays"):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_damaged_npz_file_is_one_clear_error(tmp_path, keep):
    np.savez_compressed(tmp_path / "mine.npz", images=GREY)
    content = (tmp_path / "mine.npz").read_bytes()
    (tmp_path / "mine.npz").write_bytes(content[:keep])
    with pytest.raises(ValueError, match=r"mine\.npz cannot be read"):
        load(tmp_path / "mine.npz")


def test_altered_bytes_in_an_npz_file_are_noticed(tmp_path):
    np.savez(tmp_path / "mine.npz", images=GREY)
    content = bytearray((tmp_path / "mine.npz").read_bytes())
    content[190] ^= 1  # in the pixels
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(ValueError, match="Bad CRC-32"):
        load(tmp_path / "mine.npz")


def test_a_zip_file_of_other_things_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as file:
        file.writestr("images", "not an array")
    with pytest.raises(ValueError, match=r"mine\.npz"):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize(("images", "shape"), [(GREY, (4, 3, 1)), (RGB, (4, 3, 3))], ids=["grey", "RGB"])
def test_a_folder_gives_its_images_in_the_order_of_their_names(tmp_path, images, shape):
    names = ["b.png", "a.bmp", "c10.PNG", "c9.png", "B.png"]
    save(tmp_path, names, images)
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    dataset = load(tmp_path)
    assert np.array_equal(dataset.images, images[[4, 1, 0, 2, 3]].reshape(5, -1))
    assert dataset.shape == shape
    assert dataset.labels is None


def test_jpeg_files_are_read_as_pillow_decodes_them(tmp_path):
    save(tmp_path, ["a.jpg", "b.jpeg"], RGB[:2])
    expected = [np.asarray(Image.open(io.BytesIO((tmp_path / name).read_bytes()))) for name in ("a.jpg", "b.jpeg")]
    assert np.array_equal(load(tmp_path).images, np.reshape(expected, (2, -1)))


def test_sub_folders_are_classes(tmp_path):
    save(tmp_path, ["dog/1.png", "cat/2.png", "dog/0.png", "ant/5.png", "cat/1.png"], GREY)
    (tmp_path / "empty").mkdir()
    dataset = load(tmp_path)
    assert np.array_equal(dataset.images, GREY[[3, 4, 1, 2, 0]].reshape(5, -1))
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1, 1, 2, 2]


def test_files_and_npz_of_the_same_images_are_the_same_data_set(tmp_path):
    save(tmp_path / "folder", [f"{i}.png" for i in range(5)], RGB)
    np.savez(tmp_path / "mine.npz", images=RGB)
    assert load(tmp_path / "folder").fingerprint == load(tmp_path / "mine.npz").fingerprint


@pytest.mark.parametrize(
    ("other", "is_what"),
    [(GREY[0, :3], "is 3x3 grey, but a.png is 3x4 grey"), (RGB[0], "is 3x4 RGB, but a.png is 3x4 grey")],
    ids=["size", "channels"],
)
def test_the_first_image_that_differs_is_named(tmp_path, other, is_what):
    save(tmp_path, ["a.png", "b.png", "c.png", "d.png"], [GREY[0], GREY[1], other, other])
    with pytest.raises(ValueError, match="all images need the same size and the same channels") as refusal:
        load(tmp_path)
    assert f"{tmp_path / 'c.png'} {is_what}" in str(refusal.value)


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "I;16", "LA"])
def test_an_image_that_is_neither_grey_nor_rgb_is_named_with_its_mode(tmp_path, mode):
    save(tmp_path, ["a.png"], RGB[:1])
    Image.new(mode, (3, 4)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=rf"b\.png has mode {mode}; save it as grey \(L\) or RGB"):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_an_image_that_cannot_be_read_is_named(tmp_path, keep):
    save(tmp_path, ["a.png", "b.png"], RGB[:2])
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        load(tmp_path)


@pytest.mark.parametrize("names", [["a.png", "cat/b.png"], ["cat/a.png", "dog/young/b.png"], ["x/y/a.png"]])
def test_a_folder_whose_classes_are_not_clear_is_refused(tmp_path, names):
    save(tmp_path, names, GREY[: len(names)])
    with pytest.raises(ValueError, match="all be in the folder itself, or all in sub-folders, one per class"):
        load(tmp_path)


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"holds no image; looked for \.png, \.jpg, \.jpeg, \.bmp"):
        load(tmp_path)


def test_a_path_that_is_neither_is_refused(tmp_path):
    (tmp_path / "mine.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mine\.npy exists but is neither an \.npz file or a folder"):
        load(tmp_path / "mine.npy")
    with pytest.raises(ValueError, match=r"nowhere does not exist; expected an \.npz file or a folder"):
        load(tmp_path / "nowhere")
