"""Tune's own loop over trials, where it has no setting for what a long study needs.

Two things: a worker that Ray ended for lack of memory has died like any other, where Tune would end the experiment;
and a trial that has ended is forgotten, where Tune keeps each with its cells, three times over, and looks through all
of them at every event. A study of a month has tens of thousands of packs.
"""

from __future__ import annotations

from typing import Any

import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.tune.execution import tune_controller
from ray.tune.progress_reporter import TrialProgressCallback


class _Workers(RayActorManager):  # type: ignore[misc]  # Ray is untyped
    """Tune's workers; one that Ray ended for lack of memory has died, as any other may."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.OutOfMemoryError):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


class _Controller(tune_controller.TuneController):  # type: ignore[misc]  # Ray is untyped
    """Tune's loop, whose memory does not grow with the trials that have ended."""

    def __init__(self, *, callbacks: list[tune.Callback], **options: Any) -> None:
        # Tune's own reporter prints nothing here, and would keep every trial to do so.
        ours = [callback for callback in callbacks if not isinstance(callback, TrialProgressCallback)]
        super().__init__(callbacks=ours, **options)

    def on_step_end(self) -> None:
        """Forget what ended: all that it was, the queue and the table know."""
        super().on_step_end()
        ended = self._stopped_trials | self._failed_trials
        if not ended:
            return
        self._trials[:] = [trial for trial in self._trials if trial not in ended]
        for kept in (self._live_trials, self._stopped_trials, self._failed_trials):
            kept.difference_update(ended)

    def _mark_trial_to_checkpoint(self, trial: Any) -> None:
        """Nothing is saved, so nothing is to be kept for it."""

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Save nothing: a resume of Tune's own is never used."""


def use() -> None:
    """Have every experiment of this process run by it."""
    tune_controller.RayActorManager = _Workers
    tune.tune.TuneController = _Controller
