import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rdstudy.data.cache import cache_folder, cached_images

IMAGES = np.arange(12 * 5, dtype=np.uint8).reshape(12, 5)


class Maker:
    """Gives `IMAGES` in parts, and counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Iterator[np.ndarray]:
        self.calls += 1
        yield IMAGES[:7]
        yield IMAGES[7:]


def test_images_come_back_as_they_were_made_and_are_made_once(tmp_path):
    make = Maker()
    first, digest = cached_images("toy", IMAGES.shape, make, cache=tmp_path)
    again, same_digest = cached_images("toy", IMAGES.shape, make, cache=tmp_path)
    assert np.array_equal(first, IMAGES)
    assert np.array_equal(again, IMAGES)
    assert make.calls == 1
    assert digest == same_digest
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable


def cut_short(folder: Path) -> None:
    path = folder / "toy.npy"
    os.truncate(path, path.stat().st_size - 1)


def append_a_byte(folder: Path) -> None:
    with (folder / "toy.npy").open("ab") as file:
        file.write(b"\0")


def flip_a_bit(folder: Path) -> None:
    path = folder / "toy.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def damage_the_header(folder: Path) -> None:
    path = folder / "toy.npy"
    content = path.read_bytes()
    path.write_bytes(b"\x93NUMPY\x01\x00" + b"\xff" * (len(content) - 8))


def other_shape(folder: Path) -> None:
    path = folder / "toy.npy"
    path.write_bytes(path.read_bytes().replace(b"(12, 5)", b"(5, 12)"))


def remove_the_record(folder: Path) -> None:
    (folder / "toy.json").unlink()


def cut_the_record(folder: Path) -> None:
    os.truncate(folder / "toy.json", 9)


def record_of_another_format(folder: Path) -> None:
    (folder / "toy.json").write_text("[1, 2]")


def record_without_a_checksum(folder: Path) -> None:
    record = json.loads((folder / "toy.json").read_text())
    del record["crc32"]
    (folder / "toy.json").write_text(json.dumps(record))


def other_digest(folder: Path) -> None:
    record = json.loads((folder / "toy.json").read_text())
    record["sha256"] = record["sha256"][::-1]
    (folder / "toy.json").write_text(json.dumps(record))


def no_digest(folder: Path) -> None:
    record = json.loads((folder / "toy.json").read_text())
    (folder / "toy.json").write_text(json.dumps({**record, "sha256": None}))


def remove_the_images(folder: Path) -> None:
    (folder / "toy.npy").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        append_a_byte,
        flip_a_bit,
        damage_the_header,
        other_shape,
        remove_the_images,
        remove_the_record,
        cut_the_record,
        record_of_another_format,
        record_without_a_checksum,
        other_digest,
        no_digest,
    ],
    ids=lambda damage: damage.__name__,
)
def test_damaged_files_are_noticed_and_made_again(tmp_path, damage):
    make = Maker()
    _, digest = cached_images("toy", IMAGES.shape, make, cache=tmp_path)
    damage(tmp_path)
    images, same_digest = cached_images("toy", IMAGES.shape, make, cache=tmp_path)
    assert make.calls == 2
    assert np.array_equal(images, IMAGES)
    assert digest == same_digest


def test_a_maker_that_fails_leaves_nothing_behind(tmp_path):
    def fails():
        yield IMAGES[:7]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        cached_images("toy", IMAGES.shape, fails, cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.lock"]


SLOW_MAKER = """
import sys, time
import numpy as np
from rdstudy.data.cache import cached_images
def make():
    for row in np.arange(60, dtype=np.uint8).reshape(12, 1, 5):
        print("made a row", flush=True)
        time.sleep(float(sys.argv[2]))
        yield row
images, digest = cached_images("toy", (12, 5), make, cache=sys.argv[1])
print(digest, int(images.sum()))
"""


def start(cache: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_MAKER, str(cache), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_process_leaves_nothing_that_looks_finished(tmp_path):
    process = start(tmp_path, 60)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "made a row\n"
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob(".aside-toy.*"))) == 1
    make = Maker()
    images, _ = cached_images("toy", IMAGES.shape, make, cache=tmp_path)
    assert make.calls == 1
    assert np.array_equal(images, IMAGES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.json", "toy.lock", "toy.npy"]


def test_processes_that_want_the_same_images_at_once_get_them_and_one_makes_them(tmp_path):
    processes = [start(tmp_path, 0.03) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert {process.returncode for process in processes} == {0}
    assert len({lines[-1] for lines in outputs}) == 1
    assert sorted(len(lines) for lines in outputs) == [1, 1, 13]


def test_without_locks_processes_still_get_whole_images(tmp_path, monkeypatch):
    import fcntl

    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    other = tmp_path / ".aside-toy.npy.0123"  # may belong to a process that is alive
    other.write_bytes(b"")
    images, _ = cached_images("toy", IMAGES.shape, Maker(), cache=tmp_path)
    assert np.array_equal(images, IMAGES)
    assert other.exists()


def test_a_folder_that_cannot_be_made_is_named_with_what_to_set(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="set RDSTUDY_CACHE") as refusal:
        cached_images("toy", IMAGES.shape, Maker(), cache=tmp_path / "file" / "cache")
    assert str(tmp_path / "file" / "cache") in str(refusal.value)


def test_a_full_disk_is_said_to_be_full_and_holds_no_half_file(tmp_path):
    """A limit on the size of files fails as a full disk does."""
    code = """
import resource, sys
import numpy as np
from rdstudy.data.cache import cached_images
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    cached_images("toy", (100, 1000), lambda: iter([np.zeros((100, 1000), np.uint8)]), cache=sys.argv[1])
except ValueError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"cannot be kept in {tmp_path}: File too large; they take 0.1 MB: set RDSTUDY_CACHE" in said
    assert [path.name for path in tmp_path.iterdir()] == ["toy.lock"]


def test_a_cache_that_is_complete_is_read_without_writing(tmp_path):
    cached_images("toy", IMAGES.shape, Maker(), cache=tmp_path)
    (tmp_path / "toy.lock").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.iterdir()]}
    time.sleep(0.01)
    cached_images("toy", IMAGES.shape, Maker(), cache=tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.iterdir()]} == before


def test_the_folder_is_the_argument_then_the_variable_then_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RDSTUDY_CACHE", str(tmp_path / "variable"))
    assert cache_folder(tmp_path / "argument") == tmp_path / "argument"
    assert cache_folder() == tmp_path / "variable"
    monkeypatch.delenv("RDSTUDY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "rdstudy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "rdstudy"
    assert cache_folder("~/mine") == tmp_path / "mine"
