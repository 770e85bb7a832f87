"""What a results folder does not need any more: leftovers of finished packs and of killed runs.

A checkpoint is needed until the cells of its pack are finished, and staged rows until they are in the table. The
table, the study's record, weights, sheets, reports and files that were set aside are never disposable. A symbolic link
is neither followed nor removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rdstudy.data.files import TEMPORARY_PREFIX
from rdstudy.storage.cell_states import CellStates, read_cell_states
from rdstudy.storage.checkpoints import Checkpoints
from rdstudy.storage.files import remove, translate_errors
from rdstudy.storage.lock import check_free, locked
from rdstudy.storage.parts import outdated_bundles
from rdstudy.storage.paths import StoragePath, in_bucket, list_files, list_folders
from rdstudy.storage.study_record import recorded_study
from rdstudy.storage.table import is_committed

_CHECKPOINT = re.compile(r"[0-9]{12}\.safetensors")
_WRITTEN = (".", "measurements", "bundles", "staging", "models", "sheets")
"""Folders in which only the holder of the lock and its workers write. A report is written without the lock."""


@dataclass(frozen=True)
class Disposable:
    """Files of one kind that nobody needs any more.

    Attributes:
        kind: what they are, in words.
        files: their sizes in bytes, by path.
    """

    kind: str
    files: Mapping[StoragePath, int]

    @property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def list_disposable(results: StoragePath) -> list[Disposable]:
    """What a results folder does not need any more. Writes nothing.

    Args:
        results: the results folder, or a prefix in a bucket.

    Returns:
        The kinds of which there is at least one file.

    Raises:
        LockedError: a run is writing to the folder, so its files are in use.
        UserError: the folder holds no study.
        StorageError: the folder, or its table, cannot be read.
    """
    recorded_study(results)
    check_free(results)
    return _disposable(results)


def remove_disposable(results: StoragePath) -> list[Disposable]:
    """Remove what `list_disposable` lists, while holding the lock; returns what was removed.

    Raises:
        LockedError: a run is writing to the folder; nothing was removed.
        UserError: the folder holds no study; nothing was removed.
        StorageError: the folder cannot be read, or a file cannot be removed.
    """
    recorded_study(results)
    with locked(results) as still_locked:
        found = _disposable(results)
        for each in found:
            for path in each.files:
                still_locked()
                remove(path)
        for folder in _pack_folders(results):
            _remove_if_empty(folder)
    return found


def _disposable(results: StoragePath) -> list[Disposable]:
    states = read_cell_states(results / "measurements")
    finished, damaged = _checkpoints(results, _ended(results, states))
    kinds = {
        "checkpoints of finished cells": finished,
        "damaged checkpoints": damaged,
        "staged rows that the table has": _staged(results, states),
        "temporary files of killed runs": _temporary(results),
        "outdated bundles": _bundles(results),
    }
    return [Disposable(kind, files) for kind, files in kinds.items() if files]


def _ended(results: StoragePath, states: CellStates) -> set[str]:
    """Ids of the cells that no run trains again."""
    search = recorded_study(results).search
    return states.finished | (states.stopped.keys() if search is not None and search.stops_hopeless else set())


def _checkpoints(results: StoragePath, ended: set[str]) -> tuple[dict[StoragePath, int], dict[StoragePath, int]]:
    """Checkpoints of packs whose cells have all ended, and those of packs without a complete checkpoint."""
    finished: dict[StoragePath, int] = {}
    damaged: dict[StoragePath, int] = {}
    ours = set(_pack_folders(results))
    for folder, newest in Checkpoints(results).newest():
        if folder not in ours:
            continue
        files = {path: n for path, n in _own_files(folder, ".safetensors").items() if _CHECKPOINT.fullmatch(path.name)}
        if newest is None:
            damaged |= files
        elif set(newest[0]) <= ended:
            finished |= files
    return finished, damaged


def _staged(results: StoragePath, states: CellStates) -> dict[StoragePath, int]:
    """Staged rows of cells that are in the table: the run died between their commit and their removal."""
    staged = _own_files(results / "staging", ".parquet")
    return {path: n for path, n in staged.items() if is_committed(path, states)}


def _bundles(results: StoragePath) -> dict[StoragePath, int]:
    """Copies of parts of the table that are not read, because the parts have changed since."""
    bundles = _own_files(results / "bundles", ".parquet")
    outdated = outdated_bundles(results / "measurements") if bundles else []
    return {path: bundles[path] for path in outdated if path in bundles}


def _temporary(results: StoragePath) -> dict[StoragePath, int]:
    """Unfinished files. A bucket has none, because there a file is written by one request."""
    if in_bucket(results):
        return {}
    folders = [results / name for name in _WRITTEN] + _pack_folders(results)
    found: dict[StoragePath, int] = {}
    for folder in folders:
        with translate_errors(folder, "listing the folder"):
            if folder.is_dir() and (folder == results or not folder.is_symlink()):
                found |= {path: path.stat().st_size for path in folder.glob(f"{TEMPORARY_PREFIX}*") if _is_own(path)}
    return found


def _pack_folders(results: StoragePath) -> list[StoragePath]:
    """The folders of checkpoints, without links."""
    folder = results / "checkpoints"
    return [] if _is_link(folder) else [each for each in list_folders(folder) if not _is_link(each)]


def _own_files(folder: StoragePath, suffix: str) -> dict[StoragePath, int]:
    """Sizes of the regular files directly in a folder; none of a folder that is a link."""
    with translate_errors(folder, "listing the folder"):
        files = {} if _is_link(folder) else list_files(folder, suffix)
        return {folder / name: n for name, n in files.items() if in_bucket(folder) or _is_own(folder / name)}


def _is_link(path: StoragePath) -> bool:
    return not in_bucket(path) and path.is_symlink()


def _is_own(path: StoragePath) -> bool:
    """Whether a path on disk is a regular file and no link."""
    return path.is_file() and not path.is_symlink()


def _remove_if_empty(folder: StoragePath) -> None:
    with translate_errors(folder, "removing"):
        if not in_bucket(folder) and not any(folder.iterdir()):
            folder.rmdir()
