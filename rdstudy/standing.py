"""How far a study is, read from its results folder alone: needs neither torch nor Ray nor the machine that trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rdstudy.errors import UserError
from rdstudy.store.location import Location
from rdstudy.store.table import failed_cells, finished_cells
from rdstudy.study import Cell, Study, parse_study

_MEND = "Remove it and run the study again: nothing that is finished is trained again."


@dataclass(frozen=True)
class Standing:
    """Which of a study's cells are finished, which failed last time, and which are to be trained."""

    cells: dict[str, Cell]
    finished: set[str]
    failed: dict[str, str]

    @property
    def missing(self) -> list[Cell]:
        """Cells without final rows, failed ones included, in the grid's order."""
        return [cell for cell_id, cell in self.cells.items() if cell_id not in self.finished]


def standing(study: Study, results: Location) -> Standing:
    """Read from the table alone how far a study is."""
    folder = results / "measurements"
    finished = finished_cells(folder) & study.cells.keys()
    failed = {c: m for c, m in failed_cells(folder).items() if c in study.cells and c not in finished}
    return Standing(study.cells, finished, failed)


def load_study_record(results: Location) -> dict[str, Any]:
    """The study as it was last run into this folder, with `n_cells` and `data_fingerprint`.

    Raises:
        UserError: the folder holds no study.
    """
    path = results / "study.json"
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{results}: not a results folder: it has no study.json, which `rdstudy run` writes") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}: is damaged: expected a mapping, found {type(record).__name__}. {_MEND}")
    return record


def recorded_study(results: Location, *, overrides: Sequence[str] = ()) -> Study:
    """The study that was last run into this folder.

    Args:
        results: the folder.
        overrides: settings such as `dataset.root=/data` that replace the recorded ones.

    Raises:
        UserError: the folder holds no study, its record is damaged, or an override is not allowed.
    """
    record = load_study_record(results)
    try:
        if overrides:
            known = {key: value for key, value in record.items() if key in Study.model_fields}
            return parse_study(json.dumps(known), where=str(results / "study.json"), overrides=overrides)
        return Study.model_validate({k: v for k, v in record.items() if k in Study.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{results / 'study.json'}: is damaged: {where}: {first['msg']}. {_MEND}") from error
