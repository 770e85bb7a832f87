"""Where the numbers come from: versions, devices, time, draws; how to read and to cite them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from rdstudy.report.analyses import Analyses
from rdstudy.storage.schema import TEST

PAPER = """\
@inproceedings{bozkurt2021rate,
  title     = {Rate-Regularization and Generalization in {VAEs}},
  author    = {Bozkurt, Alican and Esmaeili, Babak and Tristan, Jean-Baptiste and
               Brooks, Dana H. and Dy, Jennifer G. and van de Meent, Jan-Willem},
  booktitle = {Proceedings of the 24th International Conference on Artificial Intelligence and Statistics},
  series    = {PMLR},
  volume    = {130},
  pages     = {3880--3888},
  year      = {2021}
}"""


PAPER_URL = "https://proceedings.mlr.press/v130/bozkurt21a.html"


def tool() -> str:
    """BibTeX of the version of rdstudy that wrote this."""
    return f"""\
@software{{rdstudy,
  title   = {{rdstudy: distributed rate-distortion studies of variational autoencoders}},
  author  = {{{{The rdstudy developers}}}},
  version = {{{_version()}}}
}}"""


def _version() -> str:
    try:
        return version("rdstudy")
    except PackageNotFoundError:
        return "unknown"


def loading() -> str:
    """How to read the table and the analyses in pandas, from the folder of the page."""
    return """\
import pandas as pd

table = pd.read_parquet("../measurements")       # one row per cell, step, population and evaluation_id
final = table[table.is_final & (table.status == "ok")]
final.groupby(["population", "depth", "beta"])[["rate_nats", "distortion_nats"]].mean()

points = pd.read_parquet("analyses/frontier.parquet")

import rdstudy                                   # or analyse again; needs neither torch nor Ray
rdstudy.analysis.claims(rdstudy.load_measurements(".."))"""


def facts(analyses: Analyses, study: Mapping[str, object]) -> list[tuple[str, str]]:
    """Versions, devices, times and effort, as name and value; those that the table lacks are left out."""
    table = analyses.table
    finals = table[table["is_final"].astype(bool)]
    measured = finals[finals["population"] == TEST]
    listed = [
        ("rdstudy", _listed(finals, "rdstudy_version")),
        ("PyTorch", _listed(finals, "torch_version")),
        ("repository", _commits(finals)),
        ("device", _listed(finals, "device")),
        ("host", _listed(finals, "host")),
        ("matrix products", _listed(finals, "precision")),
        ("training time, all packs", _hours(finals)),
        ("last measured", _latest(finals)),
        ("test examples", _listed(measured, "n_examples")),
        ("draws for the mutual information", _listed(measured, "mi_draws")),
        ("importance samples for the NLL", _listed(measured, "nll_draws")),
        ("examples for the NLL", _listed(measured, "nll_examples")),
        ("NLL: examples with unreliable weights", _mean_share(measured, "nll_unreliable_share")),
        ("data fingerprint", str(study.get("data_fingerprint", ""))[:16]),
    ]
    return [(name, value) for name, value in listed if value]


_MAX_LISTED = 4


def _listed(frame: pd.DataFrame, column: str) -> str:
    if column not in frame.columns:
        return ""
    counts = frame[column].dropna().value_counts()
    values = [f"{int(v):,}" if isinstance(v, (int, float)) else str(v) for v in counts.index[:_MAX_LISTED]]
    more = len(counts) - _MAX_LISTED
    return ", ".join(values) + (f" and {more} more" if more > 0 else "")


def _commits(frame: pd.DataFrame) -> str:
    if "git_commit" not in frame.columns:
        return ""
    known = frame[["git_commit", "git_dirty"]].dropna(subset=["git_commit"]).drop_duplicates()
    words = [
        f"{commit[:10]}{' with uncommitted changes' if dirty is True or dirty == 1 else ''}"
        for commit, dirty in zip(known["git_commit"], known["git_dirty"].fillna(False), strict=True)
    ]
    more = len(words) - _MAX_LISTED
    return ", ".join(words[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _hours(frame: pd.DataFrame) -> str:
    if "seconds" not in frame.columns or frame["seconds"].isna().all():
        return ""
    seconds = float(frame.groupby(frame["pack_id"].fillna(frame["cell_id"]))["seconds"].max().sum())
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _latest(frame: pd.DataFrame) -> str:
    if "finished_at" not in frame.columns or frame["finished_at"].isna().all():
        return ""
    return f"{frame['finished_at'].max():%Y-%m-%d %H:%M} UTC"


def _mean_share(frame: pd.DataFrame, column: str) -> str:
    if column not in frame.columns or frame[column].isna().all():
        return ""
    share = float(frame[column].astype(float).mean())
    return f"{share:.0%} on average (Pareto tail index above min(1 - 1 / log10 draws, 0.7))"
