"""`plan`: what a run would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from rich.console import Console

from rdstudy.cli.json_output import STATUS_FIELDS, as_json, print_document, status_document
from rdstudy.cli.messages import print_notes, print_status
from rdstudy.cli.options import AllowPlugins, ResultsOption, Settings, StudyFile
from rdstudy.cli.terminal import console_for

if TYPE_CHECKING:
    from rdstudy.execution.plan import Estimate, StudyPlan
    from rdstudy.execution.power import Power
    from rdstudy.training.packs import Pack

MIN_CPU_SHARE = 0.8
"""Below this share of the CPU time, the plan says that other programs slow this machine down."""
POWER = "power (seeds, comparisons, compared, margin_nats, table)"
ESTIMATES = "seconds, workers, evaluation_share, model_steps_per_second, mfu, storage_bytes, cpu_share"


def plan(
    study_file: StudyFile,
    results: ResultsOption = None,
    settings: Settings = None,
    allow_plugins: AllowPlugins = False,
    json_wanted: Annotated[
        bool,
        as_json(
            f"{STATUS_FIELDS}, packs (of, packs, models, steps, seconds), {ESTIMATES}, from_finished_packs, {POWER}"
        ),
    ] = False,
) -> None:
    """Show what a run would do: cells, packs, estimated time and storage, and what it could decide. Changes nothing."""
    from rdstudy.execution.plan import plan_study
    from rdstudy.storage.paths import default_results
    from rdstudy.study import load_study, located

    study = load_study(study_file, overrides=settings or ())
    with located(study_file, settings or ()):
        planned = plan_study(study, results or default_results(study.name))
    if json_wanted:
        print_document(_document(planned))
        return
    console = console_for()
    print_notes(console, planned.notes)
    print_status(console, study, planned.results, planned.status)
    if planned.estimate is None:
        console.print("nothing to train")
    else:
        _print_estimate(console, planned.packs, planned.estimate)
    if planned.power is not None:
        _print_power(console, planned.power)


def _document(planned: StudyPlan) -> dict[str, object]:
    from rdstudy.cli.live import kinds_of

    names, estimate = [*ESTIMATES.split(", "), "from_finished_packs"], planned.estimate
    kinds: list[dict[str, object]] = []
    if estimate is not None:
        seconds = _seconds(planned.packs, estimate)
        kinds = [
            {"of": name, "packs": len(same), "models": n, "steps": same[0].steps, "seconds": seconds[same[0].id]}
            for (name, n), same in kinds_of(planned.packs).items()
        ]
    return {
        **status_document(planned.study, planned.results, planned.status),
        "packs": kinds,
        **{name: None if estimate is None else getattr(estimate, name) for name in names},
        "power": None if planned.power is None else _power_document(planned.power),
    }


def _power_document(power: Power) -> dict[str, object]:
    return {name: getattr(power, name) for name in ("seeds", "comparisons", "compared", "margin_nats", "table")}


def _print_estimate(console: Console, packs: Sequence[Pack], estimate: Estimate) -> None:
    from rdstudy.cli.live import by_packing, duration, size, two_digits

    seconds = _seconds(packs, estimate)
    console.print(by_packing(packs, lambda pack: (f"{pack.steps:,}", duration(seconds[pack.id]))))
    device = "GPU" if estimate.device == "cuda" else "CPU"
    source = "from finished packs" if estimate.from_finished_packs else f"rough, from this {device}'s speed now"
    console.print(
        f"time: about {duration(estimate.seconds)} with {estimate.workers} packs side by side on this machine "
        f"({source})\n"
        f"evaluation takes about {estimate.evaluation_share:.0%} of it\n"
        f"speed: about {two_digits(estimate.model_steps_per_second)} model-steps/s, "
        f"{estimate.mfu:.0%} of the matrix-product rate",
        soft_wrap=True,
    )
    console.print(f"storage: about {size(estimate.storage_bytes)}")
    if estimate.cpu_share < MIN_CPU_SHARE:
        without = (
            ""
            if estimate.from_finished_packs
            else (f"; without them about {duration(estimate.seconds * estimate.cpu_share)}")
        )
        console.print(
            f"other programs take {1 - estimate.cpu_share:.0%} of this machine's CPU time now{without}",
            soft_wrap=True,
        )


def _print_power(console: Console, power: Power) -> None:
    """The chance of a verdict by the true difference, for each assumed standard deviation."""
    from rdstudy.cli.terminal import Rows

    seeds = f"{power.seeds} seed{'' if power.seeds == 1 else 's'}"
    if power.seeds < power.min_seeds:
        console.print(
            f"verdicts: all stay open with {seeds}; at least {power.min_seeds} are needed (grid.seed)", soft_wrap=True
        )
        return
    effects = [float(effect) for effect in power.table["effect_nats"].unique()]
    rows = Rows(
        "sd (nats)", *(f"finds {effect:g} nat{'' if effect == 1 else 's'}" for effect in effects), "95% half-width"
    )
    for sd, of_sd in power.table.groupby("sd_nats", sort=True):
        width = float(of_sd["half_width_nats"].iloc[0])
        rows.add(f"{sd:g}", *(f"{share:.0%}" for share in of_sd["power_all"]), f"{width:.1f}")
    where = "settings" if power.compared == "betas" else "settings and betas"
    what = "one smaller beta against the reference" if power.compared == "betas" else "deep against shallow"
    console.print(
        f"power with {seeds}: the chance that a true difference in test distortion, {what}, gets a verdict when all "
        f"{power.comparisons} {where} have it, by its size and its standard deviation (sd) over seeds",
        soft_wrap=True,
    )
    console.print(rows)
    console.print(
        "The sd is assumed. Networks 64 units wide had 1 (one hidden layer) and 3 (three) on 8,000 digits after 2,000 "
        "steps, 3 and 15 on 500 Tetrominoes after 1,000.",
        soft_wrap=True,
    )


def _seconds(packs: Sequence[Pack], estimate: Estimate) -> dict[str, float]:
    return dict(zip((pack.id for pack in packs), estimate.pack_seconds, strict=True))
