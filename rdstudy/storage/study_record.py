"""The record of a results folder's study, `study.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from rdstudy.errors import UserError
from rdstudy.storage.paths import StoragePath, read_bytes
from rdstudy.study import Study, study_from
from rdstudy.study.renamed_keys import Record, translate

_FIX = "Remove it and run the study again: finished cells are not trained again."


def load_study_record(results: StoragePath) -> Record:
    """The keys of the study last run in this folder, with `n_cells` and `data_fingerprint`.

    Raises:
        UserError: the folder holds no study.
    """
    path = results / "study.json"
    try:
        record = json.loads(read_bytes(path))
        json.dumps(record, ensure_ascii=False).encode()  # a lone surrogate, which no text can hold, is a ValueError
    except NotADirectoryError:
        raise UserError(f"{results}: is a file; a results folder is expected, as `rdstudy run` makes it") from None
    except FileNotFoundError:
        raise UserError(f"{results}: not a results folder: it has no study.json, which `rdstudy run` writes") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is damaged: {str(error)[:160]}. {_FIX}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}: is damaged: expected a mapping, found {type(record).__name__}. {_FIX}")
    try:
        _Beside.model_validate(record)
    except ValidationError as error:
        raise _damaged(path, error) from error
    return translate(record)


CHANGEABLE = ("evaluation", "resources", "dataset.path", "dataset.root", "dataset.download")
"""Settings that may be replaced where finished cells are used: no other would be theirs."""


def _check_overrides(overrides: Sequence[str]) -> None:
    for setting in overrides:
        key = setting.partition("=")[0].strip()
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in CHANGEABLE):
            raise UserError(
                f"--set {key[:80]}: finished cells have the settings that they were trained with, so only "
                f"{', '.join(CHANGEABLE)} can be set here. To train other cells: rdstudy run STUDY --set {key[:80]}=..."
            )


class _Beside(BaseModel):
    """What a record says beside the study's own keys."""

    model_config = ConfigDict(strict=True)

    n_cells: int | None = None
    numerics: int = 1
    data_fingerprint: str | None = None
    data_fingerprints: dict[str, str] = {}


def _damaged(path: StoragePath, error: ValidationError) -> UserError:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return UserError(f"{path}: is damaged: {where[:80]}: {first['msg'][:160]}. {_FIX}")


def recorded_fingerprints(record: Record) -> dict[int, str]:
    """Fingerprints of the data of a recorded study, by data seed."""
    if "data_fingerprints" in record:
        return {int(seed): fingerprint for seed, fingerprint in record["data_fingerprints"].items()}
    if record.get("data_fingerprint") is None:
        return {}
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
            _check_overrides(overrides)
            known = {key: value for key, value in record.items() if key in Study.model_fields}
            study = study_from(known, where=str(results / "study.json"), overrides=overrides)
        else:
            study = Study.model_validate({k: v for k, v in record.items() if k in Study.model_fields})
        return study.of_numerics(int(record.get("numerics", 1)))
    except ValidationError as error:
        raise _damaged(results / "study.json", error) from error
