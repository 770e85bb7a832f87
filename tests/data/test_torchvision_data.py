"""Small files in the real formats are read through torchvision's own classes; nothing of ours is replaced.

CIFAR10's class knows the checksums of the real files. Its public lists of file names and checksums are given
the small files' checksums; so the checks themselves stay in force.
"""

import gzip
import hashlib
import pickle
import re
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from rdstudy.data.loading import load_dataset

MNIST_LIKE = [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def digits(seed: int = 0, n_train: int = 6, n_test: int = 4) -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """File names and contents of a small MNIST, and what is in it."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n_train + n_test, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 10, n_train + n_test)
    parts = {"train": slice(None, n_train), "t10k": slice(n_train, None)}
    files = {}
    for name, part in parts.items():
        files[f"{name}-images-idx3-ubyte"] = idx(images[part])
        files[f"{name}-labels-idx1-ubyte"] = idx(labels[part])
    return files, images, labels


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A small CIFAR10 in `tmp_path`, and what is in it: images [n, height, width, channel] and labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (18, 32, 32, 3), dtype=np.uint8)
    labels = random.integers(0, 10, 18)
    names = [name for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list]
    files = {}
    for i, name in enumerate(names):
        part = slice(3 * i, 3 * i + 3)
        planes = np.ascontiguousarray(images[part].transpose(0, 3, 1, 2)).reshape(3, -1)
        files[name] = pickle.dumps({"data": planes, "labels": labels[part].tolist()})
    files["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")})
    write(tmp_path / datasets.CIFAR10.base_folder, files)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [[name, md5[name]] for name in names[5:]])
    meta = {**datasets.CIFAR10.meta, "md5": md5["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return images, labels


@pytest.mark.parametrize(("name", "folder"), MNIST_LIKE)
def test_mnist_and_its_like_are_read_train_then_test(tmp_path, name, folder):
    files, images, labels = digits()
    write(tmp_path / folder / "raw", files)
    dataset = load_dataset(name, root=tmp_path)
    assert np.array_equal(dataset.images, images.reshape(10, 784))
    assert dataset.labels is not None
    assert np.array_equal(dataset.labels, labels)
    assert dataset.shape == (28, 28, 1)
    assert dataset.standard_train == 6
    assert dataset.name == name
    assert dataset.factors is None


def test_cifar10_is_read_with_channels_last(tmp_path, cifar):
    images, labels = cifar
    dataset = load_dataset("cifar10", root=tmp_path)
    assert np.array_equal(dataset.images, images.reshape(18, -1))
    assert dataset.labels is not None
    assert np.array_equal(dataset.labels, labels)
    assert dataset.shape == (32, 32, 3)
    assert dataset.standard_train == 15


def test_the_real_mnist_has_its_known_sizes(shared):
    dataset = load_dataset("mnist", root=shared / "data")
    assert dataset.images.shape == (70_000, 784)
    assert dataset.standard_train == 60_000
    assert dataset.labels is not None
    assert np.bincount(dataset.labels[:60_000]).tolist()[:3] == [5923, 6742, 5958]
    assert dataset.labels[60_000:60_003].tolist() == [7, 2, 1]
    assert dataset.images[:60_000].mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # widely used constant


def test_a_data_set_that_is_not_there_is_an_error_that_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match="FashionMNIST is missing") as refusal:
        load_dataset("fashion_mnist", root=tmp_path / "nowhere")
    said = str(refusal.value)
    assert str(tmp_path / "nowhere" / "FashionMNIST" / "raw") in said
    assert "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte" in said
    assert "Set `root` to the folder that holds it, or allow the download (`download: true`)." in said
    assert not (tmp_path / "nowhere").exists()


def test_files_that_are_missing_are_named(tmp_path):
    files, _, _ = digits()
    del files["t10k-labels-idx1-ubyte"]
    write(tmp_path / "MNIST" / "raw", files)
    with pytest.raises(ValueError, match=r"MNIST is missing: \S+raw lacks t10k-labels-idx1-ubyte \("):
        load_dataset("mnist", root=tmp_path)


def test_a_missing_cifar10_is_named_too(tmp_path):
    with pytest.raises(ValueError, match=r"CIFAR10 is missing: \S+cifar-10-batches-py lacks data_batch_1, "):
        load_dataset("cifar10", root=tmp_path)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("keep", [0, 3, 20])
def test_files_cut_short_are_one_clear_error(tmp_path, name, keep):
    files, _, _ = digits(n_test=30)
    files[name] = files[name][:keep]
    write(tmp_path / "MNIST" / "raw", files)
    with pytest.raises(ValueError, match=r"MNIST is damaged: \S+raw has all files, but they cannot be read"):
        load_dataset("mnist", root=tmp_path)


def test_a_file_of_another_kind_is_one_clear_error(tmp_path):
    files, _, _ = digits()
    files["train-images-idx3-ubyte"] = gzip.compress(files["train-images-idx3-ubyte"])
    write(tmp_path / "MNIST" / "raw", files)
    with pytest.raises(ValueError, match="MNIST is damaged"):
        load_dataset("mnist", root=tmp_path)


def test_labels_of_other_images_are_noticed(tmp_path):
    files, _, labels = digits()
    files["train-labels-idx1-ubyte"] = idx(labels[:5])
    write(tmp_path / "MNIST" / "raw", files)
    with pytest.raises(ValueError, match="the training part has 6 images and 5 labels"):
        load_dataset("mnist", root=tmp_path)


def test_parts_of_different_image_sizes_are_noticed(tmp_path):
    files, images, _ = digits()
    files["t10k-images-idx3-ubyte"] = idx(images[6:, :14])
    write(tmp_path / "MNIST" / "raw", files)
    with pytest.raises(ValueError, match=r"training images are \(28, 28\), test images \(14, 28\)"):
        load_dataset("mnist", root=tmp_path)


@pytest.mark.usefixtures("cifar")
def test_an_altered_cifar10_is_noticed_by_its_checksum(tmp_path):
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"CIFAR10 is damaged: .*corrupted.*Delete \S+cifar-10-batches-py"):
        load_dataset("cifar10", root=tmp_path)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A small MNIST on a web server of our own, for torchvision's own download; and its images."""
    files, images, _ = digits()
    packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    write(tmp_path / "mirror", packed)
    resources = [(name, hashlib.md5(packed[name]).hexdigest()) for name, _ in datasets.MNIST.resources]
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "mirror"))) as server:
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield images
        server.shutdown()


