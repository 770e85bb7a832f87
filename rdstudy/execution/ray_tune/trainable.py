"""A pack as a Ray Tune trial.

Tune's own checkpoints are not used: a retried trial resumes from the results folder, on any machine, so losing Ray's
files does no harm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray import tune

from rdstudy.data.dataset import Dataset
from rdstudy.execution.device import pick_device, use_threads
from rdstudy.execution.protocols import Datasets, PackProgress, RunContext
from rdstudy.execution.provenance import Commit
from rdstudy.execution.ray_tune.node_checks import Versions, complaint, machines
from rdstudy.execution.worker import work
from rdstudy.storage.files import StorageError
from rdstudy.storage.paths import storage_path
from rdstudy.study import Cell, Study
from rdstudy.study.early_stopping import from_json
from rdstudy.study.registry import allow_plugins
from rdstudy.training.packs import Pack

REPORT_SECONDS = 10.0
"""Least time between two reports of a pack, so that hundreds of packs do not overload the driver."""

REFUSE_SECONDS = 20.0
"""How long a machine that cannot write or train waits before it returns a pack."""


@dataclass(frozen=True)
class FetchedData:
    """Data sets in Ray's object store: a machine fetches those of the data seeds that it trains on."""

    references: Mapping[int, ray.ObjectRef]

    @staticmethod
    def put(data: Datasets, data_seeds: Sequence[int]) -> FetchedData:
        """Store each data set once, also where several data seeds share it."""
        datasets = {seed: data.of(seed) for seed in data_seeds}
        stored = {id(dataset): ray.put(dataset) for dataset in {id(each): each for each in datasets.values()}.values()}
        return FetchedData({seed: stored[id(dataset)] for seed, dataset in datasets.items()})

    def of(self, data_seed: int) -> Dataset:
        """The data set of this data seed, its images mapped from the machine's object store."""
        dataset: Dataset = ray.get(self.references[data_seed])
        return dataset


class PackTrainable(tune.Trainable):
    """Trains, or remeasures, one pack; a step takes up to `REPORT_SECONDS`."""

    def setup(
        self,
        config: dict[str, object],
        data: FetchedData,
        study: str,
        results: str,
        commit: Commit | None,
        remeasure: bool,
        versions: Versions,
        plugins: bool,
        driver: str,
    ) -> None:
        allow_plugins(plugins)
        device = Study.model_validate_json(study).resources.device
        elsewhere = ray.get_runtime_context().get_node_id() != driver
        self.fault = complaint(versions, results, None, device) if elsewhere else None
        if self.fault is not None:
            return
        self.context = RunContext(
            study=Study.model_validate_json(study),
            data=data,
            results=storage_path(results),
            device=pick_device(device),
            commit=commit,
            remeasure=remeasure,
        )
        use_threads(self.context.study)
        self._start(config)

    def reset_config(self, new_config: dict[str, object]) -> bool:
        """Take the next pack in the same process, which saves starting a new one."""
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        if self.fault is None:
            cells = tuple(Cell(**cell) for cell in json.loads(config["cells"]))
            pack = Pack(cells, resumed=config["resumed"], limits=from_json(config["limits"]))
            self.progress: Iterator[PackProgress] = work(pack, self.context)

    def step(self) -> dict[str, object]:
        """Work until the next report is due or the pack ends."""
        if self.fault is not None:
            return self._refuse(self.fault, [])
        until = time.monotonic() + REPORT_SECONDS
        latest, events = None, []
        try:
            for progress in self.progress:
                latest = asdict(progress)
                if progress.staged or progress.failure:
                    events.append(latest)
                    latest = None
                if time.monotonic() > until:
                    return {"events": [*events, *([latest] if latest else [])], "done": False}
        except StorageError as error:
            return self._refuse(str(error), events)
        return {"events": events, "done": True}

    def _refuse(self, why: str, events: list[dict[str, object]]) -> dict[str, object]:
        """Return the pack; after a pause if there are other machines, which then take it instead of this one."""
        if machines() > 1:
            time.sleep(REFUSE_SECONDS)
        return {"events": events, "refused": why, "done": True}
