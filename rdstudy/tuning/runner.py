"""The executor that trains packs on a Ray cluster: one pack, one Tune trial.

Local Ray unless an address is given. Ray's loggers are off, its words stay out of the terminal, and its experiment
files live in a temporary folder that is removed: nothing of Ray's is needed to go on.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours to answer
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.tune.execution import tune_controller

from rdstudy.budget import Budget
from rdstudy.driver import Listener, More
from rdstudy.errors import UserError
from rdstudy.limits import to_json
from rdstudy.pack_run import Progress, Workplace, pick_device
from rdstudy.packs import Pack
from rdstudy.store.files import StorageError
from rdstudy.store.location import absolute
from rdstudy.study import Study
from rdstudy.tuning.preflight import Versions, check_nodes, machines
from rdstudy.tuning.queue import PackQueue
from rdstudy.tuning.trainable import PackTrainable

EXPERIMENTS = 100
"""How often Tune may give up before the run does."""
REFUSALS = 5
"""How often in a row, for each machine, packs may be refused by machines that cannot write before the run ends."""
MOST_WAITING = 128
"""Trials that wait for room at most."""
MACHINE_LOST = ("node has died", "node was terminated", "node was preempted", "NodeDiedError", "node failure")
"""Words in Ray's account of an actor's death that blame its machine, not its process."""

MOST_RESOURCES = 10_000.0
"""An autoscaler without a limit says so by a huge number."""
MEMORY_SHARE = 0.7
"""Of what Ray calls a machine's memory, which is some 70% of it, for all packs at once."""

SOCKET, LONGEST_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_1000000/sockets/plasma_store", 103
"""The longest name that Ray appends to the temporary folder, and the longest that macOS allows (Linux: 107)."""


