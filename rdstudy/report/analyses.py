"""Everything the report says, computed once: each analysis of the table, and what is missing from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rdstudy import analysis
from rdstudy.analysis.replicates import replicates, varying

if TYPE_CHECKING:
    from rdstudy.analysis.search_tables import SearchTables


@dataclass(frozen=True)
class Analyses:
    """The analyses of one table. All but `table`, `planned`, `published`, `search` are written beside the page."""

    table: pd.DataFrame
    planned: pd.DataFrame | None
    published: pd.DataFrame | None

    claims: pd.DataFrame
    claims_summary: pd.DataFrame
    frontier: pd.DataFrame
    shapes: pd.DataFrame
    best_beta: pd.DataFrame
    gaps: pd.DataFrame
    hypervolumes: pd.DataFrame
    information: pd.DataFrame
    saturation: pd.DataFrame
    convergence: pd.DataFrame
    learning: pd.DataFrame
    cells: pd.DataFrame
    trouble: pd.DataFrame
    missing: pd.DataFrame
    published_shapes: pd.DataFrame

    search: SearchTables | None
    search_tried: pd.DataFrame
    search_estimates: pd.DataFrame
    search_importance: pd.DataFrame

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        *,
        planned: pd.DataFrame | None = None,
        compare: Path | None = None,
        search: SearchTables | None = None,
    ) -> Analyses:
        """Run every analysis. Only learning curves and the count of cells need rows that are not final."""
        finals = replicates(table[table["is_final"].astype(bool)])
        seeds = None if planned is None or "seed" not in planned.columns else planned["seed"].nunique()
        claims = analysis.claims(finals, planned_seeds=seeds or None)
        published = None if compare is None else analysis.published_curves(compare)
        awaited = planned
        if planned is not None and search is not None:
            awaited = planned[~planned["cell_id"].isin(search.stopped)]
        return cls(
            table=table,
            planned=planned,
            published=None if published is None else analysis.frontier(published),
            claims=claims,
            claims_summary=analysis.claims_summary(claims),
            frontier=analysis.frontier(finals),
            shapes=analysis.shapes(finals),
            best_beta=analysis.best_beta(finals),
            gaps=analysis.gaps(finals),
            hypervolumes=analysis.hypervolumes(finals),
            information=analysis.information(finals),
            saturation=analysis.saturation(finals),
            convergence=analysis.convergence(finals),
            learning=analysis.learning(table),
            cells=analysis.cells(table),
            trouble=analysis.trouble(table),
            missing=pd.DataFrame() if awaited is None else analysis.missing(table, awaited),
            published_shapes=pd.DataFrame() if published is None else analysis.shapes(published),
            search=search,
            search_tried=pd.DataFrame() if search is None else search.tried,
            search_estimates=pd.DataFrame() if search is None else search.estimates,
            search_importance=pd.DataFrame() if search is None else search.importance,
        )

    @property
    def names(self) -> list[str]:
        """The columns that tell this study's settings apart: every label names these and no others."""
        return varying(self.frontier)

    def write(self, folder: Path) -> list[Path]:
        """Each analysis that has rows, as Parquet for programs and as CSV for people."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name in ANALYSES:
            frame: pd.DataFrame = getattr(self, name)
            for stale in (folder / f"{name}.parquet", folder / f"{name}.csv"):
                stale.unlink(missing_ok=True)
            if frame.empty:
                continue
            frame.to_parquet(folder / f"{name}.parquet", index=False)
            frame.to_csv(folder / f"{name}.csv", index=False)
            paths += [folder / f"{name}.parquet", folder / f"{name}.csv"]
        return paths


ANALYSES = tuple(f.name for f in fields(Analyses) if f.name not in ("table", "planned", "published", "search"))
