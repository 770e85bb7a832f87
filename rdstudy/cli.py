"""The command line: parses, calls, prints.

Exit codes: 0 all cells are finished; 1 some failed, or the run had to stop; 2 a mistake to mend (nothing was
started); 130 interrupted (the same command goes on).
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import rdstudy
from rdstudy.errors import UserError

if TYPE_CHECKING:
    from rdstudy.budget import Budget
    from rdstudy.display import RunDisplay
    from rdstudy.driver import Executor, More, Recorder
    from rdstudy.pack_run import Workplace
    from rdstudy.packs import Pack
    from rdstudy.standing import Standing
    from rdstudy.store.location import Location
    from rdstudy.study import Cell, Study

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="Rate-distortion studies of variational autoencoders: plan, run, look.",
    epilog="Exit codes: 0 all cells finished; 1 some failed; 2 a mistake to mend; 130 interrupted, run again to go on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
studies_app = typer.Typer(help="The studies that come with rdstudy.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(studies_app, name="studies")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).", show_default=False)]


def _place(text: str) -> Location:
    from rdstudy.store.location import location

    return location(text)


ResultsPlace = Annotated[
    Any,
    typer.Argument(metavar="RESULTS", help="A results folder, or s3://BUCKET/NAME.", show_default=False, parser=_place),
]
ResultsOption = Annotated[
    Any,
    typer.Option(
        "--results",
        metavar="DIR",
        help="Where results go, instead of NAME in the folder results, or in what RDSTUDY_RESULTS says; a folder, "
        "s3://BUCKET/NAME or gs://BUCKET/NAME.",
        parser=_place,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a setting, e.g. --set 'grid.beta=[1,0.1]'. Repeatable."),
]


Address = Annotated[
    str | None,
    typer.Option(help="A Ray cluster: auto or HOST:PORT. Else RAY_ADDRESS, else Ray on this machine."),
]
MaxHours = Annotated[float | None, typer.Option(help="Stop after so many hours; the same command goes on.")]
MaxCost = Annotated[float | None, typer.Option(help="Stop when the machines have cost so much; needs --price.")]
Price = Annotated[float | None, typer.Option(help="What one machine costs an hour, in the currency of --max-cost.")]
Inline = Annotated[bool, typer.Option("--inline", help="Work in this process, one pack after the other, without Ray.")]
Examples = Annotated[
    str | None, typer.Option(metavar="M|all", help="Population of q(z): all examples, or M, with ceiling log M.")
]
ImportanceExamples = Annotated[
    str | None, typer.Option(metavar="M|all", help="Examples per population that are importance-sampled.")
]


def _usual_place(study: Study) -> Location:
    """Where a study's results go if nothing else is said: below RDSTUDY_RESULTS, or the folder `results`."""
    return _place(os.environ.get("RDSTUDY_RESULTS") or "results") / study.name


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False)


def _version(wanted: bool | None) -> None:
    if wanted:
        print(f"rdstudy {rdstudy.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = None,
) -> None:
    pass


