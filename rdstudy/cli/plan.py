"""`plan`, and which packs a study's missing cells make."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Annotated, Any

from rdstudy.cli.json_output import STATUS_FIELDS, as_json, print_document, status_document
from rdstudy.cli.messages import print_status
from rdstudy.cli.options import AllowPlugins, ResultsOption, Settings, StudyFile, usual_place
from rdstudy.cli.terminal import console_for
from rdstudy.errors import UserError

if TYPE_CHECKING:
    from rdstudy.storage.location import StoragePath
    from rdstudy.study import Cell, Study
    from rdstudy.training.packs import Pack


QUIET = 0.8
"""Share of a machine's CPU time that a plan should get; with less, others are at work, which it says."""
ESTIMATES = "seconds, workers, evaluation_share, model_steps_per_second, product_share, storage_bytes, cpu_share"


def plan(
    study_file: StudyFile,
    results: ResultsOption = None,
    settings: Settings = None,
    allow_plugins: AllowPlugins = False,
    json_wanted: Annotated[
        bool, as_json(f"{STATUS_FIELDS}, packs (of, packs, models, steps, seconds), {ESTIMATES}, from_finished_packs")
    ] = False,
) -> None:
    """Show what a run would do: cells done and missing, packs, estimated time and storage. Changes nothing."""
    from rdstudy.cli.live import by_packing, duration, kinds_of, size, two_digits
    from rdstudy.execution import plan
    from rdstudy.execution.status import study_status
    from rdstudy.study import load_study, located
    from rdstudy.study.data import check_sizes, outline

    study = load_study(study_file, overrides=settings or ())
    folder = results or usual_place(study)
    with located(study_file, settings or ()):
        dataset = outline(study)
        n_test = check_sizes(study, dataset)
    pixels = dataset.images.shape[1]
    now = study_status(study, folder)
    gpus = plan.gpus_here() if study.resources.device in ("auto", "cuda") else 0
    device = "cuda" if gpus else study.resources.device if study.resources.device != "auto" else "cpu"
    workers = _side_by_side(study, gpus)
    packs = packs_of(study, folder, now.missing, pixels, workers, device, memory_here(study, workers, device))
    if not packs:
        if json_wanted:
            unknown = dict.fromkeys([*ESTIMATES.split(", "), "from_finished_packs"])
            print_document(status_document(study, folder, now) | {"packs": []} | unknown)
            return
        console = console_for()
        print_status(console, study, folder, now)
        console.print("nothing to train")
        return
    kind = "cuda" if gpus else "cpu"  # of this machine, which says how fast
    costs = plan.Costs(study, pixels, n_test, kind)
    measured = plan.measured_rate(folder, costs, now.cells)
    now_here = plan.gpu_rate() if gpus else plan.matmul_flops()
    at_best = now_here.flops * min(1.0, gpus / workers) if gpus else now_here.flops / now_here.share / workers
    rate = measured or plan.EFFICIENCY[kind] * at_best * now_here.share
    latency = 0.0 if measured else plan.STEP_SECONDS[kind]
    work = [costs.pack(pack) for pack in packs]
    seconds = [each / rate + pack.steps * latency for each, pack in zip(work, packs, strict=True)]
    by_pack = dict(zip((pack.id for pack in packs), seconds, strict=True))
    reached = sum(work) / sum(seconds) / at_best
    source = (
        "from the packs finished so far" if measured else f"rough, from this {'GPU' if gpus else 'CPU'}'s speed now"
    )
    total = plan.makespan(seconds, workers)
    model_steps = sum(len(pack) * pack.steps for pack in packs)
    share = costs.evaluation_share(packs)
    storage = costs.storage(now.missing)
    if json_wanted:
        kinds: list[dict[str, Any]] = [
            {"of": name, "packs": len(same), "models": n, "steps": same[0].steps, "seconds": by_pack[same[0].id]}
            for (name, n), same in kinds_of(packs).items()
        ]
        found = (total, workers, share, model_steps / total, reached, storage, now_here.share)
        estimated = dict(zip(ESTIMATES.split(", "), found, strict=True))
        more = {"packs": kinds, **estimated, "from_finished_packs": bool(measured)}
        print_document(status_document(study, folder, now) | more)
        return
    console = console_for()
    print_status(console, study, folder, now)
    console.print(by_packing(packs, lambda pack: (f"{pack.steps:,}", duration(by_pack[pack.id]))))
    console.print(
        f"time: about {duration(total)} with {workers} packs side by side here ({source})\n"
        f"measuring takes about {share:.0%} of it\n"
        f"speed: about {two_digits(model_steps / total)} model-steps/s, "
        f"{reached:.0%} of the matrix-product rate",
        soft_wrap=True,
    )
    console.print(f"storage: about {size(storage)}")
    if now_here.share < QUIET:
        console.print(
            f"other programs take {1 - now_here.share:.0%} of this machine's CPU time now"
            + ("" if measured else f"; without them about {duration(total * now_here.share)}"),
            soft_wrap=True,
        )


def packs_of(
    study: Study, folder: StoragePath, missing: list[Cell], pixels: int, workers: int, device: str, memory: float
) -> list[Pack]:
    from rdstudy.storage.checkpoints import Checkpoints
    from rdstudy.training.packs import plan_packs

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


def memory_here(study: Study, workers: int, device: str) -> float:
    """Memory that a pack may use: what the study says, or half of this machine's, shared by the workers.

    On a GPU there is no limit, as in a run on Ray: a pack that does not fit is halved.
    """
    asked = study.resources.memory_per_pack_gib
    if asked != "auto":
        return asked * 2**30
    if device == "cuda":
        return math.inf
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 / workers


def _side_by_side(study: Study, gpus: int) -> int:
    """How many packs this machine trains at once."""
    by_cpu = (os.cpu_count() or 1) // study.resources.cpus_per_pack
    if not gpus:
        return max(1, by_cpu)
    asked = study.resources.gpus_per_pack
    each = 1.0 if asked == "auto" else asked
    return max(1, min(by_cpu, int(gpus / each) if each else by_cpu))
