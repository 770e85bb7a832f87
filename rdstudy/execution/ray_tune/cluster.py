"""Connects to a Ray cluster, or starts one on this machine. Ray's own log messages are not shown."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import ray

from rdstudy.data.limits import cores
from rdstudy.data.temporary import SHORT, temporary_folder
from rdstudy.errors import UserError
from rdstudy.execution.ray_tune.controller import environment, in_charge

SOCKET, MAX_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_1000000/sockets/plasma_store", 103
"""The longest name that Ray appends to the temporary folder, and the longest that macOS allows (Linux: 107)."""


@contextmanager
def cluster(address: str | None, *, object_store_bytes: int, preload: bool = False) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine.

    Args:
        address: `auto`, `host:port`, or None for local Ray (RAY_ADDRESS is honoured).
        object_store_bytes: memory for the data set; only for local Ray.
        preload: whether Ray's workers (one per core) import PyTorch while Ray starts; only for local Ray.

    Raises:
        UserError: there is no cluster at the address.
    """
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # failures reach the user through the listener
    quiet: dict[str, object] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if address:
        _check_reachable(address)
    with nullcontext() if address else _short_folder() as files:
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                size = max(256 * 2**20, int(1.5 * object_store_bytes) + 64 * 2**20)
                quiet |= {"include_dashboard": False, "num_cpus": cores(), "object_store_memory": size}
                modules = {"RAY_preload_python_modules": "torch,ray.tune"} if preload else {}
                with environment(**modules):
                    ray.init(address="local", _temp_dir=None if files is None else str(files), **quiet)
        except Exception as error:  # a plain Exception if a node takes too long to start
            where = f"at {address}" if address else "on this machine"
            raise UserError(f"no Ray cluster {where}: {error}. Train without Ray: --no-ray.") from error
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL + 1)  # ray.init sets its own level on "ray"
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray's own handlers end the process without a message
        try:
            with in_charge(own_machine=not address):
                yield
        finally:
            ray.shutdown()


def _short_folder() -> AbstractContextManager[Path | None]:
    """A folder for Ray's sockets if the temporary folder's name is too long for them; else None, Ray's default.

    Temporary folders of batch systems often have long names, and Ray would not start.
    """
    if len(os.fsencode(tempfile.gettempdir())) + len(SOCKET) <= MAX_SOCKET:
        return nullcontext()
    return temporary_folder("ray", parent=SHORT)


def _check_reachable(address: str) -> None:
    """Fail at once where Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if address.startswith("ray://") or not (port.isascii() and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster at {address}: {error.strerror or error}. check it with `ray status` on its head "
            "node; without --address, Ray starts on this machine."
        ) from error
