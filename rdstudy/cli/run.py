"""`run` and `measure`: what works on packs until they have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.text import Text

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import STATUS_FIELDS, as_json, print_document, search_document, status_document
from rdstudy.cli.messages import print_failures, print_next, print_search, print_status
from rdstudy.cli.options import (
    Address,
    AllowPlugins,
    Inline,
    MaxCost,
    MaxHours,
    Price,
    ResultsOption,
    Settings,
    StudyFile,
    usual_place,
)
from rdstudy.cli.plan import memory_here, packs_of
from rdstudy.cli.terminal import console_for

if TYPE_CHECKING:
    from rdstudy.cli.live import RunDisplay
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.run import Executor, More, TableWriter
    from rdstudy.execution.status import StudyStatus
    from rdstudy.execution.worker import RunContext
    from rdstudy.storage.location import StoragePath
    from rdstudy.study import Cell, Study
    from rdstudy.training.packs import Pack


def run(
    study_file: StudyFile,
    results: ResultsOption = None,
    settings: Settings = None,
    allow_plugins: AllowPlugins = False,
    address: Address = None,
    inline: Inline = False,
    max_hours: MaxHours = None,
    max_cost: MaxCost = None,
    price: Price = None,
    json_wanted: Annotated[bool, as_json(f"{STATUS_FIELDS}, diverged (messages by cell_id), stopped, search")] = False,
) -> None:
    """Train and measure every cell that is not finished. Interrupted? The same command goes on."""
    from rdstudy.cli.live import RunDisplay
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.provenance import git_commit
    from rdstudy.execution.run import TableWriter, open_results
    from rdstudy.execution.status import study_status
    from rdstudy.execution.worker import RunContext, pick_device
    from rdstudy.study import load_study, located
    from rdstudy.study.data import check_sizes, load_data

    study = load_study(study_file, overrides=settings or ())
    own = study.search.stop_when.hours if study.search else None
    if own is not None and (max_hours is None or own < max_hours):
        budget = Budget(own, max_cost, price, limit="search.stop_when.hours")
    else:
        budget = Budget(max_hours, max_cost, price)
    folder = results or usual_place(study)
    console = console_for(stderr=json_wanted)
    now = study_status(study, folder)
    if not now.missing:
        if json_wanted:
            print_document(_ended(study, folder, now, None))
            return
        stopped = f" or were stopped early ({len(now.stopped)})" if now.stopped else ""
        console.print(f"{study.name}: all {len(now.cells)} cells are finished{stopped}; nothing to train")
        print_search(console, now)
        print_next(console, folder)
        return
    with located(study_file, settings or ()):
        dataset = load_data(study)
        check_sizes(study, dataset)
    # On Ray, each worker picks the device of its own machine; this one may have none.
    device = pick_device(study.resources.device if inline else "cpu")
    at = RunContext(study, dataset, folder, device, git_commit())
    with open_results(study, folder, dataset.fingerprint) as table:
        now = study_status(study, folder)
        print_status(console, study, folder, now)
        if not inline:
            console.print(f"{'connecting to' if address else 'starting'} Ray; the first packs report within a minute")
        with _site(at, address, inline=inline) as site:
            pixels = dataset.images.shape[1]

            def packed(missing: list[Cell]) -> list[Pack]:
                return packs_of(study, folder, missing, pixels, site.workers, site.device, site.memory)

            limits = now.search.limits if now.search else {}
            packs = [pack.limited(limits) for pack in packed(now.missing)]
            display = RunDisplay(packs, console, where=site.where)
            more, cells = _searched(study, folder, packed, display) if study.search else (None, study.cells)
            recorder = TableWriter(study, folder, table, cells=cells)
            over = _execute(recorder, packs, site.execute, at, display, budget, more)
        now = study_status(study, folder)
    if json_wanted:
        print_document(_ended(study, folder, now, over))
    else:
        if over:
            console.print(f"stopped: {over}; the same command goes on")
        _print_ending(console, study, folder, now)
    if now.missing or now.failed:
        raise typer.Exit(FAILED)


class _Site(NamedTuple):
    """What works on packs, how many side by side, on which kind of device, with how much memory, where in words."""

    execute: Executor
    workers: int
    device: str
    memory: float
    where: str


@contextmanager
def _site(at: RunContext, address: str | None, *, inline: bool) -> Iterator[_Site]:
    if inline:
        from rdstudy.execution.run import run_inline

        yield _Site(run_inline, 1, at.device.type, memory_here(at.study, 1, at.device.type), "in this process")
        return
    from rdstudy.execution.ray_tune.cluster import cluster
    from rdstudy.execution.ray_tune.executor import run_on_ray
    from rdstudy.execution.ray_tune.resources import a_pack_a_core, device_kind, memory_per_pack, workers

    with cluster(address, object_store_bytes=at.dataset.images.nbytes, preload=a_pack_a_core(at.study)):
        n = workers(at.study)
        yield _Site(run_on_ray, n, device_kind(at.study), memory_per_pack(at.study), f"on {n} workers")


def _searched(
    study: Study, folder: StoragePath, packed: Callable[[list[Cell]], list[Pack]], display: RunDisplay
) -> tuple[More, Mapping[str, Cell]]:
    """What gives a search's next packs when all before have ended, and its cells, which grow."""
    from rdstudy.execution.search import begin, load_outcomes

    search = begin(study, folder)

    def more() -> list[Pack]:
        found = load_outcomes(folder)
        wanted = [cell for cell in search.advance(found) if search.seen(cell.id, found) is None]
        packs = [pack.limited(search.limits) for pack in packed(wanted)]
        display.add(packs)
        return packs

    search.advance(load_outcomes(folder))
    return more, search.cells


def _execute(
    recorder: TableWriter,
    packs: list[Pack],
    executor: Executor,
    at: RunContext,
    display: Any,
    budget: Budget,
    more: More | None = None,
) -> str | None:
    """Work on packs until all have ended, or a limit was reached: then which, in words."""
    from rdstudy.storage import StorageError

    recorder.listener = display
    try:
        with display:
            return executor(packs, at, recorder, budget, more)
    except StorageError as error:
        console_for(stderr=True).print(Text(f"rdstudy: stopped: {error}", style="red"), soft_wrap=True)
        raise typer.Exit(FAILED) from error


def _ended(study: Study, folder: StoragePath, now: StudyStatus, over: str | None) -> dict[str, Any]:
    """What a run says at its end, as a document."""
    ending = {"diverged": _diverged(folder, now), "stopped": over, "search": search_document(now)}
    return status_document(study, folder, now) | ending


def _diverged(folder: StoragePath, now: StudyStatus) -> dict[str, str]:
    """Cells that diverged, with what they said."""
    from rdstudy.storage import load_measurements

    if not now.finished:
        return {}
    rows = load_measurements(folder, columns=["cell_id", "is_final", "status", "message"])
    rows = rows[rows["is_final"] & (rows["status"] == "diverged")].drop_duplicates("cell_id")
    found = zip(rows["cell_id"].astype(str), rows["message"].astype(str), strict=True)
    return {cell_id: message for cell_id, message in found if cell_id in now.cells}


def _print_ending(console: Console, study: Study, folder: StoragePath, now: StudyStatus) -> None:
    print_status(console, study, folder, now)
    print_search(console, now)
    print_failures(console, now)
    for cell_id, message in _diverged(folder, now).items():
        console.print(f"diverged: {cell_id} ({now.cells[cell_id]}): {message}", soft_wrap=True)
    if now.finished:
        print_next(console, folder)
