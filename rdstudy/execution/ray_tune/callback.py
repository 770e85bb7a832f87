"""Tune callback: passes what trials report to the listener and the queue, and explains why a trial died."""

from __future__ import annotations

import sys
from typing import Any

from ray.tune import Callback

from rdstudy.execution.budget import Budget
from rdstudy.execution.protocols import Listener, PackProgress
from rdstudy.execution.ray_tune.node_checks import machines
from rdstudy.execution.ray_tune.pack_queue import PackQueue
from rdstudy.storage.files import StorageError

REFUSALS = 5
"""Consecutive refusals per machine by machines that cannot write or train, after which the run ends."""
MACHINE_LOST = ("node has died", "node was terminated", "node was preempted", "NodeDiedError", "node failure")
"""Words in Ray's error message that say that a trial's machine was lost, not only its process."""


class TuneCallback(Callback):
    """Passes what trials report to the listener and the queue, and stops the run at the first fatal error.

    Attributes:
        error: the fatal error, if there was one.
        limit: the limit of the budget that was reached, if one was.
        active_trials: ids of the trials that have a worker.
    """

    def __init__(self, queue: PackQueue, listener: Listener, budget: Budget) -> None:
        self.queue, self.listener, self.budget = queue, listener, budget
        self.error: BaseException | None = None
        self.limit: str | None = None
        self.refused = 0
        self.active_trials: set[str] = set()

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune saves its callbacks for its own way of resuming, which is not used."""
        return {}

    def all_lost(self) -> None:
        """Return the packs of all workers to the queue."""
        self.active_trials.clear()
        self.queue.all_lost()

    def on_trial_start(self, iteration: int, trials: object, trial: Any, **info: object) -> None:
        self.active_trials.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: object, trial: Any, **info: object) -> None:
        self.active_trials.discard(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: object, trial: Any, result: dict[str, Any], **info: object
    ) -> None:
        work = self.queue.running[trial.trial_id]
        refusal = StorageError(result["refused"]) if "refused" in result else None
        try:
            for event in result.pop("events", []):
                progress = PackProgress(**{**event, "cells": tuple(event["cells"])})
                try:
                    self.listener(work.of, progress)
                    self.refused = 0
                    if progress.stopped:
                        self.queue.stopped(trial.trial_id, progress.cells)
                except StorageError as error:
                    if progress.staged is None or not isinstance(error.__cause__, FileNotFoundError):
                        raise
                    host = result.get("hostname", "a machine")
                    refusal = StorageError(
                        f"{host} staged {progress.staged}, but it is not here: is the folder shared?"
                    )
            if refusal is not None and result.get("done"):
                self._reassign(trial.trial_id, refusal)
                return
        except BaseException as error:
            self.error = error
            raise
        if result.get("done"):
            self.queue.ended(trial.trial_id)
        if self.queue:
            self.limit = self.budget.exceeded(machines)
            if self.limit is not None:
                raise RuntimeError(self.limit)  # ends the experiment; unfinished packs resume from their checkpoints

    def _reassign(self, worker: str, error: StorageError) -> None:
        """Give the pack of a machine that cannot write or train to another; end the run if all refuse."""
        self.refused += 1
        if machines() == 1 or self.refused > REFUSALS * machines():
            raise error
        print(f"rdstudy: {error} Its pack is given to another machine.", file=sys.stderr)
        self.queue.lost(worker)

    def on_trial_error(self, iteration: int, trials: object, trial: Any, **info: object) -> None:
        self.active_trials.discard(trial.trial_id)
        message = str(trial.get_error() or "")
        if any(words in message for words in MACHINE_LOST):
            self.queue.lost(trial.trial_id)
            return
        given_up = self.queue.crashed(trial.trial_id, out_of_memory=_out_of_memory(message))
        if given_up is None:
            return
        cells = tuple(cell.id for cell in given_up.pack.cells)
        failure = f"{reason(message)} ({given_up.crashes} times)"
        try:
            self.listener(given_up.of, PackProgress(0, given_up.of.steps, cells, 0.0, failure=failure))
        except BaseException as error:
            self.error = error
            raise


def _out_of_memory(error: str) -> bool:
    return "Ray killed" in error and "memory" in error


def reason(error: str) -> str:
    """Why a worker died, in one line of Ray's error message."""
    if _out_of_memory(error):
        return "Ray killed the worker because the machine ran out of memory: use a smaller resources.pack_size"
    lines = [line.strip() for line in error.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return lines[-1][:300] if lines else "the worker process died"
