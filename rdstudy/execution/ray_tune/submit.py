"""A study handed over to a cluster: it runs there as a job of Ray's, and the machine that asked may be switched off."""

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
    """What the head's shell runs: the job's submission, which returns at once.

    Args:
        study: for the job's name.
        file: the study file on the head.
        options: more words for `rdstudy run`.
        now: for the job's name, which must be new.
    """
    name = f"{_file_name(study)}-{now:%Y%m%d-%H%M%S}"
    run = ["rdstudy", "run", file, "--address", "auto", *options]
    submit = ["ray", "job", "submit", "--no-wait", "--submission-id", name, "--", *run]
    # The file's name is left unquoted, so that the head's shell knows whose home ~ is.
    return ". ~/.rdstudy_env; " + " ".join(word if word == file else shlex.quote(word) for word in submit)


def submit(cluster_file: Path, study_file: Path, study: Study, options: Sequence[str]) -> str:
    """Copy a study file to a cluster's head and start it there as a job.

    Returns:
        What Ray said.

    Raises:
        UserError: the cluster cannot be reached, or refuses.
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
    except (Exception, SystemExit) as error:  # Ray raises whatever its commands raise, and sometimes ends the process
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(
            f"{cluster_file}: the study could not be handed over: {reason}. Is the cluster up (`ray up -y "
            f"{cluster_file}`)? `rdstudy doctor {cluster_file}` looks for what is wrong"
        ) from error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _file_name(study: Study) -> str:
    return "rdstudy-" + study.name.replace("/", "-")
