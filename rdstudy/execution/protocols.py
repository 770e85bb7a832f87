"""What the driver and the workers exchange: the context of a run, progress reports, listeners and executors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rdstudy.storage.paths import StoragePath
from rdstudy.study import Study
from rdstudy.training.packs import Pack

if TYPE_CHECKING:
    import torch

    from rdstudy.data.dataset import Dataset
    from rdstudy.execution.budget import Budget
    from rdstudy.execution.provenance import Commit
    from rdstudy.execution.ray_choice import RayChoice
    from rdstudy.execution.remeasure import Remaining
    from rdstudy.execution.status import StudyStatus


@dataclass(frozen=True, slots=True)
class PackProgress:
    """One report about some cells of a pack.

    Attributes:
        step: training steps done (in `remeasure`: cells measured).
        steps: training steps in all (in `remeasure`: cells in all).
        cells: ids of the cells the report is about.
        seconds: time spent on the pack, over all its runs.
        test_distortion_nats: median of the latest test distortions, if any were measured.
        mfu: model FLOP utilization: training FLOP/s over the device's matrix-product FLOP/s.
        staged: name of the staged file that holds the final rows of `cells`; None before the end.
        failure: error message, if `cells` failed.
        stopped: whether `cells` were stopped early; the rest of the pack continues.
        start_step: step of the checkpoint from which the pack was resumed.
    """

    step: int
    steps: int
    cells: tuple[str, ...]
    seconds: float
    test_distortion_nats: float | None = None
    mfu: float | None = None
    staged: str | None = None
    failure: str | None = None
    stopped: bool = False
    start_step: int = 0


@runtime_checkable
class Datasets(Protocol):
    """The data set of each data seed of a study."""

    def of(self, data_seed: int) -> Dataset:
        """The data set of this data seed."""
        ...


@dataclass(frozen=True)
class RunContext:
    """What every worker of a run needs: study, data, results folder and device.

    Attributes:
        study: whose cells are trained.
        data: its images.
        results: the results folder.
        device: where this process trains.
        commit: git commit of the working directory, for provenance.
        remeasure: measure stored weights instead of training.
    """

    study: Study
    data: Datasets
    results: StoragePath
    device: torch.device
    commit: Commit | None = None
    remeasure: bool = False


NextPacks = Callable[[], list[Pack]]
"""Called when all packs have ended; returns the next packs, or none at the end of a search."""


@runtime_checkable
class Listener(Protocol):
    """Receives every progress report."""

    def __call__(self, pack: Pack, progress: PackProgress) -> None: ...


class RunListener:
    """Receives what happens during a run. Every method does nothing; override those of interest."""

    def on_notes(self, notes: Sequence[str]) -> None:
        """What to know of the user's own images, of foreign files, and of cells that begin anew."""

    def on_begin(self, status: StudyStatus, choice: RayChoice) -> None:
        """The results folder is open; `status` says what is to be trained, `choice` whether on Ray."""

    def on_remaining(self, remaining: Remaining) -> None:
        """A remeasuring run: `remaining` says what is to be measured."""

    def on_start(self, packs: Sequence[Pack], place: str) -> None:
        """Training starts: the first packs, and where they train, in words."""

    def on_packs(self, packs: Sequence[Pack]) -> None:
        """A search asked for more packs."""

    def on_end(self) -> None:
        """Training has ended, by whatever reason. Called if `on_start` was."""

    def __call__(self, pack: Pack, progress: PackProgress) -> None:
        """A pack reports; what it staged is in the table."""


@runtime_checkable
class Executor(Protocol):
    """Trains packs until all have ended or the budget is spent.

    Args:
        packs: the first packs.
        context: study, data, results folder and device.
        listener: receives every progress report.
        budget: checked while packs train.
        next_packs: called each time that all packs have ended, until it returns none.

    Returns:
        The limit that was reached, in words; None if all packs have ended.
    """

    def __call__(
        self,
        packs: list[Pack],
        context: RunContext,
        listener: Listener,
        budget: Budget,
        next_packs: NextPacks | None = None,
    ) -> str | None: ...
