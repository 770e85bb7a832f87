"""Rate-distortion studies of variational autoencoders: from a YAML file to a table, and from the table to an answer.

    rdstudy.load_study("studies/full.yaml")          -> Study
    rdstudy.load_measurements("results/full")        -> pandas.DataFrame, a row per cell, step, population, evaluation
    rdstudy.analysis.claims(table)                   -> pandas.DataFrame, what the table says; and other analyses
    rdstudy.load_model("results/full", cell_id)      -> a trained VAE (needs torch)

Nothing heavy is imported before it is asked for: reading a table needs neither torch nor Ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdstudy import analysis
    from rdstudy.storage import load_measurements
    from rdstudy.storage.weights import load_model
    from rdstudy.study import Study, load_study

    __version__: str

__all__ = ["Study", "__version__", "analysis", "load_measurements", "load_model", "load_study"]

_HOMES = {
    "Study": "rdstudy.study",
    "load_study": "rdstudy.study",
    "load_measurements": "rdstudy.storage",
    "load_model": "rdstudy.storage.weights",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("rdstudy")
    if name == "analysis":
        return import_module("rdstudy.analysis")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rdstudy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
