"""Run, plan, look at and report studies from Python: a notebook, a script, or another program.

result = rdstudy.run("studies/quickstart.yaml", ray=False)
result.status                 <StudyStatus: 40 cells, 40 finished, 0 missing>
result.measurements()         pandas.DataFrame
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rdstudy.storage.paths import StoragePath, default_results, storage_path
from rdstudy.study import Study, load_study, located, study_from

if TYPE_CHECKING:
    from rdstudy.execution.plan import StudyPlan
    from rdstudy.execution.run import RunResult
    from rdstudy.execution.status import StudyStatus

StudyLike: TypeAlias = str | Path | Study | Mapping[str, object]
"""A study file's path, a `Study`, or a mapping with the keys of a study file."""


def run(
    study: StudyLike,
    results: str | StoragePath | None = None,
    *,
    settings: Sequence[str] = (),
    ray: bool | None = None,
    address: str | None = None,
    max_hours: float | None = None,
    progress: bool = False,
) -> RunResult:
    """Train and measure every cell of a study that is not finished. Called again, it trains only what is missing.

    Args:
        study: a study file's path, a `Study`, or a mapping with the keys of a study file.
        results: folder, `s3://BUCKET/NAME` or `gs://BUCKET/NAME`; None: the study's name in RDSTUDY_RESULTS, or in
            the folder `results`.
        settings: such as `grid.beta=[1,0.1]`, which replace the study's.
        ray: train on Ray, several packs side by side; else in this process, pack after pack. None: on Ray, unless the
            study is so small that starting Ray takes longer than it saves.
        address: of a Ray cluster: `auto` or HOST:PORT; None: RAY_ADDRESS, or a local Ray.
        max_hours: after which the run stops; None: no limit.
        progress: show progress on standard output or in the notebook; else nothing is printed.

    Raises:
        UserError: invalid input, or a results folder that another run writes to or that holds results of other data.
        StorageError: the results folder cannot be written any more; what was committed stays.
    """
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.run import run_study

    wanted, listener = _study(study, settings), None
    folder = _results(wanted, results)
    if progress:
        from rdstudy.cli.listeners import TerminalListener
        from rdstudy.cli.terminal import console_for

        listener = TerminalListener(wanted, folder, console_for(), address=address)
    with _located(study, settings):
        budget = Budget.of(wanted, max_hours)
        return run_study(wanted, folder, ray=ray, address=address, budget=budget, listener=listener)


def plan(study: StudyLike, results: str | StoragePath | None = None, *, settings: Sequence[str] = ()) -> StudyPlan:
    """What `run` would do on this machine: packs, estimated time and storage. Changes nothing.

    Args:
        study: a study file's path, a `Study`, or a mapping with the keys of a study file.
        results: as for `run`.
        settings: as for `run`.

    Raises:
        UserError: invalid input.
    """
    from rdstudy.execution.plan import plan_study

    wanted = _study(study, settings)
    with _located(study, settings):
        return plan_study(wanted, _results(wanted, results))


def status(results: str | StoragePath) -> StudyStatus:
    """Which cells of the study in a results folder are finished, failed, stopped early or missing.

    Args:
        results: the folder, which a run may be writing to.

    Raises:
        UserError: there is no study in it, or the table cannot be read.
    """
    from rdstudy.execution.status import study_status
    from rdstudy.storage.study_record import recorded_study

    folder = storage_path(results)
    return study_status(recorded_study(folder), folder)


def write_report(
    results: str | StoragePath, *, formats: Sequence[str] = ("html",), published: Path | None = None
) -> list[Path]:
    """Write a study's report: a page, its figures and the analyses behind them.

    (Not named `report`: that is the package `rdstudy.report`.)

    Args:
        results: the results folder, which a run may be writing to.
        formats: of the page: `html`, `md` or both.
        published: a CSV of published curves, drawn behind the study's.

    Returns:
        The files written, the page first.

    Raises:
        UserError: there is no study in the folder, a format is unknown, or the CSV cannot be read.
    """
    import pandas as pd

    from rdstudy import report
    from rdstudy.execution.status import study_status
    from rdstudy.storage import load_measurements
    from rdstudy.storage.study_record import load_study_record, recorded_study

    folder = storage_path(results)
    record = load_study_record(folder)
    status = study_status(recorded_study(folder), folder)
    search = None
    if status.search is not None:
        from rdstudy.execution.search import load_outcomes, summarise

        search = summarise(status.search, load_outcomes(folder))
    return report.write_report(
        folder,
        load_measurements(folder),
        record,
        formats=[name.strip() for name in formats],
        compare=published,
        planned=pd.DataFrame([{"cell_id": i, **dataclasses.asdict(cell)} for i, cell in status.cells.items()]),
        search=search,
    )


def _study(study: StudyLike, settings: Sequence[str]) -> Study:
    if isinstance(study, str | Path):
        return load_study(study, overrides=settings)
    if isinstance(study, Study):
        if not settings:
            return study
        dumped = study.model_dump(mode="json")
        if study.search is not None:
            dumped["search"]["storage"] = study.search.storage  # which records show without its password
        study = dumped
    return study_from(json.loads(json.dumps(dict(study))), overrides=settings)


def _results(study: Study, results: str | StoragePath | None) -> StoragePath:
    return default_results(study.name) if results is None else storage_path(results)


@contextmanager
def _located(study: StudyLike, settings: Sequence[str]) -> Iterator[None]:
    """Name the line of the study file that an error is about, if there is a file."""
    if isinstance(study, str | Path):
        with located(study, settings):
            yield
    else:
        yield
