"""Packs for Tune: its searcher, which hands out the queue's, one a trial."""

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


class PackSearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Gives Tune the queue's packs, one a trial, as many at once as there is room for."""

    def __init__(self, callback: TuneCallback, limit: Callable[[int], int]) -> None:
        super().__init__()
        self.callback, self.queue, self.limit = callback, callback.queue, limit

    def suggest(self, trial_id: str) -> Any:
        if len(self.queue.running) >= self.limit(len(self.callback.active_trials)):
            return None
        try:
            work = self.queue.take(trial_id)
        except BaseException as error:  # of a search that was asked for more
            self.callback.error = error
            raise
        if work is not None:
            cells = json.dumps([asdict(cell) for cell in work.pack.cells])
            limits = to_json(work.pack.limits)
            return {"pack": work.pack.id, "cells": cells, "resumed": work.pack.resumed, "limits": limits}
        return None if self.queue else self.FINISHED

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its searcher with its tuner, for a resume of its own that is never used."""
        return {}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The callback hears of it too, and knows more."""

    def save(self, checkpoint_path: str) -> None:
        """Tune saves its searcher, for a resume of its own that is never used: there is nothing to save."""
        Path(checkpoint_path).touch()


class Packs(SearchGenerator):  # type: ignore[misc]  # Ray is untyped
    """Says that there are no more packs whenever none waits, though one that is at work may come back.

    As long as more may come, Tune keeps one worker that has nothing to do, and so a rented machine, for them.
    """

    def is_finished(self) -> bool:
        callback = self.searcher.callback
        try:
            return not callback.queue.waits()
        except BaseException as error:  # of a search that was asked for more
            callback.error = error
            raise
