"""The executor on a Ray cluster: every pack is a Tune trial.

    queue -> searcher -> Tune's controller -> workers (trainable.py) -> callback -> listener, queue

Tune's experiment files are in a temporary folder that is removed: resuming needs no file of Ray's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from rdstudy.data.temporary import temporary_folder
from rdstudy.execution.budget import Budget
from rdstudy.execution.protocols import Listener, NextPacks, RunContext
from rdstudy.execution.ray_tune.callback import TuneCallback, reason
from rdstudy.execution.ray_tune.node_checks import Versions, check_nodes, machines
from rdstudy.execution.ray_tune.pack_queue import PackQueue
from rdstudy.execution.ray_tune.resources import ConcurrencyLimit, device_kind, gpus_per_pack
from rdstudy.execution.ray_tune.searcher import Packs, PackSearcher
from rdstudy.execution.ray_tune.trainable import FetchedData, PackTrainable
from rdstudy.storage.files import StorageError
from rdstudy.storage.paths import absolute
from rdstudy.study.registry import plugins_allowed
from rdstudy.training.packs import Pack

_log = logging.getLogger(__name__)

EXPERIMENTS = 100
"""Number of failed Tune experiments after which the run ends."""


def run_on_ray(
    packs: list[Pack], context: RunContext, listener: Listener, budget: Budget, next_packs: NextPacks | None = None
) -> str | None:
    """An executor (see `protocols.Executor`): every pack a trial, as many at once as the cluster has resources for.

    Returns:
        The limit of the budget that was reached; None if none was.

    Raises:
        UserError: a machine of the cluster cannot train.
        StorageError: the results cannot be written.
    """
    results, gpus = absolute(context.results), gpus_per_pack(context.study)
    if machines() > 1:
        check_nodes(results, device_kind(context.study), gpus_per_pack=gpus)
    trainable = tune.with_parameters(
        PackTrainable,
        data=FetchedData.put(context.data, context.study.values_of("data_seed")),
        study=context.study.model_dump_json(),
        results=results,
        commit=context.commit,
        remeasure=context.remeasure,
        versions=Versions.here(),
        plugins=plugins_allowed(),
        driver=ray.get_runtime_context().get_node_id(),
    )
    trainable = tune.with_resources(trainable, {"cpu": context.study.resources.cpus_per_pack, "gpu": gpus})
    callback = TuneCallback(PackQueue(packs, next_packs), listener, budget)
    for attempt in range(EXPERIMENTS):
        try:
            _fit(trainable, callback, ConcurrencyLimit(gpus=gpus, cpus=context.study.resources.cpus_per_pack))
        except Exception as error:
            # Tune ends the experiment if a worker dies in an unexpected way. A new experiment continues from the queue
            # and the results folder.
            if callback.error is not None:
                raise callback.error from None
            if callback.limit is not None:
                return callback.limit
            _log.debug("Tune gave up", exc_info=True)
            if callback.queue and attempt == EXPERIMENTS - 1:
                why = reason(str(error))
                raise StorageError(f"Ray failed repeatedly: {why}. To resume, run the same command again.") from error
        callback.all_lost()
        if not callback.queue:
            break
    return None


def _fit(trainable: object, callback: TuneCallback, room: Callable[[int], int]) -> None:
    """One Tune experiment over the remaining packs, with its files in a temporary folder."""
    with temporary_folder("ray") as files:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=Packs(PackSearcher(callback, room)),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=str(files),
                verbose=0,
                callbacks=[callback],
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),  # the queue decides about retries
            ),
        ).fit()


def _trial_name(trial: Any) -> str:
    return f"{trial.config['pack']}-{trial.trial_id}"