@contextmanager
def cluster(address: str | None, *, object_store_bytes: int) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine.

    Args:
        address: `auto`, `host:port`, or None for local Ray (RAY_ADDRESS is honoured).
        object_store_bytes: what the data set needs; only for local Ray.

    Raises:
        UserError: there is no cluster at the address.
    """
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what fails reaches the user through the listener
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    files: str | None = None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if address:
        _check_reachable(address)
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            size = max(256 * 2**20, int(1.5 * object_store_bytes) + 64 * 2**20)
            quiet["_temp_dir"] = files = _short_folder()
            ray.init(address="local", include_dashboard=False, object_store_memory=size, **quiet)
    except Exception as error:  # a plain one where a node takes too long to start
        where = f"at {address}" if address else "on this machine"
        raise UserError(f"no Ray cluster {where}: {error}. `--inline` trains without Ray.") from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL + 1)  # ray.init sets its own level on "ray"
    for number, handler in handlers.items():
        signal.signal(number, handler)  # Ray puts its own in place, which end the process without a word of ours
    try:
        yield
    finally:
        ray.shutdown()
        if files is not None:
            shutil.rmtree(files, ignore_errors=True)


def _short_folder() -> str | None:
    """Where Ray may put its sockets if the temporary folder's name is too long for them; else None, Ray's own choice.

    A batch system's temporary folders often are, and Ray would not start.
    """
    if len(os.fsencode(tempfile.gettempdir())) + len(SOCKET) <= LONGEST_SOCKET:
        return None
    return tempfile.mkdtemp(prefix="rdstudy-ray-", dir="/tmp")


def _check_reachable(address: str) -> None:
    """Refuse at once what Ray would wait minutes for."""
    host, _, port = address.rpartition(":")
    if address.startswith("ray://") or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster at {address}: {error.strerror or error}. `ray status` on its head node says whether it "
            "runs; without --address, Ray starts on this machine."
        ) from error


def could_have(resource: str) -> float:
    """How much of a resource the connected cluster has, or its autoscaler may add."""
    most = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return max(float(ray.cluster_resources().get(resource, 0)), min(float(most.get(resource, 0)), MOST_RESOURCES))


def device_kind(study: Study) -> str:
    """What packs will train on: what the study says, or a GPU if the cluster has one or can rent one."""
    if study.resources.device != "auto":
        return study.resources.device
    return "cuda" if could_have("GPU") else pick_device("auto").type


def gpus_per_pack(study: Study) -> float:
    """GPUs that a pack asks Ray for."""
    asked = study.resources.gpus_per_pack
    return asked if asked != "auto" else float(device_kind(study) == "cuda")


def workers(study: Study) -> int:
    """How many packs the connected cluster can train side by side once it has grown; at least one."""
    gpus = gpus_per_pack(study)
    by_cpu = could_have("CPU") // study.resources.cpus_per_pack
    return max(1, int(min(by_cpu, could_have("GPU") // gpus) if gpus else by_cpu))


def memory_per_pack(study: Study) -> float:
    """Bytes that a pack may use on the smallest machine that trains; infinite while there is none.

    What a GPU has is not known here: there a pack that does not fit is halved.
    """
    asked = study.resources.memory_per_pack_gib
    if asked != "auto":
        return asked * 2**30
    if gpus_per_pack(study):
        return math.inf
    sides = [
        node["Resources"]["memory"] * MEMORY_SHARE / (node["Resources"]["CPU"] // study.resources.cpus_per_pack)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= study.resources.cpus_per_pack
    ]
    return min(sides, default=math.inf)


def run_on_ray(
    packs: list[Pack], at: Workplace, listener: Listener, budget: Budget, more: More | None = None
) -> str | None:
    """An executor: every pack a trial, as many side by side as the cluster has room for.

    Returns:
        Which limit of the budget ended it, if one did.

    Raises:
        UserError: a machine of the cluster cannot train.
        StorageError: the results cannot be written.
    """
    results, gpus = absolute(at.results), gpus_per_pack(at.study)
    if machines() > 1:
        check_nodes(results, device_kind(at.study), gpus_per_pack=gpus)
    trainable = tune.with_parameters(
        PackTrainable,
        dataset=at.dataset,
        study=at.study.model_dump_json(),
        results=results,
        commit=at.commit,
        again=at.again,
        versions=Versions.here(),
        driver=ray.get_runtime_context().get_node_id(),
    )
    trainable = tune.with_resources(trainable, {"cpu": at.study.resources.cpus_per_pack, "gpu": gpus})
    relay = _Relay(PackQueue(packs, more), listener, budget)
    for attempt in range(EXPERIMENTS):
        try:
            _fit(trainable, relay, _Room(at.study))
        except Exception as error:
            # Tune itself gives up where a worker dies in a way that it does not know. What is left is in the results,
            # so a new experiment takes it from there.
            if relay.error is not None:
                raise relay.error from None
            if relay.over is not None:
                return relay.over
            if attempt == EXPERIMENTS - 1:
                reason = _reason(str(error))
                raise StorageError(f"Ray could not go on: {reason}. Run the same command again.") from error
        relay.queue.all_lost()
        if not relay.queue:
            break
    return None


class _Room:
    """How many packs may be out at once: those that the cluster has room for now, and some that wait for room.

    So all workers start at once. One pack waits for the next worker, and one for each that a machine not there yet
    could train: they are what an autoscaling cluster grows for. More would only wait before a pack that begins again.
    """

    def __init__(self, study: Study) -> None:
        self.gpus, self.cpus = gpus_per_pack(study), study.resources.cpus_per_pack
        self._packs, self._until = 0, -math.inf

    def __call__(self) -> int:
        """Packs; looked up anew every second."""
        if time.monotonic() > self._until:
            resource, each = ("GPU", self.gpus) if self.gpus else ("CPU", float(self.cpus))
            there = float(ray.cluster_resources().get(resource, 0))
            missing = max(0.0, could_have(resource) - there)
            self._packs = int(there // each) + min(MOST_WAITING, 1 + int(missing // each))
            self._until = time.monotonic() + 1.0
        return self._packs


def _fit(trainable: Any, relay: _Relay, room: Callable[[], int]) -> None:
    """One Tune experiment over the packs that are left, its files in a temporary folder."""
    files = Path(tempfile.mkdtemp(prefix="rdstudy-ray-"))
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1000000"  # how many wait, the room says
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Packs(_Search(relay, room)),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=str(files),
                verbose=0,
                callbacks=[relay],
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),  # what becomes of a pack, the queue decides
            ),
        ).fit()
    finally:
        shutil.rmtree(files, ignore_errors=True)


def _trial_name(trial: Any) -> str:
    return f"{trial.config['pack']}-{trial.trial_id}"


class _Search(tune.search.Searcher):  # type: ignore[misc]  # Ray is untyped
    """Gives Tune the queue's packs, one a trial, as many at once as there is room for."""

    def __init__(self, relay: _Relay, room: Callable[[], int]) -> None:
        super().__init__()
        self.relay, self.queue, self.room = relay, relay.queue, room

    def suggest(self, trial_id: str) -> Any:
        if len(self.queue.running) >= self.room():
            return None
        try:
            work = self.queue.take(trial_id)
        except BaseException as error:  # of a search that was asked for more
            self.relay.error = error
            raise
        if work is not None:
            cells = json.dumps([asdict(cell) for cell in work.pack.cells])
            limits = to_json(work.pack.limits)
            return {"pack": work.pack.id, "cells": cells, "begun": work.pack.begun, "limits": limits}
        return None if self.queue else self.FINISHED

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its searcher with its tuner, for a resume of its own that is never used."""
        return {}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The relay hears of it too, and knows more."""

    def save(self, checkpoint_path: str) -> None:
        """Tune saves its searcher, for a resume of its own that is never used: there is nothing to save."""
        Path(checkpoint_path).touch()


