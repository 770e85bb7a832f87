"""Tune's own loop over trials, where it has no setting for what a study needs.

A worker that Ray ended for lack of memory has died like any other, where Tune would end the experiment. A trial that
has ended is forgotten, where Tune keeps each with its cells, three times over, and looks through all of them at every
event: a study of a month has tens of thousands of packs. And on one's own machine the workers that Ray started with
itself are used, where Tune has Ray start others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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


class _Classes:
    """Tune's remote class of its trainable, without the environment that Tune gives it.

    With one, every worker is a fresh process, and those that Ray started with the machine are ended unused. Elsewhere
    it is needed: it carries the driver's credentials of a bucket to the machines.
    """

    def __init__(self) -> None:
        self._remote: dict[type, Any] = {}

    def get(self, trainable: type) -> Any:
        """The remote class of a trainable, registered once."""
        if trainable not in self._remote:
            self._remote[trainable] = ray.remote(trainable)
        return self._remote[trainable]


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
        for kept in (self._live_trials, self._stopped_trials, self._failed_trials, self._resetting_trials):
            kept.difference_update(ended)

    def _mark_trial_to_checkpoint(self, trial: Any) -> None:
        """Nothing is saved, so nothing is to be kept for it."""

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Save nothing until the end, when Tune wants to read it: a resume of its own is never used."""
        if force and wait:
            super().checkpoint(force, wait)


@contextmanager
def in_charge(*, own_machine: bool) -> Iterator[None]:
    """Have Tune's experiments run by it; whoever uses Tune afterwards has Tune's own again.

    Args:
        own_machine: whether Ray was started by this process, so that all workers have its environment.
    """
    ours: list[tuple[Any, str, Any]] = [
        (tune_controller, "RayActorManager", _Workers),
        (tune.tune, "TuneController", _Controller),
    ]
    if own_machine:
        ours.append((tune_controller, "_ActorClassCache", _Classes))
    theirs = [(module, name, getattr(module, name)) for module, name, _ in ours]
    with environment(TUNE_MAX_PENDING_TRIALS_PG="1000000"):  # how many wait, `capacity.Room` says
        for each in ours:
            setattr(*each)
        try:
            yield
        finally:
            for each in theirs:
                setattr(*each)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Environment variables that Ray is to read, and then as they were."""
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
