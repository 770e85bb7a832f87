"""Rate-distortion studies of variational autoencoders: from a YAML file to a table, and from the table to an answer.

    rdstudy.run("studies/full.yaml")                 -> RunResult; trains what is not finished
    rdstudy.plan("studies/full.yaml")                -> StudyPlan: packs, estimated time and storage
    rdstudy.status("results/full")                   -> StudyStatus: finished, failed and missing cells
    rdstudy.write_report("results/full")             -> the files of a page with figures
    rdstudy.load_study("studies/full.yaml")          -> Study
    rdstudy.load_measurements("results/full")        -> pandas.DataFrame, a row per cell, step, population, evaluation
    rdstudy.analysis.claims(table)                   -> pandas.DataFrame, what the table says; and other analyses
    rdstudy.load_model("results/full", cell_id)      -> a trained VAE (needs torch)

Heavy libraries are imported on first use: reading a table needs neither torch nor Ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdstudy import analysis
    from rdstudy.cli.api import plan, run, status, write_report
    from rdstudy.storage import load_measurements
    from rdstudy.storage.weights import load_model
    from rdstudy.study import Study, load_study

    __version__: str

__all__ = [
    "Study",
    "__version__",
    "analysis",
    "load_measurements",
    "load_model",
    "load_study",
    "plan",
    "run",
    "status",
    "write_report",
]

_HOMES = {
    "Study": "rdstudy.study",
    "load_study": "rdstudy.study",
    "load_measurements": "rdstudy.storage",
    "load_model": "rdstudy.storage.weights",
    "plan": "rdstudy.cli.api",
    "run": "rdstudy.cli.api",
    "status": "rdstudy.cli.api",
    "write_report": "rdstudy.cli.api",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("rdstudy")
    if name == "analysis":
        return import_module("rdstudy.analysis")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rdstudy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