@app.command()
def plan(study_file: StudyFile, results: ResultsOption = None, settings: Settings = None) -> None:
    """Show what a run would do: cells done and missing, packs, estimated time and storage. Changes nothing."""
    from rdstudy import estimates
    from rdstudy.display import by_packing, duration, size
    from rdstudy.preparation import check_sizes, outline
    from rdstudy.standing import standing
    from rdstudy.study import load_study

    study = load_study(study_file, overrides=settings or ())
    folder = results or _usual_place(study)
    dataset = outline(study)
    n_test = check_sizes(study, dataset)
    pixels = dataset.images.shape[1]
    now = standing(study, folder)
    workers = max(1, (os.cpu_count() or 1) // study.resources.cpus_per_pack)
    packs = _packs(study, folder, now.missing, pixels, workers, _planned_device(study), _memory(study, workers))
    console = _console()
    _print_standing(console, study, folder, now)
    if not packs:
        console.print("nothing to train")
        return
    costs = estimates.Costs(study, pixels, n_test)
    measured = estimates.measured_rate(folder, costs, now.cells)
    at_best = estimates.product_rate() / workers
    rate = measured or estimates.EFFICIENCY * at_best
    seconds = [costs.pack(pack) / rate for pack in packs]
    by_pack = dict(zip((pack.id for pack in packs), seconds, strict=True))
    console.print(by_packing(packs, lambda pack: (f"{pack.steps:,}", duration(by_pack[pack.id]))))
    source = "from the packs finished so far" if measured else "rough, from this CPU's speed"
    total = estimates.makespan(seconds, workers)
    model_steps = sum(len(pack) * pack.steps for pack in packs)
    share = costs.evaluation_share(packs)
    console.print(
        f"time: about {duration(total)} with {workers} packs side by side here ({source})\n"
        f"measuring takes about {share:.0%} of it\n"
        f"speed: about {model_steps / total:,.0f} model-steps/s, {rate / at_best:.0%} of the matrix-product rate",
        soft_wrap=True,
    )
    console.print(f"storage: about {size(costs.storage(now.missing))}")


@app.command()
def run(
    study_file: StudyFile,
    results: ResultsOption = None,
    settings: Settings = None,
    address: Address = None,
    inline: Inline = False,
    max_hours: MaxHours = None,
    max_cost: MaxCost = None,
    price: Price = None,
) -> None:
    """Train and measure every cell that is not finished. Interrupted? The same command goes on."""
    from rdstudy.budget import Budget
    from rdstudy.display import RunDisplay
    from rdstudy.driver import Recorder, opened
    from rdstudy.pack_run import Workplace, pick_device
    from rdstudy.preparation import check_sizes, load_data
    from rdstudy.provenance import git_commit
    from rdstudy.standing import standing
    from rdstudy.study import load_study

    study = load_study(study_file, overrides=settings or ())
    own = study.search.until.hours if study.search else None
    if own is not None and (max_hours is None or own < max_hours):
        budget = Budget(own, max_cost, price, limit="search.until.hours")
    else:
        budget = Budget(max_hours, max_cost, price)
    folder = results or _usual_place(study)
    console = _console()
    now = standing(study, folder)
    if not now.missing:
        console.print(f"{study.name}: all {len(now.cells)} cells are finished; nothing to train")
        _print_search(console, now)
        _next_commands(console, folder)
        return
    dataset = load_data(study)
    check_sizes(study, dataset)
    # On Ray, each worker picks the device of its own machine; this one may have none.
    device = pick_device(study.resources.device if inline else "cpu")
    at = Workplace(study, dataset, folder, device, git_commit())
    with opened(study, folder, dataset.fingerprint) as table:
        now = standing(study, folder)
        _print_standing(console, study, folder, now)
        with _site(at, address, inline=inline) as site:
            pixels = dataset.images.shape[1]

            def packed(missing: list[Cell]) -> list[Pack]:
                return _packs(study, folder, missing, pixels, site.workers, site.device, site.memory)

            packs = packed(now.missing)
            display = RunDisplay(packs, console, where=site.where)
            more, cells = _searched(study, folder, packed, display) if study.search else (None, study.cells)
            recorder = Recorder(study, folder, table, cells=cells)
            _execute(recorder, packs, site.execute, at, display, budget, more)
        now = standing(study, folder)
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
def _site(at: Workplace, address: str | None, *, inline: bool) -> Iterator[_Site]:
    if inline:
        from rdstudy.driver import run_inline

        yield _Site(run_inline, 1, at.device.type, _memory(at.study, 1), "in this process")
        return
    from rdstudy.tuning.runner import cluster, device_kind, memory_per_pack, run_on_ray, workers

    with cluster(address, object_store_bytes=at.dataset.images.nbytes):
        n = workers(at.study)
        yield _Site(run_on_ray, n, device_kind(at.study), memory_per_pack(at.study), f"on {n} workers")


def _searched(
    study: Study, folder: Location, packed: Callable[[list[Cell]], list[Pack]], display: RunDisplay
) -> tuple[More, Mapping[str, Cell]]:
    """What gives a search's next packs when all before have ended, and its cells, which grow."""
    from rdstudy.search import begin, load_outcomes

    search = begin(study, folder)

    def more() -> list[Pack]:
        found = load_outcomes(folder)
        packs = packed([cell for cell in search.advance(found) if cell.id not in found])
        display.add(packs)
        return packs

    search.advance(load_outcomes(folder))
    return more, search.cells


def _execute(
    recorder: Recorder,
    packs: list[Pack],
    executor: Executor,
    at: Workplace,
    display: Any,
    budget: Budget,
    more: More | None = None,
) -> None:
    from rdstudy.store import StorageError

    recorder.listener = display
    try:
        with display:
            over = executor(packs, at, recorder, budget, more)
    except StorageError as error:
        _console(stderr=True).print(Text(f"rdstudy: stopped: {error}", style="red"), soft_wrap=True)
        raise typer.Exit(FAILED) from error
    if over:
        _console().print(f"stopped: {over}; the same command goes on")


@app.command()
def measure(
    results: ResultsPlace,
    draws: Annotated[int | None, typer.Option(help="Draws of z per example for the mutual information.")] = None,
    examples: Examples = None,
    importance_samples: Annotated[int | None, typer.Option(help="Draws of z per example for the NLL.")] = None,
    importance_examples: ImportanceExamples = None,
    settings: Settings = None,
    address: Address = None,
    inline: Inline = False,
) -> None:
    """Measure finished cells again from their stored weights; rows are added, none replaced.

    With --draws or --examples the mutual information, with --importance-samples or --importance-examples the NLL; with
    none of them both, as the study says. Interrupted? The same command goes on.
    """
    from pydantic import ValidationError

    from rdstudy.budget import Budget
    from rdstudy.display import MeasureDisplay
    from rdstudy.driver import Recorder, opened
    from rdstudy.pack_run import Workplace, pick_device
    from rdstudy.preparation import check_sizes, load_data
    from rdstudy.provenance import git_commit
    from rdstudy.remeasurement import evaluation_again, measuring_packs, remaining
    from rdstudy.standing import recorded_study

    study = recorded_study(results, overrides=settings or ())
    try:
        evaluation = evaluation_again(
            study,
            draws=draws,
            examples=_examples("--examples", examples),
            importance_samples=importance_samples,
            importance_examples=_examples("--importance-examples", importance_examples),
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][1]).replace("_", "-")
        raise UserError(f"{option}: {first['msg'][:1].lower()}{first['msg'][1:]}; found {first['input']!r}") from error
    study = study.model_copy(update={"evaluation": evaluation})
    console = _console()
    left = remaining(study, results)
    console.print(
        f"{study.name}: evaluation {evaluation.evaluation_id}: {left.measured} cells measured, "
        f"{len(left.to_measure)} to measure ({results})",
        soft_wrap=True,
    )
    if left.to_measure:
        dataset = load_data(study)
        check_sizes(study, dataset)
        device = pick_device(study.resources.device if inline else "cpu")
        at = Workplace(study, dataset, results, device, git_commit(), again=True)
        with opened(study, results, dataset.fingerprint, record=False) as table:
            packs = measuring_packs(remaining(study, results).to_measure)
            n_cells = sum(map(len, packs))
            recorder = Recorder(study, results, table)
            with _site(at, address, inline=inline) as site:
                display = MeasureDisplay(n_cells, console, where=site.where)
                _execute(recorder, packs, site.execute, at, display, Budget())
        left = remaining(study, results)
        console.print(f"{study.name}: {left.measured} cells measured, {len(left.to_measure)} to measure ({results})")
    for cell in left.without_weights:
        console.print(f"not measured: {cell.id} ({cell}): its weights were not kept", soft_wrap=True)
    if left.to_measure or left.without_weights:
        raise typer.Exit(FAILED)
    console.print(f"next: rdstudy report {results}", soft_wrap=True)


