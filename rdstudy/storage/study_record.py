"""The record of a results folder's study, `study.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError

from rdstudy.errors import UserError
from rdstudy.storage.paths import StoragePath
from rdstudy.study import Study, parse_study
from rdstudy.study.renamed_keys import Record, translate

_FIX = "Remove it and run the study again: finished cells are not trained again."


def load_study_record(results: StoragePath) -> Record:
    """The keys of the study last run in this folder, with `n_cells` and `data_fingerprint`.

    Raises:
        UserError: the folder holds no study.
    """
    path = results / "study.json"
    try:
        record = json.loads(path.read_text())
    except NotADirectoryError:
        raise UserError(f"{results}: is a file; a results folder is expected, as `rdstudy run` makes it") from None
    except FileNotFoundError:
        raise UserError(f"{results}: not a results folder: it has no study.json, which `rdstudy run` writes") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}: is damaged: expected a mapping, found {type(record).__name__}. {_FIX}")
    return translate(record)


def recorded_fingerprints(record: Record) -> dict[int, str]:
    """Fingerprints of the data of a recorded study, by data seed."""
    if "data_fingerprints" in record:
        return {int(seed): fingerprint for seed, fingerprint in record["data_fingerprints"].items()}
    return {int(record["dataset"].get("seed", 0)): record["data_fingerprint"]}


def recorded_study(results: StoragePath, *, overrides: Sequence[str] = ()) -> Study:
    """The study last run in this folder.

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
            study = parse_study(json.dumps(known), where=str(results / "study.json"), overrides=overrides)
        else:
            study = Study.model_validate({k: v for k, v in record.items() if k in Study.model_fields})
        return study.of_numerics(int(record.get("numerics", 1)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{results / 'study.json'}: is damaged: {where}: {first['msg']}. {_FIX}") from error
