"""Submits a study to a cluster as a Ray job, so that this machine may be switched off."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Sequence
from pathlib import Path

from ray.autoscaler import sdk

from rdstudy.errors import UserError
from rdstudy.execution.ray_tune.cluster_config import load_cluster
from rdstudy.study import Study


def job_command(study: Study, file: str, options: Sequence[str], *, now: dt.datetime) -> str:
    """The command for the head node's shell, which submits the job and returns at once.

    Args:
        study: gives the job's name.
        file: the study file on the head node.
        options: further options of `rdstudy run`.
        now: makes the job's name unique.
    """
    name = f"{_file_name(study)}-{now:%Y%m%d-%H%M%S}"
    run = ["rdstudy", "run", file, "--address", "auto", *options]
    submit = ["ray", "job", "submit", "--no-wait", "--submission-id", name, "--", *run]
    # The file's name is not quoted, so that the head node's shell expands ~.
    return ". ~/.rdstudy_env; " + " ".join(word if word == file else shlex.quote(word) for word in submit)


def submit(cluster_file: Path, study_file: Path, study: Study, options: Sequence[str]) -> str:
    """Copy a study file to a cluster's head node and start it there as a job.

    Returns:
        Ray's output.

    Raises:
        UserError: the cluster cannot be reached, or Ray reports an error.
    """
    load_cluster(cluster_file)
    there = f"~/{_file_name(study)}.yaml"
    try:
        sdk.rsync(str(cluster_file), source=str(study_file.resolve()), target=there, down=False, ip_address=None)
        said = sdk.run_on_cluster(
            str(cluster_file),
            cmd=job_command(study, there, options, now=dt.datetime.now(dt.UTC)),
            with_output=True,
        )
    except (Exception, SystemExit) as error:  # Ray raises the errors of its commands, and sometimes exits
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(
            f"{cluster_file}: the study could not be submitted: {reason}. Is the cluster up (`ray up -y "
            f"{cluster_file}`)? `rdstudy doctor {cluster_file}` checks the file"
        ) from error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _file_name(study: Study) -> str:
    return "rdstudy-" + study.name.replace("/", "-")
