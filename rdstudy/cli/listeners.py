"""Listeners that show a run, or a remeasuring run, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from rdstudy.cli.live import RemeasureDisplay, RunDisplay
from rdstudy.cli.messages import print_notes, print_status
from rdstudy.execution.protocols import PackProgress, RunListener
from rdstudy.study import Study
from rdstudy.training.packs import Pack

if TYPE_CHECKING:
    from rdstudy.execution.ray_choice import RayChoice
    from rdstudy.execution.remeasure import Remaining
    from rdstudy.execution.status import StudyStatus
    from rdstudy.storage.paths import StoragePath


class TerminalListener(RunListener):
    """Shows a run on the terminal."""

    def __init__(self, study: Study, folder: StoragePath, console: Console, *, address: str | None) -> None:
        self.study, self.folder, self.console, self.address = study, folder, console, address
        self.display: RunDisplay | None = None

    @property
    def started(self) -> bool:
        """Whether training started."""
        return self.display is not None

    def on_notes(self, notes: Sequence[str]) -> None:
        print_notes(self.console, notes)

    def on_begin(self, status: StudyStatus, choice: RayChoice) -> None:
        print_status(self.console, self.study, self.folder, status)
        why = f": {choice.why}" if choice.why else ""
        if choice.ray:
            verb = "connecting to" if self.address else "starting"
            self.console.print(f"{verb} Ray{why}; the first packs report within a minute", soft_wrap=True)
        elif choice.why:
            self.console.print(f"training in this process{why} (--ray starts it)", soft_wrap=True)

    def on_start(self, packs: Sequence[Pack], place: str) -> None:
        self.display = RunDisplay(packs, self.console, where=place)
        self.display.__enter__()

    def on_packs(self, packs: Sequence[Pack]) -> None:
        assert self.display is not None
        self.display.add(packs)

    def on_end(self) -> None:
        assert self.display is not None
        self.display.__exit__()

    def __call__(self, pack: Pack, progress: PackProgress) -> None:
        assert self.display is not None
        self.display(pack, progress)


class RemeasureListener(RunListener):
    """Shows a remeasuring run on the terminal."""

    def __init__(self, study: Study, folder: StoragePath, console: Console) -> None:
        self.study, self.folder, self.console = study, folder, console
        self.display: RemeasureDisplay | None = None

    @property
    def started(self) -> bool:
        """Whether measuring started."""
        return self.display is not None

    def on_remaining(self, remaining: Remaining) -> None:
        self.console.print(
            f"{self.study.name}: evaluation {self.study.evaluation.evaluation_id}: {remaining.measured} cells "
            f"measured, {len(remaining.to_measure)} to measure ({self.folder})",
            soft_wrap=True,
        )

    def on_start(self, packs: Sequence[Pack], place: str) -> None:
        self.display = RemeasureDisplay(sum(map(len, packs)), self.console, where=place)
        self.display.__enter__()

    def on_end(self) -> None:
        assert self.display is not None
        self.display.__exit__()

    def __call__(self, pack: Pack, progress: PackProgress) -> None:
        assert self.display is not None
        self.display(pack, progress)
