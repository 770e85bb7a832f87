"""`--json`: print one JSON document."""

from __future__ import annotations

import datetime as dt
import json
import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rdstudy.execution.status import StudyStatus
    from rdstudy.storage.paths import StoragePath
    from rdstudy.study import Study


def as_json(keys: str) -> object:
    """The option `--json` of a command, whose document has these keys."""
    return typer.Option(
        "--json", help=f"Print one JSON document instead, with the keys {keys}; unknown values are null."
    )


def print_document(document: Mapping[str, object]) -> None:
    """Print a document."""
    print(json.dumps(plain(document), indent=2, allow_nan=False))


def plain(value: object) -> object:
    """A value for JSON: NaN becomes null, a table a list of mappings, a time ISO 8601, anything else text."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a data frame
        value = value.to_dict("records")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # of NumPy: an array becomes a list
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        return value.isoformat() if value == value else None  # NaT, the missing time, differs from itself
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return str(value)


STATUS_FIELDS = (
    "study, results, cells, finished, missing, failed (messages by cell_id), stopped_early (the same), others"
)


def status_document(study: Study, folder: StoragePath, now: StudyStatus) -> dict[str, object]:
    """Numbers of cells, and why some failed or were stopped early."""
    return {
        "study": study.name,
        "results": folder,
        "cells": len(now.cells),
        "finished": len(now.finished),
        "missing": len(now.missing),
        "failed": now.failed,
        "stopped_early": now.stopped,
        "others": now.others,
    }


def search_document(now: StudyStatus) -> dict[str, object] | None:
    """Results of a search so far; None if the study has none."""
    if now.search is None:
        return None
    from rdstudy.execution.search.search import Curves

    seeker = now.search.seeker
    settings: list[dict[str, object]] = []
    hypervolume: float | None = None
    if isinstance(seeker, Curves):
        for setting, found in seeker.estimates().items():
            known: dict[str, object] = {"beta": None, "beta_low": None, "beta_high": None, "cells": 0}
            if found is not None:
                known = {"beta": found.beta, "beta_low": found.low, "beta_high": found.high, "cells": found.points}
            settings.append({**dict(setting.axes), **known})
    else:
        hypervolume = next(reversed(seeker.progress()), None)
    return {"ended": now.search.ended, "settings": settings, "hypervolume_nats2": hypervolume}
