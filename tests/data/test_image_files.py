import io
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rdstudy.data.dataset import Dataset
from rdstudy.data.loading import load_dataset
from rdstudy.data.splits import split_dataset

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


@pytest.mark.parametrize("mode", ["I;16"])
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


# --- what looks right and is not ---


def noted(images: np.ndarray, tmp_path: Path) -> Dataset:
    np.savez(tmp_path / "mine.npz", images=images)
    return load(tmp_path / "mine.npz")


def test_images_of_0_and_1_are_read_as_0_and_255_and_that_is_said(tmp_path):
    dataset = noted(GREY % 2, tmp_path)
    assert set(np.unique(dataset.images)) == {0, 255}
    assert "the values are 0 and 1, and are read as 0 and 255" in dataset.notes


@pytest.mark.parametrize(
    ("images", "note"),
    [
        (GREY % 16, "the largest value is 15 of 255"),
        (np.full((5, 4, 3), 77, dtype=np.uint8), "all images are equal"),
        (np.repeat(GREY[:2], 3, axis=0), "4 of 6 images are copies of others"),
        (RGB[..., :2], "2 channels, which are drawn side by side"),
    ],
)
def test_plausible_nonsense_is_named(tmp_path, images, note):
    assert any(note in each for each in noted(images, tmp_path).notes)


def test_good_images_have_no_notes(tmp_path):
    assert noted(RGB, tmp_path).notes == ()
    assert str(noted(RGB, tmp_path)) == "5 images of 4x3, RGB"


def test_channels_first_are_refused_with_the_fix(tmp_path):
    images = RANDOM.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"transpose\(0, 2, 3, 1\)"):
        noted(images, tmp_path)


def test_folders_train_and_test_are_a_split(tmp_path):
    save(tmp_path, [f"test/{i}.png" for i in range(2)] + [f"Train/{i}.png" for i in range(3)], RGB)
    dataset = load(tmp_path)
    assert dataset.standard_train == 3
    assert dataset.labels is None
    assert np.array_equal(dataset.images, RGB[[2, 3, 4, 0, 1]].reshape(5, -1))
    split = split_dataset(dataset, "standard", seed=0)
    assert (sorted(split.train), sorted(split.test)) == ([0, 1, 2], [3, 4])
    with pytest.raises(ValueError, match="must not be mixed"):
        split_dataset(dataset, "random", seed=0)


def test_folders_train_and_test_may_have_classes(tmp_path):
    save(tmp_path, ["train/b/0.png", "train/a/0.png", "test/a/0.png", "test/b/0.png", "test/b/1.png"], RGB)
    dataset = load(tmp_path)
    assert dataset.standard_train == 2
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1, 0, 1, 1]


def test_other_parts_of_a_split_are_refused(tmp_path):
    save(tmp_path, ["train/0.png", "test/0.png", "val/0.png"], RGB[:3])
    with pytest.raises(ValueError, match="look like parts of a split; expected train and test"):
        load(tmp_path)


def test_the_split_standard_needs_the_folders(tmp_path):
    with pytest.raises(ValueError, match="are not in folders train and test"):
        split_dataset(noted(GREY, tmp_path), "standard", seed=0)


# --- no image is left out silently ---


def test_links_to_folders_are_followed(tmp_path):
    save(tmp_path, ["mine/a/0.png", "mine/a/1.png", "elsewhere/0.png"], RGB[:3])
    (tmp_path / "mine" / "b").symlink_to(tmp_path / "elsewhere")
    assert load(tmp_path / "mine").n_examples == 3


def test_a_link_to_a_folder_above_ends(tmp_path):
    save(tmp_path, ["a/0.png"], RGB[:1])
    (tmp_path / "a" / "b").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="three deep"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["x.gif", "x.tif", "x.GIF"])
def test_an_image_of_a_kind_that_is_not_read_is_named(tmp_path, name):
    save(tmp_path, ["0.png", name], RGB[:2])
    with pytest.raises(ValueError, match=rf"{name} is not read"):
        load(tmp_path)


def test_orientation_palette_and_opaque_transparency_are_converted_and_said(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(RGB[0]).save(tmp_path / "0.png", exif=exif)
    turned = load(tmp_path)
    assert turned.shape == (3, 4, 3)
    assert turned.notes == ("1 images turned upright, as their EXIF orientation says",)
    Image.fromarray(RGB[0]).convert("P").save(tmp_path / "0.png")
    assert "of mode P read as RGB" in load(tmp_path).notes[0]
    Image.fromarray(RGB[0]).convert("RGBA").save(tmp_path / "0.png")
    assert np.array_equal(load(tmp_path).images[0], RGB[0].reshape(-1))


def test_transparent_and_animated_images_are_refused(tmp_path):
    Image.fromarray(np.dstack([RGB[0], GREY[0]])).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match=r"0\.png is transparent in places"):
        load(tmp_path)
    frames = [Image.fromarray(image) for image in RGB[:2]]
    frames[0].save(tmp_path / "0.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"0\.png is animated, with 2 frames"):
        load(tmp_path)


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path):
    save(tmp_path, ["0.png"], RGB[:1])
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(ValueError, match="not a regular file"):
        load(tmp_path)