def test_a_missing_data_set_is_downloaded_only_if_that_is_allowed(tmp_path, mirror):
    root = tmp_path / "root"
    with pytest.raises(ValueError, match="MNIST is missing"):
        load_dataset("mnist", root=root)
    assert not root.exists()
    dataset = load_dataset("mnist", root=root, download=True)
    assert np.array_equal(dataset.images, mirror.reshape(10, 784))
    assert load_dataset("mnist", root=root).fingerprint == dataset.fingerprint


def test_a_download_that_fails_says_where_and_what_else_to_do(tmp_path, mirror):
    (tmp_path / "mirror" / "t10k-images-idx3-ubyte.gz").write_bytes(b"an error page")
    with pytest.raises(ValueError, match="lacks t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte") as refusal:
        load_dataset("mnist", root=tmp_path / "root", download=True)
    # torchvision's own words, which differ between its versions
    assert re.search(r"\((Error downloading t10k-images|File not found or corrupted)", str(refusal.value))
    assert "or fix the download" in str(refusal.value)


@pytest.mark.usefixtures("mirror")
def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="MNIST is missing") as refusal:
        load_dataset("mnist", root=tmp_path / "file" / "root", download=True)
    assert str(tmp_path / "file" / "root") in str(refusal.value)


def test_what_is_there_already_is_not_downloaded(tmp_path, mirror):
    files, images, _ = digits(seed=1)
    write(tmp_path / "MNIST" / "raw", files)
    before = sorted(path.name for path in tmp_path.iterdir())
    dataset = load_dataset("mnist", root=tmp_path, download=True)
    assert np.array_equal(dataset.images, images.reshape(10, 784))
    assert not np.array_equal(images, mirror)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
