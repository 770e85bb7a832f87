"""Everything that the report shows, computed once: each analysis of the table, and the cells that are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from rdstudy import analysis
from rdstudy.analysis.claims import MAX_UNRELIABLE_SHARE
from rdstudy.analysis.replicates import SEEDS, SETTING, final_measurements, replicates, varying
from rdstudy.report.text import clean_table

if TYPE_CHECKING:
    from rdstudy.analysis.search_tables import SearchTables


@dataclass(frozen=True)
class Analyses:
    """The analyses of one table. All but `table planned published units search` are written beside the page.

    units: of each data set, what its replicates are, `seeds` or `data seeds`.
    """

    table: pd.DataFrame
    planned: pd.DataFrame | None
    published: pd.DataFrame | None
    units: Mapping[str, str]

    claims: pd.DataFrame
    claims_summary: pd.DataFrame
    capacity: pd.DataFrame
    priors: pd.DataFrame
    frontier: pd.DataFrame
    shapes: pd.DataFrame
    best_beta: pd.DataFrame
    gaps: pd.DataFrame
    gap_parts: pd.DataFrame
    gap_changes: pd.DataFrame
    decoder_curves: pd.DataFrame
    hypervolumes: pd.DataFrame
    information: pd.DataFrame
    saturation: pd.DataFrame
    convergence: pd.DataFrame
    learning: pd.DataFrame
    cells: pd.DataFrame
    trouble: pd.DataFrame
    missing: pd.DataFrame
    published_predictions: pd.DataFrame
    published_conditions: pd.DataFrame
    published_distances: pd.DataFrame

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
        """Run every analysis. Only learning curves and the count of cells need rows that are not final.

        Control characters in texts of the table are removed.
        """
        table = clean_table(table)
        finals = replicates(table[table["is_final"].astype(bool)])
        claims = analysis.claims(finals, planned_seeds=_planned_seeds(planned))
        published = None if compare is None else analysis.published_curves(compare)

        def against(compared: Callable[..., pd.DataFrame]) -> pd.DataFrame:
            return pd.DataFrame() if published is None else compared(finals, published)

        awaited = planned
        if planned is not None and search is not None:
            awaited = planned[~planned["cell_id"].isin(search.stopped)]
        return cls(
            table=table,
            planned=planned,
            published=None if published is None else analysis.frontier(published),
            units={str(setting.setting["dataset"]): setting.unit for setting in finals},
            claims=claims,
            claims_summary=analysis.claims_summary(claims),
            capacity=analysis.capacity(finals, planned_seeds=_planned_seeds(planned)),
            priors=analysis.priors(table[table["is_final"].astype(bool)], planned_seeds=_planned_seeds(planned)),
            frontier=with_reliability(analysis.frontier(finals), table),
            shapes=analysis.shapes(finals),
            best_beta=analysis.best_beta(finals),
            gaps=analysis.gaps(finals),
            gap_parts=analysis.gap_parts(finals),
            gap_changes=analysis.gap_changes(finals, planned_seeds=_planned_seeds(planned)),
            decoder_curves=analysis.decoder_curves(table),
            hypervolumes=analysis.hypervolumes(finals),
            information=analysis.information(finals),
            saturation=analysis.saturation(finals),
            convergence=analysis.convergence(finals),
            learning=analysis.learning(table),
            cells=analysis.cells(table),
            trouble=analysis.trouble(table),
            missing=pd.DataFrame() if awaited is None else analysis.missing(table, awaited),
            published_predictions=against(analysis.published_predictions),
            published_conditions=against(analysis.published_conditions),
            published_distances=against(analysis.published_distances),
            search=search,
            search_tried=pd.DataFrame() if search is None else search.tried,
            search_estimates=pd.DataFrame() if search is None else search.estimates,
            search_importance=pd.DataFrame() if search is None else search.importance,
        )

    @property
    def names(self) -> list[str]:
        """The columns that tell this study's settings apart: every label names these and no others."""
        return varying(self.frontier)

    @property
    def unit(self) -> str:
        """What is counted as a replicate: `seeds`, `data seeds`, or `replicates` where the data sets differ in that."""
        found = set(self.units.values())
        return found.pop() if len(found) == 1 else "replicates" if found else SEEDS

    @property
    def with_rows(self) -> list[str]:
        """The analyses that have rows, and so are written."""
        return [name for name in ANALYSES if not getattr(self, name).empty]

    def write(self, folder: Path) -> list[Path]:
        """Each analysis that has rows, as Parquet for programs and as CSV for people."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name in ANALYSES:
            for stale in (folder / f"{name}.parquet", folder / f"{name}.csv"):
                stale.unlink(missing_ok=True)
        for name in self.with_rows:
            frame: pd.DataFrame = getattr(self, name)
            frame.to_parquet(folder / f"{name}.parquet", index=False)
            frame.to_csv(folder / f"{name}.csv", index=False)
            paths += [folder / f"{name}.parquet", folder / f"{name}.csv"]
        return paths


def with_reliability(frontier: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The frontier with `nll_unreliable`: whether too many of a point's examples have unreliable importance weights.

    The share is the mean over the point's seeds.
    """
    rows = final_measurements(table)
    names = [*SETTING, "population", "beta"]
    shares = rows.groupby(names, dropna=False, sort=False)["nll_unreliable_share"].mean()
    by_point = {_key(key): value for key, value in shares.items()}
    points = frontier[names].itertuples(index=False, name=None)
    marked = [by_point.get(_key(point), 0.0) > MAX_UNRELIABLE_SHARE for point in points]
    return frontier.assign(nll_unreliable=pd.Series(marked, index=frontier.index, dtype=bool))


def _planned_seeds(planned: pd.DataFrame | None) -> int | None:
    """Planned replicates of a setting: data seeds, where there are several, else seeds."""
    for name, least in (("data_seed", 2), ("seed", 1)):
        if planned is not None and name in planned.columns and planned[name].nunique() >= least:
            return int(planned[name].nunique())
    return None


def _key(values: object) -> tuple[object, ...]:
    assert isinstance(values, tuple)
    return tuple(None if pd.isna(value) else value for value in values)


ANALYSES = tuple(f.name for f in fields(Analyses) if f.name not in ("table", "planned", "published", "units", "search"))
