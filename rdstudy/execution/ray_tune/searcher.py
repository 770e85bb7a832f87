"""Tune searcher that gives each trial a pack of the queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator

from rdstudy.execution.ray_tune.callback import TuneCallback
from rdstudy.study.early_stopping import to_json


class PackSearcher(Searcher):
    """Gives Tune the queue's packs, one per trial, up to a limit of packs at once."""

    def __init__(self, callback: TuneCallback, limit: Callable[[int], int]) -> None:
        super().__init__()
        self.callback, self.queue, self.limit = callback, callback.queue, limit

    def suggest(self, trial_id: str) -> Any:
        if len(self.queue.running) >= self.limit(len(self.callback.active_trials)):
            return None
        try:
            work = self.queue.take(trial_id)
        except BaseException as error:  # raised by a search that was asked for more packs
            self.callback.error = error
            raise
        if work is not None:
            cells = json.dumps([asdict(cell) for cell in work.pack.cells])
            limits = to_json(work.pack.limits)
            return {"pack": work.pack.id, "cells": cells, "resumed": work.pack.resumed, "limits": limits}
        return None if self.queue else self.FINISHED

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune saves its searcher for its own way of resuming, which is not used."""
        return {}

    def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
        """Do nothing: the callback handles the end of a trial."""

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: Tune saves its searcher for its own way of resuming, which is not used."""
        Path(checkpoint_path).touch()


class Packs(SearchGenerator):
    """Tells Tune that there are no more packs whenever none waits, although a running pack may be queued again.

    Otherwise Tune would keep an idle worker, and with it a rented machine.
    """

    def is_finished(self) -> bool:
        callback = self.searcher.callback
        try:
            return not callback.queue.waits()
        except BaseException as error:  # raised by a search that was asked for more packs
            callback.error = error
            raise
