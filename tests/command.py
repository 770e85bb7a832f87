"""The `rdstudy` command run in this process, and what tests say of its outcome."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

import rdstudy
from rdstudy.storage.schema import PROVENANCE


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def refused(ended: Ended, *words: str) -> None:
    """The user's mistake: one message, no traceback."""
    assert ended.code == 2
    assert ended.err.startswith("rdstudy: ")
    assert "Traceback" not in ended.err
    assert ended.err.count("rdstudy: ") == 1
    for each in words:
        assert each in ended.err


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def values(results: Path) -> pd.DataFrame:
    return rdstudy.load_measurements(results).drop(columns=list(PROVENANCE))
