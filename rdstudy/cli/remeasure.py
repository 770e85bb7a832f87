"""`remeasure`: measure finished cells again from their stored weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Annotated

import typer

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.messages import print_stopped, quoted
from rdstudy.cli.options import Address, AllowPlugins, ResultsPlace, Settings, UseRay, Where
from rdstudy.cli.terminal import console_for
from rdstudy.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from rdstudy.execution.remeasure import RemeasureResult
    from rdstudy.storage.paths import StoragePath
    from rdstudy.study import Evaluation, Study
    from rdstudy.study.schedule import Examples

OPTIONS = {
    "--mi-draws": ("mutual_information", "draws"),
    "--mi-examples": ("mutual_information", "examples"),
    "--nll-draws": ("nll", "importance_samples"),
    "--nll-examples": ("nll", "examples"),
    "--nll-proposal": ("nll", "proposal"),
    "--refit-steps": ("refit", "steps"),
    "--refit-examples": ("refit", "examples"),
    "--bounds-examples": ("information_bounds", "examples"),
    "--bounds-components": ("information_bounds", "components"),
    "--ais-steps": ("ais", "steps"),
    "--ais-examples": ("ais", "examples"),
}
"""Options that are short for a measure's setting; every setting can be changed with --set."""


def remeasure(
    results: ResultsPlace,
    mi_draws: Annotated[int | None, typer.Option(help="Draws of z per example for the mutual information.")] = None,
    mi_examples: Annotated[
        str | None,
        typer.Option(metavar="M|all", help="Examples for the mutual information; M limits it to log M nats."),
    ] = None,
    nll_draws: Annotated[int | None, typer.Option(help="Draws of z per example for the NLL.")] = None,
    nll_examples: Annotated[
        str | None, typer.Option(metavar="M|all", help="Examples per population for the NLL.")
    ] = None,
    nll_proposal: Annotated[
        str | None,
        typer.Option(metavar="adaptive|encoder", help="Where the draws for the NLL come from; adaptive if not given."),
    ] = None,
    refit_steps: Annotated[int | None, typer.Option(help="Steps of each half of the search for the refit.")] = None,
    refit_examples: Annotated[
        str | None, typer.Option(metavar="M|all", help="Examples per population for the refit.")
    ] = None,
    bounds_examples: Annotated[
        str | None, typer.Option(metavar="M|all", help="Examples per population for the bounds of the information.")
    ] = None,
    bounds_components: Annotated[int | None, typer.Option(help="Gaussians in the mixture of the bounds.")] = None,
    ais_steps: Annotated[
        int | None, typer.Option(help="Temperatures from prior to posterior for annealed importance sampling.")
    ] = None,
    ais_examples: Annotated[
        str | None, typer.Option(metavar="M|all", help="Examples per population for annealed importance sampling.")
    ] = None,
    where: Where = None,
    settings: Settings = None,
    allow_plugins: AllowPlugins = False,
    address: Address = None,
    ray: UseRay = True,
    json_wanted: Annotated[
        bool, as_json("study, results, evaluation_id, measured, to_measure, without_weights (cell_ids)")
    ] = False,
) -> None:
    """Measure finished cells again from their stored weights. Rows are added; none is replaced.

    The --mi options measure the mutual information, the --nll options the NLL, the --refit options refit the posterior
    of each example, the --bounds options bound the mutual information and the marginal KL of the distribution, the
    --ais options anneal from the prior to the posterior of each example; without any, all that the study asks for is
    measured. After an interruption the same command resumes.
    """
    from rdstudy.storage.study_record import recorded_study

    study = recorded_study(results, overrides=settings or ())
    given = {
        "--mi-draws": mi_draws,
        "--mi-examples": _examples("--mi-examples", mi_examples),
        "--nll-draws": nll_draws,
        "--nll-examples": _examples("--nll-examples", nll_examples),
        "--nll-proposal": nll_proposal,
        "--refit-steps": refit_steps,
        "--refit-examples": _examples("--refit-examples", refit_examples),
        "--bounds-examples": _examples("--bounds-examples", bounds_examples),
        "--bounds-components": bounds_components,
        "--ais-steps": ais_steps,
        "--ais-examples": _examples("--ais-examples", ais_examples),
    }
    named = {option: value for option, value in given.items() if value is not None}
    if named.keys() & {"--nll-draws", "--nll-examples"}:
        named = {"--nll-proposal": "adaptive", **named}  # a folder of an earlier version records the encoder
    study = study.model_copy(update={"evaluation": evaluation_of(study, named, OPTIONS)})
    console = console_for(stderr=json_wanted)
    result = measured_again(study, results, console, ray=ray, address=address, only=cells_where(study, results, where))
    if json_wanted:
        print_document(summary_of(result))
    if not result.complete:
        raise typer.Exit(FAILED)
    console.print(f"next: rdstudy report {quoted(results)}", soft_wrap=True)


