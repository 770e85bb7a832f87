"""Temporary folders are removed when they are left, and by the next run if their owner was killed."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from rdstudy.data import temporary
from rdstudy.data.temporary import OWNER, remove_abandoned, temporary_folder

HOLD = """
import sys, time
from rdstudy.data.temporary import temporary_folder
with temporary_folder("test") as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("content")
    print(folder, flush=True)
    time.sleep(120)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch) -> Path:
    """An empty temporary folder of the system's."""
    made: Path = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setattr(temporary, "SHORT", made)
    monkeypatch.setenv("TMPDIR", str(made))
    return made


@pytest.fixture
def owner():
    """Another process with a temporary folder, and the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_folder_lasts_as_long_as_its_context(place):
    with temporary_folder("ray") as folder:
        assert folder.parent == place
        assert folder.name.startswith("rdstudy-ray-")
        (folder / "a").mkdir()
        (folder / "a" / "file").write_text("")
        (folder / "link").symlink_to("nowhere")
    assert not list(place.iterdir())


def test_it_is_removed_after_an_error_too(place):
    with pytest.raises(ZeroDivisionError), temporary_folder("ray"):
        raise ZeroDivisionError
    assert not list(place.iterdir())


def test_that_of_a_killed_process_is_removed_and_that_of_a_live_one_is_not(place, owner):
    process, folder = owner
    assert remove_abandoned() == []
    assert (folder / "deep" / "file").read_text() == "content"
    kill(process)
    assert folder.exists()
    assert remove_abandoned() == []
    assert not list(place.iterdir())


def test_a_process_keeps_its_own(place):
    with temporary_folder("ray") as folder:
        remove_abandoned()
        assert (folder / OWNER).exists()


def test_the_number_of_a_dead_owner_may_be_given_again(place, owner):
    """The lock tells, not the process id: this process lives, and the folder's owner does not."""
    process, folder = owner
    kill(process)
    (folder / OWNER).write_text(str(os.getpid()))
    remove_abandoned()
    assert not folder.exists()


def test_a_child_that_outlives_its_killed_parent_does_not_keep_the_folder(place):
    program = HOLD.replace("    time.sleep", "    import subprocess; subprocess.Popen(['sleep', '60'])\n    time.sleep")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        kill(process)
    remove_abandoned()
    assert not folder.exists()


def test_a_folder_whose_owner_has_not_yet_said_so_stays(place):
    old = place / "rdstudy-ray-old"
    old.mkdir()
    (old / "file").write_text("")
    assert remove_abandoned() == []
    assert (old / "file").exists()


def test_links_are_neither_followed_nor_removed(place, owner, tmp_path):
    process, folder = owner
    kill(process)
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    inner = place / "rdstudy-inner"
    inner.mkdir()
    (inner / OWNER).symlink_to(elsewhere / OWNER)
    assert remove_abandoned() == []
    assert (elsewhere / "deep" / "file").exists()
    assert folder.is_symlink()
    assert inner.exists()


def test_what_a_link_inside_a_folder_names_stays(place, owner, tmp_path):
    process, folder = owner
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("")
    (folder / "link").symlink_to(kept)
    kill(process)
    remove_abandoned()
    assert not folder.exists()
    assert (kept / "file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_another_users_folder_stays_even_for_root(place, owner):
    process, folder = owner
    kill(process)
    os.chown(folder, 12345, 12345)
    remove_abandoned()
    assert (folder / "deep" / "file").exists()


def test_two_runs_that_begin_at_once_remove_it_once(place, owner):
    process, _ = owner
    kill(process)
    said: list[str] = []
    both = [threading.Thread(target=lambda: said.extend(remove_abandoned())) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert said == []
    assert not list(place.iterdir())


def test_what_cannot_be_removed_is_named_and_found_again(place, owner, monkeypatch):
    process, folder = owner
    kill(process)

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", refuse)
        [said] = remove_abandoned()
    assert str(folder) in said
    assert "Permission denied" in said
    assert remove_abandoned() == []
    assert not folder.exists()


def test_a_file_system_without_locks_keeps_its_folders(place, monkeypatch):
    def unsupported(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", unsupported)
        with temporary_folder("ray") as folder:
            assert remove_abandoned() == []
            assert folder.exists()
        assert not folder.exists()


def test_the_next_run_removes_it(command, study_file, place, owner):
    process, folder = owner
    assert command("run", study_file, "--no-ray", "--set", "training.steps=2").code == 0
    assert folder.exists()
    kill(process)
    ended = command("run", study_file, "--no-ray", "--set", "training.steps=2")
    assert (ended.code, ended.err) == (0, "")
    assert not list(place.glob("rdstudy-*"))
