"""Tables of cells: which failed or diverged, and which are missing."""

from __future__ import annotations

import pandas as pd

from rdstudy.analysis import SETTING
from rdstudy.report.analyses import Analyses
from rdstudy.report.formatting import NOTHING
from rdstudy.report.tables import Shown, shown


def trouble_table(analyses: Analyses) -> Shown:
    """Cells that diverged or failed, by their message."""
    return shown(
        "trouble",
        "What failed or diverged",
        "A diverged cell is a result and is not trained again; a failed one is tried again by the next run. Neither "
        "enters a mean.",
        analyses.trouble,
        {
            "status": lambda r: r["status"],
            "cells": lambda r: str(r["n_cells"]),
            "betas": lambda r: r["betas"],
            "seeds": lambda r: r["seeds"],
            "message": lambda r: NOTHING if pd.isna(r["message"]) else str(r["message"]),
            "example": lambda r: r["cell_id"][:8],
        },
        text=("status", "betas", "seeds", "message", "example"),
        names=analyses.names,
    )


def missing_table(analyses: Analyses) -> Shown:
    """Planned cells that are not finished, counted by setting."""
    frame = analyses.missing
    names = [name for name in SETTING if name in frame.columns]
    if frame.empty:
        return Shown("missing", "What is missing", "", [], [], [])
    counted = frame.groupby([*names, "status"], dropna=False, sort=True).size().reset_index(name="n_cells")
    return shown(
        "missing",
        "What is missing",
        "Planned cells that are not finished. The same `rdstudy run` command resumes them.",
        counted,
        {"status": lambda r: r["status"], "cells": lambda r: f"{r['n_cells']:,}"},
        text=("status",),
        names=analyses.names,
    )
