"""The results folder of a study, which can be moved, copied and read anywhere.

    <results>/study.json                   the study as it was last run
    <results>/measurements/*.parquet       the table: the only record of finished cells
    <results>/bundles/*.parquet            copies of many parts in one file, for faster reading
    <results>/models/<cell>.safetensors    trained weights
    <results>/sheets/<cell>.npz            reconstructions and samples, as uint8
    <results>/checkpoints/<pack>/          unfinished packs
    <results>/staging/                     rows of finished packs, not yet in the table
    <results>/lock                         names the writing process

`cleanup.py` knows which of these files are not needed any more.

Workers write complete files; only the holder of the lock changes the table.
"""

from rdstudy.storage.cell_states import CellStates, finished_cells, read_cell_states
from rdstudy.storage.files import StorageError
from rdstudy.storage.lock import LockedError, holder, locked
from rdstudy.storage.table import (
    Table,
    load_measurements,
    measured_cells,
    stage,
    stage_again,
    stage_stopped,
)

__all__ = [
    "CellStates",
    "LockedError",
    "StorageError",
    "Table",
    "finished_cells",
    "holder",
    "load_measurements",
    "locked",
    "measured_cells",
    "read_cell_states",
    "stage",
    "stage_again",
    "stage_stopped",
]