def cells_where(study: Study, results: StoragePath, where: Sequence[str] | None) -> Set[str] | None:
    """Ids of the cells for which every condition holds; None without conditions.

    Raises:
        UserError: a condition that cannot be understood, or a value that no cell has.
    """
    if not where:
        return None
    from rdstudy.execution.status import study_status
    from rdstudy.report.cells import list_cells, select

    return set(select(list_cells(study_status(study, results).cells, results), where)["cell_id"])


def measured_again(
    study: Study,
    results: StoragePath,
    console: Console,
    *,
    ray: bool,
    address: str | None,
    only: Set[str] | None,
) -> RemeasureResult:
    """Measure as the study's evaluation says, with progress and what is left on the terminal.

    Args:
        only: ids of the cells that may be measured; None: all.
        study, results, ray, address: as for `remeasure_study`.
        console: where progress is shown.

    Raises:
        typer.Exit: the results folder could not be written any more; what was committed stays.
    """
    from rdstudy.cli.listeners import RemeasureListener
    from rdstudy.execution.remeasure import remeasure_study
    from rdstudy.storage.files import StorageError

    display = RemeasureListener(study, results, console)
    try:
        result = remeasure_study(study, results, ray=ray, address=address, listener=display, only=only)
    except StorageError as error:
        if not display.started:
            raise
        print_stopped(error)
        raise typer.Exit(FAILED) from error
    left = result.remaining
    if display.started:
        console.print(f"{study.name}: {left.measured} cells measured, {len(left.to_measure)} to measure ({results})")
    for cell in left.without_weights:
        console.print(f"not measured: {cell.id} ({cell}): its weights were not stored", soft_wrap=True)
    return result


def evaluation_of(study: Study, given: Mapping[str, str | int], options: Mapping[str, tuple[str, str]]) -> Evaluation:
    """The study's evaluation with only the measures that options name; without any, all that it asks for.

    Args:
        study: gives the settings that no option names.
        given: the options' values.
        options: for each option, the measure and its setting.

    Raises:
        UserError: a value that the measure does not allow.
    """
    from pydantic import ValidationError

    from rdstudy.execution.remeasure import changed_evaluation

    changes: dict[str, dict[str, str | int]] = {}
    for option, value in given.items():
        measure, setting = options[option]
        changes.setdefault(measure, {})[setting] = value
    try:
        return changed_evaluation(study, changes)
    except ValidationError as error:
        first = error.errors()[0]
        option = {place: name for name, place in options.items()}[str(first["loc"][0]), str(first["loc"][1])]
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{option}: {reason[:1].lower()}{reason[1:]}; found {first['input']!r}") from error


def _examples(option: str, text: str | None) -> Examples | None:
    """`all`, or a number of examples."""
    if text is None:
        return None
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < 1:
        raise UserError(f"{option}: expected a number of examples, 1 or more, or all; found {text[:40]!r}")
    return int(text)


def summary_of(result: RemeasureResult) -> dict[str, object]:
    """What --json prints of it."""
    left = result.remaining
    return {
        "study": result.study.name,
        "results": result.results,
        "evaluation_id": result.study.evaluation.evaluation_id,
        "measured": left.measured,
        "to_measure": len(left.to_measure),
        "without_weights": [cell.id for cell in left.without_weights],
    }
