import errno
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from rdstudy.data.files import TEMPORARY_PREFIX
from rdstudy.errors import UserError
from rdstudy.storage import StorageError, Table, finished_cells, stage
from rdstudy.storage.files import atomic_move, atomic_write, make_folder, remove, remove_leftovers
from tests.storage.test_table import rows_of


def test_a_file_appears_with_its_folder_and_takes_the_olds_place(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"first", b"second"):
        atomic_write(path, partial(lambda content, file: file.write(content), content))
        assert path.read_bytes() == content
        assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_writing_that_fails_leaves_the_old_file_and_says_why(tmp_path, number, words):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half of the ne")
        raise OSError(number, os.strerror(number))

    with pytest.raises(StorageError, match=words) as caught:
        atomic_write(path, write)
    assert str(caught.value).startswith(f"{path}: writing failed: ")
    assert "--results" in str(caught.value)
    assert isinstance(caught.value, UserError)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_of_the_writers_own_stays_what_it_is(tmp_path):
    def write(file):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic_write(tmp_path / "file", write)
    assert os.listdir(tmp_path) == []


def test_a_writer_killed_in_the_middle_leaves_the_old_file_and_a_leftover(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = (
        "import os, signal, sys; from pathlib import Path; from rdstudy.storage.files import atomic_write\n"
        "def write(file): file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "atomic_write(Path(sys.argv[1]), write)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (leftover,) = tmp_path.glob(f"{TEMPORARY_PREFIX}*")
    assert leftover.read_bytes() == b"half"
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_stands_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for act in (
        lambda: make_folder(tmp_path / "file" / "folder"),
        lambda: make_folder(tmp_path / "file"),
        lambda: atomic_write(tmp_path / "file" / "x", lambda file: file.write(b"")),
    ):
        with pytest.raises(StorageError, match=r"a file is in the place of a folder"):
            act()


def test_a_finished_file_takes_its_final_name_in_one_step(tmp_path):
    source, target = tmp_path / "a", tmp_path / "folder" / "b"
    source.write_bytes(b"new")
    atomic_move(source, target)
    assert (source.exists(), target.read_bytes()) == (False, b"new")
    with pytest.raises(StorageError, match="moving a finished file into place"):
        atomic_move(source, target)
    assert target.read_bytes() == b"new"


def test_a_file_can_be_removed_that_is_gone_already(tmp_path):
    remove(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"")
    remove(tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_a_process_that_may_write_no_more_keeps_the_old_file(tmp_path):
    """A limit on the size of files, which the kernel enforces: nearly a full disk."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from rdstudy.storage.files import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "atomic_write(Path(sys.argv[1]), lambda file: file.write(bytes(100_000)))"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].startswith(
        f"rdstudy.storage.files.StorageError: {path}: writing failed: File too"
    )
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.fixture
def full_disk(tmp_path: Path):
    """A file system of 256 KiB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_keeps_the_old_file(full_disk):
    path = full_disk / "file"
    atomic_write(path, lambda file: file.write(b"old"))
    with pytest.raises(StorageError, match="the disk is full: free some space"):
        atomic_write(path, lambda file: file.write(bytes(1_000_000)))
    assert path.read_bytes() == b"old"
    assert os.listdir(full_disk) == ["file"]


def test_a_folder_out_of_order_for_a_while_is_waited_for_by_who_commits(full_disk):
    """A file system that turns read-only, as one does whose server fails over, then comes back."""
    staged = stage(full_disk, "pack", rows_of("a"))
    mount = ["mount", "-o", "remount"]
    subprocess.run([*mount, "-r", str(full_disk)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        (full_disk / "file").write_bytes(b"")
    back = threading.Timer(4, subprocess.run, [[*mount, "-w", str(full_disk)]], {"check": True})
    back.start()
    assert Table(full_disk).commit(staged) == ["a"]
    assert not back.is_alive()
    assert finished_cells(full_disk / "measurements") == {"a"}
    assert list((full_disk / "staging").iterdir()) == []
