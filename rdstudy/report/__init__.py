"""From a folder of results to one page that says what the study shows.

    rdstudy report results/full

Needs neither torch nor Ray nor the machine that trained, and works on a study that is still running.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rdstudy.errors import UserError
from rdstudy.report.analyses import Analyses
from rdstudy.report.html import atomic_write, page
from rdstudy.report.illustrations import claim_illustrations, draw, illustrations, remove_drawn
from rdstudy.report.markdown import document
from rdstudy.report.published import published_illustration
from rdstudy.storage.paths import StoragePath

if TYPE_CHECKING:
    from rdstudy.analysis.search_tables import SearchTables

FORMATS = ("html", "md")


def write_report(
    results: StoragePath,
    table: pd.DataFrame,
    study: Mapping[str, Any],
    *,
    out: Path | None = None,
    formats: Sequence[str] = ("html",),
    compare: Path | None = None,
    planned: pd.DataFrame | None = None,
    search: SearchTables | None = None,
) -> list[Path]:
    """Write the page (`index.html`, `index.md`), and beside it the figures and the analyses of a study.

    Args:
        results: where the study was run into; `sheets/` in it is used where it is there.
        table: what `rdstudy.load_measurements(results)` returns; the study may still be running.
        study: `study.json` as a dictionary; whatever it lacks is left out.
        out: where to write; by default `results / "report"`, or `results/NAME/report` here if the results are in a
            bucket. Files of an earlier report are replaced.
        formats: `html`, `md`, or both.
        compare: a CSV of the paper's curves, read off its figure, to be drawn behind ours.
        search: what the study's search found, if it has one.
        planned: the study's planned cells, one row each with `cell_id` and any of the table's columns; those
            that are not finished are listed as missing.

    Returns:
        The files that were written, the pages first.

    Raises:
        UserError: an unknown format, no finished cell in the table, or curves to compare with that cannot be
        read.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UserError(f"unknown report format {', '.join(unknown) or '(none)'}; known are {', '.join(FORMATS)}")
    if not (table["is_final"].astype(bool) & (table["status"] == "ok")).any():
        raise UserError(
            f"{results}: no cell has finished yet, so there is nothing to report. "
            "`rdstudy status` says how far the study is."
        )
    name = results.resolve().name if isinstance(results, Path) else results.name
    if out is None:
        out = results / "report" if isinstance(results, Path) else Path("results") / name / "report"
    (out / "figures").mkdir(parents=True, exist_ok=True)
    remove_drawn(out / "figures")

    analyses = Analyses.of(table, planned=planned, compare=compare, search=search)
    claims = {claim: draw(shown, out / "figures") for claim, shown in claim_illustrations(analyses).items()}
    overlaid = published_illustration(analyses)
    shown = [*([] if overlaid is None else [overlaid]), *illustrations(analyses, results)]
    drawn = [draw(one, out / "figures") for one in shown]

    pages = []
    if "html" in formats:
        text = page(analyses, study, name=name, claims=claims, drawn=drawn)
        pages.append(atomic_write(out / "index.html", text))
    if "md" in formats:
        text = document(analyses, study, name=name, claims=claims, drawn=drawn)
        pages.append(atomic_write(out / "index.md", text))
    figures = [path for one in (*claims.values(), *drawn) for path in one.files]
    return [*pages, *figures, *analyses.write(out / "analyses")]


__all__ = ["FORMATS", "Analyses", "write_report"]
