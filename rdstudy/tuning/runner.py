"""The executor that trains packs on a Ray cluster: one pack, one Tune trial.

Local Ray unless an address is given. Ray's loggers are off, its words stay out of the terminal, and its experiment
files live in a temporary folder that is removed: nothing of Ray's is needed to go on.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
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

from rdstudy.driver import Listener
from rdstudy.errors import UserError
from rdstudy.pack_run import Progress, Workplace
from rdstudy.packs import Pack
from rdstudy.store.files import StorageError
from rdstudy.store.location import absolute
from rdstudy.tuning.trainable import PackTrainable

CRASHES = 10
"""How often a pack whose process died is started again in one run."""

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
    except (OSError, ValueError, RuntimeError) as error:
        where = f"at {address}" if address else "on this machine"
        raise UserError(f"no Ray cluster {where}: {error}. `--inline` trains without Ray.") from error
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


def workers(cpus_per_pack: int, gpus_per_pack: float) -> int:
    """How many packs the connected cluster can train side by side; at least one."""
    resources = ray.cluster_resources()
    by_cpu = resources.get("CPU", 1) // cpus_per_pack
    by_gpu = resources.get("GPU", 0) // gpus_per_pack if gpus_per_pack else by_cpu
    return max(1, int(min(by_cpu, by_gpu)))


def run_on_ray(packs: list[Pack], at: Workplace, listener: Listener) -> None:
    """An executor: every pack a trial, as many side by side as the cluster has room for.

    Raises:
        StorageError: a worker could not write the results.
    """
    trainable = tune.with_parameters(
        PackTrainable,
        dataset=at.dataset,
        study=at.study.model_dump_json(),
        results=absolute(at.results),
        commit=at.commit,
        again=at.again,
    )
    trainable = tune.with_resources(trainable, {"cpu": at.study.resources.cpus_per_pack, "gpu": gpus_per_pack(at)})
    relay = _Relay(packs, listener)
    for attempt in range(CRASHES + 1):
        left = [pack for pack in packs if pack.id not in relay.ended]
        if not left:
            return
        try:
            _fit(trainable, left, relay)
        except Exception as error:
            # Tune itself gives up on some deaths of a worker, such as one that Ray ended for lack of memory while it
            # was starting. What is left is in the results folder, so a new experiment takes it from there.
            if relay.error is not None:
                raise relay.error from None
            if attempt == CRASHES:
                reason = _reason(str(error))
                raise StorageError(f"Ray could not go on: {reason}. Run the same command again.") from error


def _fit(trainable: Any, packs: list[Pack], relay: _Relay) -> None:
    """One Tune experiment over the packs, its files in a temporary folder."""
    files = Path(tempfile.mkdtemp(prefix="rdstudy-ray-"))
    configs = [{"pack": pack.id, "cells": [asdict(cell) for cell in pack.cells]} for pack in packs]
    try:
        tune.Tuner(
            trainable,
            param_space=tune.grid_search(configs),
            tune_config=tune.TuneConfig(
                reuse_actors=True, trial_name_creator=_trial_name, trial_dirname_creator=_trial_name
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=str(files),
                verbose=0,
                callbacks=[relay],
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=CRASHES),
            ),
        ).fit()
    finally:
        shutil.rmtree(files, ignore_errors=True)


def gpus_per_pack(at: Workplace) -> float:
    """GPUs that a pack asks Ray for."""
    asked = at.study.resources.gpus_per_pack
    if asked != "auto":
        return asked
    wants_gpu = at.study.resources.device == "cuda"
    has_gpu = at.study.resources.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    return 1.0 if wants_gpu or has_gpu else 0.0


def _trial_name(trial: Any) -> str:
    return str(trial.config["pack"])


class _Relay(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Passes what trials report to the listener; stops the run at the first error that ends it."""

    def __init__(self, packs: list[Pack], listener: Listener) -> None:
        self.packs, self.listener = {pack.id: pack for pack in packs}, listener
        self.ended: set[str] = set()
        self.error: BaseException | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Tune saves its callbacks, for a resume of its own that is never used: there is nothing to save."""
        return {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        pack = self.packs[trial.config["pack"]]
        try:
            for event in result.pop("events", []):
                self.listener(pack, Progress(**{**event, "cells": tuple(event["cells"])}))
            if "storage_error" in result:
                raise StorageError(result["storage_error"])
        except BaseException as error:
            self.error = error
            raise
        if result.get("done"):
            self.ended.add(pack.id)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        pack = self.packs[trial.config["pack"]]
        self.ended.add(pack.id)
        message = f"{_reason(str(trial.get_error() or ''))} ({trial.num_failures} times in this run)"
        self.listener(pack, Progress(0, pack.steps, tuple(c.id for c in pack.cells), 0.0, failure=message))


def _reason(error: str) -> str:
    """Ray's account of why a worker died, in one line."""
    if "Ray killed" in error and "memory" in error:
        return "Ray ended the worker because the machine ran out of memory: use a smaller resources.pack_size"
    lines = [line.strip() for line in error.splitlines() if line.strip() and not line.startswith((" ", "Traceback"))]
    return lines[-1][:300] if lines else "the worker process died"
