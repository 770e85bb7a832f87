"""TensorBoard's event files, a folder per cell: curves as scalars, settings and final values as hyperparameters.

Written with tensorboardX, which Ray Tune brings along; only looking at them needs TensorBoard itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rdstudy.report.export.runs import Run


def write_tensorboard(runs: Sequence[Run], folder: Path, target: Path, study: str) -> None:
    """Write a folder for each run into `folder`. Tags are `test/distortion_nats`, at the end `final/test/...`."""
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    for run in runs:
        final = {f"final/{name}": value for name, value in run.final.items()}
        settings = {name: value for name, value in run.settings.items() if value is not None}
        with SummaryWriter(str(folder / run.label)) as writer:
            for summary in hparams({"study": study, **settings, "status": run.status}, final):
                writer.file_writer.add_summary(summary)
            if run.message:
                writer.add_text("message", run.message)
            for point in run.points:
                writer.add_scalar(point.name, point.value, point.step, walltime=point.seconds)
            last = run.points[-1] if run.points else None
            for name, value in final.items():
                assert last is not None
                writer.add_scalar(name, value, last.step, walltime=last.seconds)