def _examples(option: str, text: str | None) -> Any:
    """`all`, or a number of examples."""
    if text is None or text == "all":
        return text
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"{option}: expected a number of examples, 1 or more, or all; found {text!r}")
    return int(text)


def _packs(
    study: Study, folder: Location, missing: list[Cell], pixels: int, workers: int, device: str, memory: float
) -> list[Pack]:
    from rdstudy.packs import plan_packs
    from rdstudy.store.checkpoints import Checkpoints

    try:
        return plan_packs(
            missing,
            pixels=pixels,
            pack_size=study.resources.pack_size,
            device=device,
            workers=workers,
            memory_bytes=memory,
            kept=Checkpoints(folder).begun(),
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def _memory(study: Study, workers: int) -> float:
    """Memory that a pack may use: what the study says, or half of this machine's, shared by the workers."""
    asked = study.resources.memory_per_pack_gib
    if asked != "auto":
        return asked * 2**30
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 / workers


def _planned_device(study: Study) -> str:
    return study.resources.device if study.resources.device != "auto" else "cpu"


@app.command()
def submit(
    cluster_file: Annotated[Path, typer.Argument(metavar="CLUSTER.yaml", help="The file the cluster was made from.")],
    study_file: StudyFile,
    settings: Settings = None,
    max_hours: MaxHours = None,
    max_cost: MaxCost = None,
    price: Price = None,
) -> None:
    """Hand a study over to a cluster, where it runs as a job of Ray's; this machine may then be switched off."""
    from rdstudy.budget import Budget
    from rdstudy.study import load_study
    from rdstudy.tuning import submission

    study = load_study(study_file, overrides=settings or ())
    Budget(max_hours, max_cost, price)  # refused here, not there
    limits = {"--max-hours": max_hours, "--max-cost": max_cost, "--price": price}
    options = [word for setting in settings or () for word in ("--set", setting)]
    options += [word for name, value in limits.items() if value is not None for word in (name, str(value))]
    said = submission.submit(cluster_file, study_file, study, options)
    console = _console()
    console.print(Text(said.strip()), soft_wrap=True)
    console.print(
        f"{study.name}: handed over to {cluster_file}; `rdstudy status` with the results location that its "
        "RDSTUDY_RESULTS names says how far it is",
        soft_wrap=True,
    )


@app.command()
def doctor(
    cluster_file: Annotated[
        Path | None, typer.Argument(metavar="[CLUSTER.yaml]", help="A cluster file for `ray up`.", show_default=False)
    ] = None,
    results: ResultsOption = None,
    device: Annotated[str, typer.Option(help="What packs are to train on here: auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Say what would keep a study from running, here or on a cluster: each fault and its mend. Starts nothing."""
    from rdstudy.tuning.doctor import diagnose

    if device not in ("auto", "cpu", "cuda", "mps"):
        raise UserError(f"--device: expected auto, cpu, cuda or mps; found {device!r}")
    place = results or _place(os.environ.get("RDSTUDY_RESULTS") or "results")
    found = diagnose(cluster_file, place, device)
    what = str(cluster_file or "this machine")
    if found:
        raise UserError("\n  ".join([f"{what}: {len(found)} to mend:", *found]))
    _console().print(f"{what}: nothing to mend; results can be written to {place}", soft_wrap=True)


@app.command()
def status(results: ResultsPlace) -> None:
    """Show how far a study is, from its results folder alone; works while it runs, and from another machine."""
    from rdstudy.standing import recorded_study, standing
    from rdstudy.store.checkpoints import Checkpoints

    study = recorded_study(results)
    now = standing(study, results)
    console = _console()
    _print_standing(console, study, results, now)
    begun = [(members, step) for members, step in Checkpoints(results).progress() if set(members) - now.finished]
    if begun:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name, justify in (("unfinished pack of", "left"), ("models", "right"), ("step", "right"), ("of", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for members, step in begun:
            cell = now.cells.get(members[0])
            if cell is not None:
                table.add_row(str(cell), str(len(members)), f"{step:,}", f"{cell.steps:,}")
        console.print(table)
    _print_search(console, now)
    _print_failures(console, now)
    if now.failed:
        raise typer.Exit(FAILED)


@app.command()
def report(
    results: ResultsPlace,
    formats: Annotated[str, typer.Option("--format", help="html, md, or html,md.")] = "html",
    compare: Annotated[
        Path | None, typer.Option(help="A CSV of published curves, to be drawn behind ours.", show_default=False)
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Say what a study shows: a page, its figures and the analyses behind them. Works while the study runs."""
    import dataclasses
    import webbrowser

    import pandas as pd

    from rdstudy.display import curves_table
    from rdstudy.report import write_report
    from rdstudy.standing import load_study_record, recorded_study, standing
    from rdstudy.store import load_measurements

    record = load_study_record(results)
    now = standing(recorded_study(results), results)
    cells, search = now.cells, None
    if now.search is not None:
        from rdstudy.search import load_outcomes, summarise

        search = summarise(now.search, load_outcomes(results))
    planned = pd.DataFrame([{"cell_id": cell_id, **dataclasses.asdict(cell)} for cell_id, cell in cells.items()])
    chosen = [name.strip() for name in formats.split(",")]
    paths = write_report(
        results, load_measurements(results), record, formats=chosen, compare=compare, planned=planned, search=search
    )
    folder = paths[0].parent
    console = _console()
    curves = pd.read_parquet(folder / "analyses" / "frontier.parquet")
    console.print("on the test set, nats per example, mean over seeds:")
    console.print(curves_table(curves[curves["population"] == "test"]))
    console.print(f"{paths[0]}: the page", soft_wrap=True)
    n_figures = sum(path.suffix == ".png" for path in paths)
    console.print(f"{folder / 'figures'}: {n_figures} figures, as PNG, SVG and PDF", soft_wrap=True)
    console.print(f"next: rdstudy report {results} --open", soft_wrap=True)
    console.print(f"      rdstudy measure {results} --importance-samples 1000", soft_wrap=True)
    if open_page:
        webbrowser.open(paths[0].resolve().as_uri())


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from rdstudy.study import study_schema

    print(json.dumps(study_schema(), indent=2))


@app.command()
def columns() -> None:
    """Print what the table's columns mean, as Markdown."""
    from rdstudy.measurement import columns_markdown

    print(columns_markdown(), end="")


@app.command()
def data(study_file: StudyFile, settings: Settings = None) -> None:
    """Make or find a study's data set, and say what is in it."""
    from rdstudy.data.splits import split_dataset
    from rdstudy.preparation import check_sizes, load_data
    from rdstudy.study import load_study

    study = load_study(study_file, overrides=settings or ())
    dataset = load_data(study)
    check_sizes(study, dataset)
    console = _console()
    height, width, channels = dataset.shape
    console.print(f"{dataset.name}: {dataset.n_examples:,} images of {height}x{width}x{channels}")
    for name in study.grid.split:
        split = split_dataset(dataset, name, seed=study.dataset.seed, test_size=study.dataset.test_size)
        console.print(f"split {name}: up to {len(split.train):,} for training, {len(split.test):,} for test")
    console.print(f"fingerprint {dataset.fingerprint}", soft_wrap=True)


@studies_app.command("list")
def studies_list() -> None:
    """List the packaged studies."""
    from rdstudy.library import packaged_studies, summary

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, path in packaged_studies().items():
        table.add_row(name, summary(path))
    _console().print(table)


@studies_app.command("copy")
def studies_copy(
    name: Annotated[str, typer.Argument(help="One of those that `rdstudy studies list` names.", show_default=False)],
    to: Annotated[Path, typer.Option(help="Folder to copy it into.")] = Path("studies"),
) -> None:
    """Copy a packaged study out, to change it."""
    from rdstudy.library import copy_study

    print(copy_study(name, to))


def _print_standing(console: Console, study: Study, folder: Location, now: Standing) -> None:
    failed = f", {len(now.failed)} failed last time" if now.failed else ""
    console.print(
        f"{study.name}: {now.total}, {len(now.finished)} finished, {len(now.missing)} missing{failed} ({folder})",
        soft_wrap=True,
    )


def _print_search(console: Console, now: Standing) -> None:
    if now.search is not None:
        from rdstudy.display import search_table

        console.print(search_table(now.search))
        if now.search.ended:
            console.print(f"the search has ended: {now.search.ended}", soft_wrap=True)


def _print_failures(console: Console, now: Standing) -> None:
    for cell_id, message in now.failed.items():
        console.print(f"failed: {cell_id} ({now.cells[cell_id]}): {message}", soft_wrap=True)


def _print_ending(console: Console, study: Study, folder: Location, now: Standing) -> None:
    from rdstudy.store import load_measurements

    _print_standing(console, study, folder, now)
    _print_search(console, now)
    _print_failures(console, now)
    if not now.finished:
        return
    rows = load_measurements(folder, columns=["cell_id", "is_final", "status", "message"])
    rows = rows[rows["is_final"] & (rows["status"] == "diverged")].drop_duplicates("cell_id")
    for cell_id, message in zip(rows["cell_id"].astype(str), rows["message"].astype(str), strict=True):
        if cell_id in now.cells:
            console.print(f"diverged: {cell_id} ({now.cells[cell_id]}): {message}", soft_wrap=True)
    _next_commands(console, folder)


def _next_commands(console: Console, folder: Location) -> None:
    console.print(f"next: rdstudy report {folder}", soft_wrap=True)
    console.print(f"      python -c \"import rdstudy; print(rdstudy.load_measurements('{folder}'))\"", soft_wrap=True)


def main(arguments: list[str] | None = None) -> None:
    """The `rdstudy` command."""
    arguments = sys.argv[1:] if arguments is None else arguments
    interrupted = False

    def interrupt(signum: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends at once
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    stderr = _console(stderr=True)
    try:
        app(args=arguments, prog_name="rdstudy")
    except BaseException as error:
        # An interrupt comes out as whatever the library it struck made of it.
        if interrupted:
            again = shlex.join(["rdstudy", *arguments])
            stderr.print(f"rdstudy: interrupted; what is finished is in the table. To go on: {again}", soft_wrap=True)
            sys.exit(INTERRUPTED)
        if not isinstance(error, UserError):
            raise
        stderr.print(Text(f"rdstudy: {error}", style="red"), soft_wrap=True)
        sys.exit(MISTAKE)
