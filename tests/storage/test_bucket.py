"""Results in a bucket: S3 and Google Cloud Storage servers on loopback, whose answers are slow and wrong at times."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import rdstudy
from rdstudy.errors import UserError
from rdstudy.storage import LockedError, StorageError, Table, finished_cells, holder, load_measurements, locked, stage
from rdstudy.storage import lease as leases
from rdstudy.storage import paths as locations
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.files import atomic_write
from rdstudy.storage.paths import in_bucket, list_files, storage_path
from tests.buckets import KINDS, Server, running
from tests.command import refused, values
from tests.storage.test_table import failure_of, rows_of


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """A place of its own for each test, on a server that behaves until it is told otherwise."""
    yield server.url(str(abs(hash(request.node.nodeid))))
    server.faults(errors=0.0, slow=0.0, refuse_writes=False, forbid=False)


# --- what is written and read ---


def test_a_table_in_a_bucket_is_the_table_in_a_folder(url, tmp_path, monkeypatch):
    monkeypatch.setattr("rdstudy.storage.parts.PARTS_PER_BUNDLE", 2)
    (tmp_path / "measurements").mkdir()
    for root in (storage_path(url), tmp_path):
        table = Table(root)
        table.record_failure(failure_of("z"))
        table.record_failure(failure_of("b"))
        table.commit(stage(root, "one", rows_of("a", "b")))
        table.commit(stage(root, "two", rows_of("b", "c")))
        assert Table(root).commit(stage(root, "one", rows_of("a", "d"))) == ["d"]
        stage(root, "three", rows_of("e"))
        assert Table(root).commit_staged() == ["e"]
    pd.testing.assert_frame_equal(load_measurements(url), load_measurements(tmp_path))
    assert finished_cells(storage_path(url) / "measurements") == set("abcde")
    assert len(list_files(storage_path(url) / "bundles", ".parquet")) == 2
    assert list_files(storage_path(url) / "staging", "") == {}


def test_what_is_written_is_whole_or_not_there(url):
    path = storage_path(url) / "file"

    def write(file):
        file.write(b"half")
        raise RuntimeError("the process dies")

    with pytest.raises(RuntimeError):
        atomic_write(path, write)
    assert list_files(storage_path(url), "") == {}


def test_answers_that_are_slow_or_wrong_lose_nothing(url, server):
    server.faults(errors=0.1, slow=0.05)
    table = Table(storage_path(url))
    for cell in "abcde":
        table.commit(stage(storage_path(url), f"pack-{cell}", rows_of(cell)))
    found = load_measurements(url)["cell_id"].value_counts().to_dict()
    assert found == dict.fromkeys("abcde", 4)
    counts = server.faults()
    assert counts["errors"] > 0
    assert counts["slow"] > 0


def test_writes_refused_for_a_while_are_waited_for(url, server):
    server.faults(refuse_writes=True)
    threading.Timer(6, server.faults, kwargs={"refuse_writes": False}).start()
    began = time.monotonic()
    atomic_write(storage_path(url) / "file", lambda file: file.write(b"whole"))
    assert time.monotonic() - began > 5
    assert (storage_path(url) / "file").read_bytes() == b"whole"


def test_a_bucket_that_is_not_there_is_one_clear_message(server):
    url = f"{server.kind}://no-such-bucket/x"
    with pytest.raises(StorageError, match=f"{url}/f: writing failed: the bucket does not exist"):
        atomic_write(storage_path(url) / "f", lambda file: file.write(b""))


def test_a_bucket_that_forbids_is_not_waited_for(url, server):
    server.faults(forbid=True)
    began = time.monotonic()
    with pytest.raises(StorageError, match=f"{url}/f: writing failed: .*permission"):
        atomic_write(storage_path(url) / "f", lambda file: file.write(b""))
    assert time.monotonic() - began < locations.PATIENCE_SECONDS / 4


@pytest.mark.parametrize("text", ["ftp://host/x", "s3://", "s3:///"])
def test_a_place_of_another_kind_is_refused(text):
    with pytest.raises(UserError, match=r"give a folder, s3://BUCKET/NAME or gs://BUCKET/NAME"):
        storage_path(text)


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(locations, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs gcsfs: pip install 'rdstudy\[gs\]'"):
        storage_path("gs://bucket/x")


# --- one writer ---


def test_of_many_that_try_at_once_one_writes(url):
    entered, refusals, together = [], [], threading.Barrier(8)

    def enter(number: int) -> None:
        together.wait()
        try:
            with locked(storage_path(url)):
                entered.append(number)
                time.sleep(3)
        except LockedError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=enter, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == 1
    assert len(refusals) == 7
    assert any(f"process {os.getpid()}" in refusal for refusal in refusals)


def test_a_lease_given_back_is_free_at_once(url):
    for _ in range(3):
        with locked(storage_path(url)) as still_mine:
            still_mine()
    assert len(list_files(storage_path(url) / "lease", ".json")) == 1


def test_a_dead_holders_lease_is_free_after_a_while(url, monkeypatch):
    program = (
        "import os, sys\nfrom rdstudy.storage import locked\nfrom rdstudy.storage.paths import storage_path\n"
        "with locked(storage_path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, url], check=False, timeout=60).returncode == 9
    with (
        pytest.raises(LockedError, match=r"its lease expires 120 s after the last renewal"),
        locked(storage_path(url)),
    ):
        pass
    assert holder(storage_path(url)) is not None
    monkeypatch.setattr(leases, "STALE_SECONDS", 3.0)
    time.sleep(4)
    assert holder(storage_path(url)) is None
    with locked(storage_path(url)):
        found = holder(storage_path(url))
    assert found is not None
    assert (found["pid"], "token" in found) == (os.getpid(), False)
    assert holder(storage_path(url)) is None


def test_a_holder_whose_lease_was_taken_over_writes_no_more(url, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(leases, "STALE_SECONDS", 2.0)
    with locked(storage_path(url)) as still_mine:
        table = Table(storage_path(url), still_mine)
        table.commit(stage(storage_path(url), "one", rows_of("a")))
        staged = stage(storage_path(url), "two", rows_of("b"))
        atomic_write(storage_path(url) / "lease" / "000002.json", lambda file: file.write(b"{}"))
        time.sleep(1.5)
        with pytest.raises(StorageError, match="the lease was lost"):
            table.commit(staged)
    assert finished_cells(storage_path(url) / "measurements") == {"a"}


# --- a study ---


def test_a_study_in_a_bucket_gives_the_bits_it_gives_in_a_folder(url, server, command, study_file):
    server.faults(errors=0.05)
    assert command("run", study_file, "--no-ray", "--results", url).code == 0
    assert command("run", study_file, "--no-ray", "--results", "here").code == 0
    pd.testing.assert_frame_equal(values(url), values(Path("here")), check_exact=True)
    assert "4 cells, 4 finished" in command("status", url).out
    assert "nothing to train" in command("run", study_file, "--no-ray", "--results", url).out
    ended = command("report", url)
    assert ended.code == 0
    assert (Path("results") / url.rpartition("/")[2] / "report" / "index.html").is_file()
    cell = load_measurements(url)["cell_id"][0]
    assert rdstudy.load_model(url, cell).shape == rdstudy.load_model("here", cell).shape
    assert command("remeasure", url, "--no-ray", "--mi-draws", "2").code == 0
    assert set(load_measurements(url)["mi_draws"].dropna()) == {1, 2}


def test_a_study_killed_in_a_bucket_goes_on_to_the_same_bits(url, server, command, study_file, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.5)
    monkeypatch.setattr(leases, "STALE_SECONDS", 4.0)
    more = ("--set", "training.steps=2000", "--set", "resources.checkpoint_seconds=0.2")
    run = [sys.executable, "-m", "rdstudy", "run", str(study_file), "--no-ray", "--results", url, *more]
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not Checkpoints(storage_path(url)).begun() and time.monotonic() < until:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Checkpoints(storage_path(url)).begun()
    time.sleep(5)
    assert command("run", study_file, "--no-ray", "--results", url, *more).code == 0
    assert command("run", study_file, "--no-ray", "--results", "here", *more).code == 0
    pd.testing.assert_frame_equal(values(url), values(Path("here")), check_exact=True)
    assert not Checkpoints(storage_path(url)).begun()


def test_a_place_without_a_study_is_the_users_mistake(url, server, command):
    refused(command("status", url), f"{url}: not a results folder")
    refused(command("report", url), url)


def test_no_credentials_are_written_anywhere(url, server, command, study_file):
    if server.kind == "gs":
        pytest.skip("this server asks for no credentials")
    secret = server.environment["AWS_SECRET_ACCESS_KEY"]
    assert command("run", study_file, "--no-ray", "--results", url, "--set", "training.steps=2").code == 0
    root = storage_path(url)
    assert in_bucket(root)
    for path in root.fs.find(root.path):
        assert secret.encode() not in root.fs.cat_file(path), path
    assert json.loads((root / "study.json").read_bytes())["name"] == "tiny"


def test_a_bucket_is_cleaned_of_what_is_finished_only(command, url, study_file):
    assert command("run", study_file, "--no-ray", "--results", url).code == 0
    results: Any = storage_path(url)
    other = "checkpoints/unfinished/000000000003.safetensors"
    before = sizes(results)
    [part, *_] = list_files(results / "measurements", ".parquet")
    atomic_write(results / "staging" / part, lambda file: file.write((results / "measurements" / part).read_bytes()))
    atomic_write(results / other, lambda file: file.write(b"half"))
    listed = json.loads(command("clean", url, "--json").out)
    assert {each["kind"] for each in listed["disposable"]} == {"damaged checkpoints", "staged rows that the table has"}
    with locked(results):
        refused(command("clean", url, "--yes"), "is being written by process ")
    assert (results / other).exists()
    assert json.loads(command("clean", url, "--yes", "--json").out)["bytes"] == listed["bytes"]
    assert sizes(results) == before


def sizes(results):
    """Of all objects, apart from leases."""
    return {path: results.fs.info(path)["size"] for path in results.fs.find(results.path) if "/lease/" not in path}
