"""What a run would do: packs, estimated time and storage. Trains nothing and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rdstudy.data.loading import GENERATED
from rdstudy.execution import machine
from rdstudy.execution.costs import EFFICIENCY, STEP_SECONDS, Costs, makespan
from rdstudy.execution.executors import memory_here
from rdstudy.execution.packing import Workers, packs_of
from rdstudy.execution.power import Power, study_power
from rdstudy.execution.results_folder import check_data
from rdstudy.execution.status import StudyStatus, study_status
from rdstudy.storage.cell_states import read_cell_states
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.table import load_measurements
from rdstudy.study import Cell, Study
from rdstudy.study.data import check_sizes, outline
from rdstudy.training.packs import Pack


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of what is missing, on this machine.

    Attributes:
        pack_seconds: time of each pack, in the order of the plan's packs.
        seconds: time until all packs are done.
        workers: packs that train side by side.
        evaluation_share: share of the work that is evaluation.
        model_steps_per_second: training steps of all models over `seconds`.
        mfu: FLOP/s reached over the device's matrix-product FLOP/s.
        storage_bytes: of the results to come.
        cpu_share: share of its cores' time that this process got while the speed was measured.
        from_finished_packs: whether the speed is that of the study's finished packs, not the machine's now.
        device: `cpu` or `cuda`.
    """

    pack_seconds: Sequence[float]
    seconds: float
    workers: int
    evaluation_share: float
    model_steps_per_second: float
    mfu: float
    storage_bytes: float
    cpu_share: float
    from_finished_packs: bool
    device: str


@dataclass(frozen=True)
class StudyPlan:
    """What a run of a study would do on this machine.

    Attributes:
        study: what is planned.
        results: its results folder.
        status: which cells are finished and which are missing.
        packs: what would be trained.
        estimate: of its cost; None if nothing is missing.
        power: what it will be able to decide; None for a search, and for a grid with nothing to compare.
        notes: on the user's own images.
    """

    study: Study
    results: StoragePath
    status: StudyStatus
    packs: Sequence[Pack]
    estimate: Estimate | None
    power: Power | None
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        text = f"{self.study.name}: {self.status}, {len(self.packs)} packs"
        if self.estimate is not None:
            text += f", about {self.estimate.seconds:.0f} s and {self.estimate.storage_bytes / 1e6:.1f} MB"
        return f"{text} ({self.results})"

    def __repr__(self) -> str:
        return f"<StudyPlan {self}>"


def plan_study(study: Study, results: StoragePath) -> StudyPlan:
    """Plan a run of a study on this machine. Prints nothing and writes nothing.

    Args:
        study: what to plan.
        results: where results would go; finished cells in it are not planned.

    Raises:
        UserError: invalid input: data, memory per pack, or a GPU whose memory is in use.
    """
    data = outline(study)
    n_test, pixels = check_sizes(study, data), data.pixels
    if study.dataset.name not in GENERATED:  # of generated data only the outline is known here
        check_data(results, study, data.fingerprints, read_cell_states(results / "measurements"))
    status = study_status(study, results)
    wanted = study.resources.device
    gpus = machine.gpu_count() if wanted in ("auto", "cuda") else 0
    device = "cuda" if gpus else "cpu" if wanted == "auto" else wanted
    machine.check_fits(study, gpus)
    n = machine.packs_side_by_side(study, gpus)
    packs = packs_of(study, results, status.missing, pixels, Workers(n, device, memory_here(study, n, device)))
    estimate = None
    if packs:
        costs = Costs(study, pixels, n_test, "cuda" if gpus else "cpu")
        estimate = _estimate(costs, packs, status, n, gpus, finished_rate(results, costs, status.cells))
    return StudyPlan(study, results, status, packs, estimate, study_power(study), data.notes)


def _estimate(
    costs: Costs, packs: Sequence[Pack], status: StudyStatus, workers: int, gpus: int, finished: float | None
) -> Estimate:
    """The cost of packs.

    Args:
        costs: of the study's cells.
        packs: what would be trained.
        status: which cells are missing.
        workers: packs that train side by side.
        gpus: number of GPUs to be used.
        finished: operations per second and pack of finished packs, if there are any.
    """
    now = machine.gpu_throughput() if gpus else machine.cpu_throughput()
    peak = now.flops * min(1.0, gpus / workers) if gpus else now.flops / now.cpu_share / workers
    rate = finished or EFFICIENCY[costs.device] * peak * now.cpu_share
    latency = 0.0 if finished else STEP_SECONDS[costs.device]
    work = [costs.pack(pack) for pack in packs]
    seconds = [each / rate + pack.steps * latency for each, pack in zip(work, packs, strict=True)]
    total = makespan(seconds, workers)
    return Estimate(
        pack_seconds=seconds,
        seconds=total,
        workers=workers,
        evaluation_share=costs.evaluation_share(packs),
        model_steps_per_second=sum(len(pack) * pack.steps for pack in packs) / total,
        mfu=sum(work) / sum(seconds) / peak,
        storage_bytes=costs.storage(status.missing),
        cpu_share=now.cpu_share,
        from_finished_packs=finished is not None,
        device=costs.device,
    )


def finished_rate(results: StoragePath, costs: Costs, cells: Mapping[str, Cell]) -> float | None:
    """Operations per second and pack that finished cells of the study took; None if there are none."""
    if not (results / "measurements").is_dir():
        return None
    table = load_measurements(results, columns=["cell_id", "pack_id", "seconds", "is_final", "status"])
    table = table[table["pack_id"].notna()]  # rows of a remeasuring run have none
    table = table[table["is_final"] & (table["status"] == "ok") & table["cell_id"].isin(cells)]
    if table.empty:
        return None
    measured = [cells[cell_id] for cell_id in table["cell_id"].unique()]
    work = sum(costs.training(cell) + costs.evaluation(cell) for cell in measured)
    return work / float(table.groupby("pack_id")["seconds"].max().sum())
