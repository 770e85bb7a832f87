import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rdstudy.storage import LockedError, StorageError, locked
from rdstudy.storage import holder as who_holds

HOLD = """
import sys, time
from pathlib import Path
from rdstudy.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_with_the_holders_name(tmp_path, holder):
    before = (tmp_path / "lock").read_bytes()
    with pytest.raises(LockedError) as caught, locked(tmp_path):
        pass
    assert f"{tmp_path} is being written by process {holder.pid} of " in str(caught.value)
    assert "rdstudy status" in str(caught.value)
    assert (tmp_path / "lock").read_bytes() == before


def test_a_killed_holders_lock_is_free(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert f'"pid": {holder.pid}' in (tmp_path / "lock").read_text()
    with locked(tmp_path):
        assert f'"pid": {os.getpid()}' in (tmp_path / "lock").read_text()


def test_who_writes_is_told_while_it_lives(tmp_path, holder):
    found = who_holds(tmp_path)
    assert found is not None
    assert found["pid"] == holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert who_holds(tmp_path) is None


def test_looking_for_a_writer_writes_nothing(tmp_path):
    assert who_holds(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_look_at_the_lock_keeps_no_run_from_taking_it(tmp_path):
    with locked(tmp_path):
        pass
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    ended = threading.Timer(0.3, os.close, [descriptor])  # far longer than a look takes
    ended.start()
    with locked(tmp_path):
        ended.join()


def test_one_process_cannot_hold_it_twice(tmp_path):
    with locked(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()} "), locked(tmp_path):
        pass


def test_it_is_free_again_however_its_holder_ended(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_folders_are_locked_one_by_one(tmp_path):
    with locked(tmp_path / "a"), locked(tmp_path / "b"):
        pass


@pytest.mark.parametrize("text", ["", "{", "{}"])
def test_a_holder_that_has_not_said_its_name_is_refused_all_the_same(tmp_path, text):
    with locked(tmp_path):
        (tmp_path / "lock").write_text(text)
        with pytest.raises(LockedError, match="another process"), locked(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match=r"file/results: making the folder failed"),
        locked(tmp_path / "file" / "results"),
    ):
        pass
