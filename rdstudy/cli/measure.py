"""`measure`: measure finished cells again from their stored weights."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.options import Address, Examples, ImportanceExamples, Inline, ResultsPlace, Settings
from rdstudy.cli.run import _execute, _site
from rdstudy.cli.terminal import console_for
from rdstudy.errors import UserError


def measure(
    results: ResultsPlace,
    draws: Annotated[int | None, typer.Option(help="Draws of z per example for the mutual information.")] = None,
    examples: Examples = None,
    importance_samples: Annotated[int | None, typer.Option(help="Draws of z per example for the NLL.")] = None,
    importance_examples: ImportanceExamples = None,
    settings: Settings = None,
    address: Address = None,
    inline: Inline = False,
    json_wanted: Annotated[
        bool, as_json("study, results, evaluation_id, measured, to_measure, without_weights (cell_ids)")
    ] = False,
) -> None:
    """Measure finished cells again from their stored weights; rows are added, none replaced.

    With --draws or --examples the mutual information, with --importance-samples or --importance-examples the NLL; with
    none of them both, as the study says. Interrupted? The same command goes on.
    """
    from pydantic import ValidationError

    from rdstudy.cli.live import MeasureDisplay
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.provenance import git_commit
    from rdstudy.execution.remeasure import evaluation_again, measuring_packs, remaining
    from rdstudy.execution.run import TableWriter, open_results
    from rdstudy.execution.worker import RunContext, pick_device
    from rdstudy.storage.study_record import recorded_study
    from rdstudy.study.data import check_sizes, load_data

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
    console = console_for(stderr=json_wanted)
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
        at = RunContext(study, dataset, results, device, git_commit(), again=True)
        with open_results(study, results, dataset.fingerprint, record=False) as table:
            packs = measuring_packs(remaining(study, results).to_measure)
            n_cells = sum(map(len, packs))
            recorder = TableWriter(study, results, table)
            with _site(at, address, inline=inline) as site:
                display = MeasureDisplay(n_cells, console, where=site.where)
                _execute(recorder, packs, site.execute, at, display, Budget())
        left = remaining(study, results)
        console.print(f"{study.name}: {left.measured} cells measured, {len(left.to_measure)} to measure ({results})")
    for cell in left.without_weights:
        console.print(f"not measured: {cell.id} ({cell}): its weights were not kept", soft_wrap=True)
    if json_wanted:
        print_document(
            {
                "study": study.name,
                "results": results,
                "evaluation_id": evaluation.evaluation_id,
                "measured": left.measured,
                "to_measure": len(left.to_measure),
                "without_weights": [cell.id for cell in left.without_weights],
            }
        )
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
