"""Changes to Tune's loop over trials for which Tune has no settings.

- A worker that Ray killed for lack of memory counts as a crashed worker; Tune would end the experiment.
- Ended trials are dropped; Tune keeps three copies of each and scans all of them at every event, which is slow with the
  tens of thousands of packs of a long study.
- On one's own machine, trials use the workers that Ray started at the beginning; Tune has Ray start new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.tune.execution import tune_controller
from ray.tune.progress_reporter import TrialProgressCallback


class _Workers(RayActorManager):
    """Tune's workers; one that Ray killed for lack of memory counts as crashed."""

    def _actor_task_failed(self, tracked_actor_task: object, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.OutOfMemoryError):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


class _Classes:
    """Tune's remote class of its trainable, without the environment that Tune gives it.

    With that environment every worker is a new process, and the workers that Ray started at the beginning are not used.
    On a cluster it is needed: it passes the driver's bucket credentials to the machines.
    """

    def __init__(self) -> None:
        self._remote: dict[type, object] = {}

    def get(self, trainable: type) -> object:
        """The remote class of a trainable, registered once."""
        if trainable not in self._remote:
            self._remote[trainable] = ray.remote(trainable)
        return self._remote[trainable]


class _Controller(tune_controller.TuneController):
    """Tune's loop with constant memory: ended trials are dropped."""

    def __init__(self, *, callbacks: list[tune.Callback], **options: object) -> None:
        # Tune's own reporter prints nothing here, but would keep every trial.
        ours = [callback for callback in callbacks if not isinstance(callback, TrialProgressCallback)]
        super().__init__(callbacks=ours, **options)

    def on_step_end(self) -> None:
        """Drop ended trials; the queue and the table keep what is needed of them."""
        super().on_step_end()
        ended = self._stopped_trials | self._failed_trials
        if not ended:
            return
        self._trials[:] = [trial for trial in self._trials if trial not in ended]
        for kept in (self._live_trials, self._stopped_trials, self._failed_trials, self._resetting_trials):
            kept.difference_update(ended)

    def _mark_trial_to_checkpoint(self, trial: object) -> None:
        """Do nothing, because no trial is saved."""

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Save only at the end, when Tune reads the file; its own way of resuming is not used."""
        if force and wait:
            super().checkpoint(force, wait)


@contextmanager
def in_charge(*, own_machine: bool) -> Iterator[None]:
    """Use these classes for Tune's experiments within the context; afterwards Tune's own are restored.

    Args:
        own_machine: whether Ray was started by this process, so that all workers have its environment.
    """
    ours: list[tuple[object, str, object]] = [
        (tune_controller, "RayActorManager", _Workers),
        (tune.tune, "TuneController", _Controller),
    ]
    if own_machine:
        ours.append((tune_controller, "_ActorClassCache", _Classes))
    theirs = [(module, name, getattr(module, name)) for module, name, _ in ours]
    with environment(TUNE_MAX_PENDING_TRIALS_PG="1000000"):  # resources.ConcurrencyLimit limits the waiting packs
        for each in ours:
            setattr(*each)
        try:
            yield
        finally:
            for each in theirs:
                setattr(*each)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables within the context; afterwards the old values are restored."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
