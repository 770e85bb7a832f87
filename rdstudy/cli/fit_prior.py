"""`fit-prior`: fit priors to the codes of finished cells, whose encoders and decoders stay as they are."""

from __future__ import annotations

from typing import Annotated

import typer

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.messages import quoted
from rdstudy.cli.options import Address, AllowPlugins, ResultsPlace, Settings, UseRay, Where
from rdstudy.cli.remeasure import cells_where, evaluation_of, measured_again, summary_of
from rdstudy.cli.terminal import console_for

OPTIONS = {"--prior": ("ex_post_prior", "prior"), "--steps": ("ex_post_prior", "steps")}


def fit_prior(
    results: ResultsPlace,
    prior: Annotated[
        list[str], typer.Option(help="What to fit, spelt as in grid.prior, for example flow(4). Repeatable.")
    ],
    steps: Annotated[int | None, typer.Option(help="Steps of the search.")] = None,
    where: Where = None,
    settings: Settings = None,
    allow_plugins: AllowPlugins = False,
    address: Address = None,
    ray: UseRay = True,
    json_wanted: Annotated[
        bool,
        as_json(
            "priors (list with prior, study, results, evaluation_id, measured, to_measure, without_weights (cell_ids))"
        ),
    ] = False,
) -> None:
    """Fit priors to the training codes of finished cells. Rows are added; none is replaced.

    Distortion and mutual information stay those of the model; the rate, the -ELBO and the NLL are measured with the
    fitted prior, on every population, in the columns that begin with ex_post. After an interruption the same command
    resumes.
    """
    from rdstudy.storage.study_record import recorded_study

    study = recorded_study(results, overrides=settings or ())
    studies = []
    for name in dict.fromkeys(prior):
        given: dict[str, str | int] = {"--prior": name} | ({} if steps is None else {"--steps": steps})
        studies.append(study.model_copy(update={"evaluation": evaluation_of(study, given, OPTIONS)}))
    console = console_for(stderr=json_wanted)
    only = cells_where(study, results, where)
    found = [measured_again(each, results, console, ray=ray, address=address, only=only) for each in studies]
    if json_wanted:
        priors = [each.evaluation.measures["ex_post_prior"].identity["prior"] for each in studies]
        print_document(
            {"priors": [{"prior": name, **summary_of(one)} for name, one in zip(priors, found, strict=True)]}
        )
    if not all(one.complete for one in found):
        raise typer.Exit(FAILED)
    console.print(f"next: rdstudy report {quoted(results)}", soft_wrap=True)