class _Workers(RayActorManager):  # type: ignore[misc]  # Ray is untyped
    """Tune's workers: one that Ray ended for lack of memory has died, as any other may. Tune would end all of them."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.OutOfMemoryError):
            exception = ray.exceptions.RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


tune_controller.RayActorManager = _Workers  # Tune has no setting for it


class _Packs(tune.search.search_generator.SearchGenerator):  # type: ignore[misc]  # Ray is untyped
    """Says that there are no more packs whenever none waits, though one that is at work may come back.

    As long as more may come, Tune keeps one worker that has nothing to do, and so a rented machine, for them.
    """

    def is_finished(self) -> bool:
        relay = self.searcher.relay
        try:
            return not relay.queue.waits()
        except BaseException as error:  # of a search that was asked for more
            relay.error = error
            raise


class _Relay(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Passes what trials report to the listener and the queue; stops the run at the first error that ends it."""

    def __init__(self, queue: PackQueue, listener: Listener, budget: Budget) -> None:
        self.queue, self.listener, self.budget = queue, listener, budget
        self.error: BaseException | None = None
        self.over: str | None = None
        self.refused = 0

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks, for a resume of its own that is never used: there is nothing to save."""
        return {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        work = self.queue.running[trial.trial_id]
        refusal = StorageError(result["refused"]) if "refused" in result else None
        try:
            for event in result.pop("events", []):
                progress = Progress(**{**event, "cells": tuple(event["cells"])})
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
            self.over = self.budget.over(machines)
            if self.over is not None:
                raise RuntimeError(self.over)  # ends the experiment; what trains goes on from its checkpoints

    def _elsewhere(self, worker: str, error: StorageError) -> None:
        """A machine cannot write, or cannot train: its pack goes elsewhere; if that is so of all, the run ends."""
        self.refused += 1
        if machines() == 1 or self.refused > REFUSALS * machines():
            raise error
        print(f"rdstudy: {error} Its pack goes to another machine.", file=sys.stderr)
        self.queue.lost(worker)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        message = str(trial.get_error() or "")
        if any(words in message for words in MACHINE_LOST):
            self.queue.lost(trial.trial_id)
            return
        given_up = self.queue.crashed(trial.trial_id, out_of_memory=_out_of_memory(message))
        if given_up is None:
            return
        cells = tuple(cell.id for cell in given_up.pack.cells)
        failure = f"{_reason(message)} ({given_up.crashes} times)"
        try:
            self.listener(given_up.of, Progress(0, given_up.of.steps, cells, 0.0, failure=failure))
        except BaseException as error:
            self.error = error
            raise


def _out_of_memory(error: str) -> bool:
    return "Ray killed" in error and "memory" in error


def _reason(error: str) -> str:
    """Ray's account of why a worker died, in one line."""
    if _out_of_memory(error):
        return "Ray ended the worker because the machine ran out of memory: use a smaller resources.pack_size"
    lines = [line.strip() for line in error.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return lines[-1][:300] if lines else "the worker process died"
