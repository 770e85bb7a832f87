"""Files that rdstudy did not write: never taken for its own, never waited for, named and set aside."""

import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.lock import LockedError, holder, locked, name_of, parse_holder
from rdstudy.storage.parts import to_arrow
from rdstudy.storage.table import Table
from tests.made import rows_of


@pytest.mark.parametrize("text", [b"[1]", b"3", b"null", b'"x"', b"", b"\xff", b"[" * 9999, b'{"pid": [1]}', b"{}"])
def test_a_lock_that_says_nothing_of_use_names_no_process(text):
    assert name_of(parse_holder(text)) == "another process (not yet named)"


def test_a_lock_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "lock")
    assert holder(tmp_path) is None


def test_a_folder_stays_locked_when_its_lock_file_is_removed(tmp_path):
    with locked(tmp_path):
        (tmp_path / "lock").unlink()
        with pytest.raises(LockedError), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def checkpoint(folder: Path, record: object, *, name: str = "10") -> None:
    (folder / "checkpoints" / "pack").mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoints" / "pack" / f"{name:0>12}.safetensors"
    save_file({"rows": np.zeros((1, 3), np.float32)}, path, {"record": json.dumps(record), "rows": "[]"})


GOOD = {"cells": ["a"], "step": 10, "diverged": {}, "seconds": 1.0}


def test_a_good_checkpoint_is_loaded(tmp_path):
    checkpoint(tmp_path, GOOD)
    found = Checkpoints(tmp_path).load("pack", ["a"])
    assert found is not None
    assert found.record == GOOD


@pytest.mark.parametrize(
    "record", [[1], {}, {**GOOD, "cells": 3}, {**GOOD, "cells": []}, {**GOOD, "step": "x"}, {**GOOD, "step": -1}]
)
def test_a_checkpoint_with_another_record_is_not_used(tmp_path, record):
    checkpoint(tmp_path, record)
    assert Checkpoints(tmp_path).load("pack", ["a"]) is None
    assert Checkpoints(tmp_path).progress() == []
    Checkpoints(tmp_path).remove_finished(set())


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)], ids=["pipe", "folder", "loop"]
)
def test_what_is_no_file_is_no_checkpoint(tmp_path, make):
    checkpoint(tmp_path, GOOD, name="x")
    make(tmp_path / "checkpoints" / "pack" / "000000000010.safetensors")
    assert Checkpoints(tmp_path).load("pack", ["a"]) is None
    assert Checkpoints(tmp_path).progress() == []


def foreign(path: Path, kind: str, good: pa.Table) -> None:
    cells, at = pa.array(["../../evil"] * len(good)), good.schema.get_field_index("cell_id")
    tables = {
        "of others": pa.table({"a": [1, 2]}),
        "empty": good.slice(0, 0),
        "without a column": good.drop_columns(["status"]),
        "of a strange cell": good.set_column(at, good.schema.field(at), cells),
        "twice": pa.concat_tables([good, good]),
    }
    if kind in tables:
        pq.write_table(tables[kind], path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.write_bytes(b"x")


KINDS = ["of others", "empty", "without a column", "of a strange cell", "twice", "pipe", "folder", "loop", "damaged"]


@pytest.mark.parametrize("prefix", ["", "stopped-", "again-"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_file_among_the_staged_is_set_aside(tmp_path, make_study, kind, prefix):
    study = make_study()
    good = to_arrow(rows_of(study, next(iter(study.cells.values()))))
    (tmp_path / "staging").mkdir()
    foreign(tmp_path / "staging" / f"{prefix}x.parquet", kind, good)
    table = Table(tmp_path)
    assert table.commit_staged() == []
    assert table.finished == set()
    assert os.path.lexists(tmp_path / "set-aside" / f"{prefix}x.parquet")
    assert len(table.set_aside) == 1
    assert "not a finished pack" in table.set_aside[0]


def test_the_folder_is_free_after_a_run(tmp_path):
    with locked(tmp_path):
        pass
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
