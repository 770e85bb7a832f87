"""What trials report, passed to the listener and the queue, and what Ray says of one that died, in words of ours."""

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
"""How often in a row, for each machine, packs may be refused by machines that cannot write before the run ends."""
MACHINE_LOST = ("node has died", "node was terminated", "node was preempted", "NodeDiedError", "node failure")
"""Words in Ray's account of an actor's death that blame its machine, not its process."""


class TuneCallback(Callback):  # type: ignore[misc]  # Ray is untyped
    """Passes what trials report to the listener and the queue; stops the run at the first error that ends it."""

    def __init__(self, queue: PackQueue, listener: Listener, budget: Budget) -> None:
        self.queue, self.listener, self.budget = queue, listener, budget
        self.error: BaseException | None = None
        self.limit: str | None = None
        self.refused = 0
        self.active_trials: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks, for a resume of its own that is never used: there is nothing to save."""
        return {}

    def all_lost(self) -> None:
        """Every worker is gone: their packs wait for others."""
        self.active_trials.clear()
        self.queue.all_lost()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.active_trials.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.active_trials.discard(trial.trial_id)

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
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
                self._elsewhere(trial.trial_id, refusal)
                return
        except BaseException as error:
            self.error = error
            raise
        if result.get("done"):
            self.queue.ended(trial.trial_id)
        if self.queue:
            self.limit = self.budget.exceeded(machines)
            if self.limit is not None:
                raise RuntimeError(self.limit)  # ends the experiment; what trains goes on from its checkpoints

    def _elsewhere(self, worker: str, error: StorageError) -> None:
        """A machine cannot write, or cannot train: its pack goes elsewhere; if that is so of all, the run ends."""
        self.refused += 1
        if machines() == 1 or self.refused > REFUSALS * machines():
            raise error
        print(f"rdstudy: {error} Its pack goes to another machine.", file=sys.stderr)
        self.queue.lost(worker)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
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
    """Ray's account of why a worker died, in one line."""
    if _out_of_memory(error):
        return "Ray ended the worker because the machine ran out of memory: use a smaller resources.pack_size"
    lines = [line.strip() for line in error.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return lines[-1][:300] if lines else "the worker process died"
