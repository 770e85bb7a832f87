"""Which rows count: from the table of measurements to one matrix [seeds, betas] per quantity.

A *setting* is everything that determines a cell but its beta, its seed and its data seed. A setting has a curve over
beta, and every seed is a replicate of that whole curve. Where a data set has several data seeds, they are the
replicates instead: the cells of one data seed share their images, so their seeds are averaged and count once, and
intervals say what other data would give. Two betas, networks or populations are then compared within a seed of a data
seed, and the differences are averaged: a seed that lacks one of the two does not enter. Rows of cells that diverged,
failed or were stopped early are left out here and counted by `analysis.cell_status`; a value that is null or not
finite stays NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from rdstudy.errors import UserError
from rdstudy.storage.schema import OK, TEST, TRAIN, VALIDATION
from rdstudy.study.axes import AXES
from rdstudy.study.measures import measure_classes

SETTING = tuple(name for name, axis in AXES.items() if axis.setting)
"""Columns that name a setting. `steps` is the last step of the cell: its training budget."""

CRITERIA = ("distortion_nats", "negative_elbo_nats", "nll_nats", "refit_distortion_nats")
"""What a curve may be judged by, the last the decoder's alone. Nats per example; less is better in all."""

QUANTITIES = (
    "rate_nats",
    *CRITERIA,
    "mi_nats",
    "mi_ceiling_nats",
    "mi_share",
    "mi_lower_nats",
    "mi_upper_nats",
    "marginal_kl_nats",
    "marginal_kl_lower_nats",
    "marginal_kl_upper_nats",
    "active_units",
    "nll_unreliable_share",
    "refit_rate_nats",
    "refit_change_nats",
    "inference_gap_nats",
    "inference_gap_se",
    "ex_post_one_example_nats",
)


def _estimated_together() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Of each measure the columns that tell how well it was estimated, the first whether it was, and its numbers."""
    for measure in measure_classes().values():
        if measure.effort:
            numbers = (c.name for c in measure.columns if c.type in (int, float) and c.name not in measure.effort)
            yield measure.effort, tuple(numbers)


_ESTIMATED_TOGETHER = tuple(_estimated_together())
_NLL = next(columns for effort, columns in _ESTIMATED_TOGETHER if "nll_draws" in effort)


SEEDS, DATA_SEEDS = "seeds", "data seeds"


@dataclass(frozen=True)
class Replicates:
    """One setting: its betas, largest first (the rate rises along them), its replicates, what was measured.

    Attributes:
        setting: its columns.
        betas: from the largest to the smallest.
        seeds: numbers of the replicates: seeds, or data seeds where the data set has several.
        values: by population and quantity.
        unit: what the replicates are, `seeds` or `data seeds`.
        parts: `values` by the seeds of each data seed, before they are averaged; the same seeds in every setting of a
            data set. Empty where seeds are the replicates.
    """

    setting: Mapping[str, Any]
    betas: Float[np.ndarray, " betas"]
    seeds: Int[np.ndarray, " seeds"]
    values: Mapping[tuple[str, str], Float[np.ndarray, "seeds betas"]]
    unit: str = SEEDS
    parts: Mapping[tuple[str, str], Float[np.ndarray, "seeds cells betas"]] = field(default_factory=dict)

    def of(self, population: str, quantity: str) -> Float[np.ndarray, "seeds betas"]:
        """One quantity on one population; all NaN where it was never measured."""
        found = self.values.get((population, quantity))
        return np.full((len(self.seeds), len(self.betas)), np.nan) if found is None else found

    def cells(self, population: str, quantity: str) -> Float[np.ndarray, "seeds cells betas"]:
        """One quantity by the cells of each replicate, among which differences are taken before `averaged`."""
        found = self.parts.get((population, quantity))
        if found is None and self.parts:
            return np.full(next(iter(self.parts.values())).shape, np.nan)
        return self.of(population, quantity)[:, None] if found is None else found

    def measured(self, population: str, quantity: str) -> bool:
        return bool(np.isfinite(self.of(population, quantity)).any())


def with_setting_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every setting column there; one that is missing is null.

    `steps` is the step of the row, so give it rows that are final.
    """
    absent = {name: None for name in SETTING if name not in table.columns and name != "steps"}
    steps = table["step"] if "step" in table.columns else None
    return table.assign(**absent, steps=table.get("steps", steps))


def final_measurements(table: pd.DataFrame) -> pd.DataFrame:
    """One row per finished cell and population: what was measured at the end of its training.

    A cell may have been measured more than once (rows with another `evaluation_id`). Each quantity is then
    taken from the row that knows it best: the most examples for distortion, rate and ELBO; the most
    `mi_examples`, then `mi_draws` for the mutual information, the marginal KL and the active units; the most
    `mi_bounds_examples`, then `mi_bounds_components` for the bounds of the first two; an adaptive proposal
    (`nll_components`), then the most `nll_draws`, then `nll_examples` for the NLL; between equals, the latest.
    But cells are compared, and an NLL falls with its draws: so first comes what the most cells of a setting have, and
    while only some of them are measured better, the others' effort counts. An NLL by draws from the encoder is left
    out where others of its setting are by an adaptive proposal.

    Args:
        table: rows as `rdstudy.load_measurements` gives them, in any order.

    Returns:
        The setting's columns, `cell_id beta seed data_seed population`, and the quantities of this module as float64,
        with `negative_elbo_nats = D + R`, `mi_share = I / ceiling` and `ex_post_one_example_nats` added: what a single
        example of a prior fitted ex post adds to the mean rate.
    """
    if "population" not in table.columns or "beta" not in table.columns:
        raise UserError(
            f"the table has the columns {list(table.columns)}; an analysis needs at least `beta`, "
            "`population` and `distortion_nats`. Give it what `rdstudy.load_measurements(results)` returns."
        )
    finished = pd.Series(True, index=table.index)
    if "is_final" in table.columns:
        finished &= table["is_final"].astype(bool)
    if "status" in table.columns:
        finished &= table["status"] == OK
    rows = with_setting_columns(table[finished]).reset_index(drop=True)
    for name in ("seed", "data_seed"):
        rows[name] = rows[name].fillna(0) if name in rows.columns else 0
    if "cell_id" not in rows.columns:
        rows["cell_id"] = rows.index.astype(str)

    names = dict.fromkeys(name for effort, values in _ESTIMATED_TOGETHER for name in (*effort, *values))
    for name in names:
        rows[name] = _numbers(rows.get(name), len(rows))
    if rows.duplicated(["cell_id", "population"]).any():
        rows = _best_known(rows)
    rows = _of_one_proposal(rows)
    negative_elbo = -rows["elbo_nats"]
    rows["negative_elbo_nats"] = negative_elbo.where(negative_elbo.notna(), rows["distortion_nats"] + rows["rate_nats"])
    rows["mi_share"] = rows["mi_nats"] / rows["mi_ceiling_nats"].where(rows["mi_ceiling_nats"] > 0)
    rows["ex_post_one_example_nats"] = rows["ex_post_worst_nats"] / _numbers(rows.get("n_examples"), len(rows))
    kept = [*SETTING, "cell_id", "beta", "seed", "data_seed", "population", *QUANTITIES, "nll_ess"]
    return rows[kept].sort_values(["cell_id", "population"], ignore_index=True)


def _numbers(column: pd.Series | None, length: int) -> np.ndarray:
    if column is None:
        return np.full(length, np.nan)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _best_known(rows: pd.DataFrame) -> pd.DataFrame:
    key = ["cell_id", "population"]
    latest = [name for name in ("finished_at", "evaluation_id") if name in rows.columns]
    chosen = rows.drop_duplicates(key).set_index(key)
    for effort, columns in _ESTIMATED_TOGETHER:
        made = rows[rows[columns[0]].notna()]
        alike = made.groupby([*SETTING, "population", *effort], dropna=False)["cell_id"].transform("nunique")
        best = (
            made.assign(alike=alike)
            .sort_values(["alike", *effort, *latest], na_position="first", kind="stable")
            .drop_duplicates(key, keep="last")
            .set_index(key)
        )
        for name in columns:
            chosen[name] = best[name].reindex(chosen.index)
    return chosen.reset_index()


def _of_one_proposal(rows: pd.DataFrame) -> pd.DataFrame:
    """NLLs by draws from the encoder left out where others of their setting are by an adaptive proposal.

    At beta < 1 the former are tens of nats higher, whatever the model.
    """
    fitted = rows["nll_components"].notna()
    others = fitted.groupby([rows[name] for name in (*SETTING, "population")], dropna=False).transform("any")
    return rows.assign(**{name: rows[name].where(fitted | ~others) for name in _NLL})


def replicates(table: pd.DataFrame | Sequence[Replicates]) -> Sequence[Replicates]:
    """The table's settings, in a fixed order, whatever the order of its rows.

    Every analysis takes either the table or what this returns, so that several can share the work.

    Two cells of one setting that share beta and both seeds (the same study run under two names, say) are averaged.
    Where some cells of a data set have validation examples, those without are left out: their test set holds them.
    """
    if not isinstance(table, pd.DataFrame):
        return table
    rows = final_measurements(table)
    rows = rows[np.isfinite(rows["beta"].to_numpy(dtype=np.float64))]
    validated = rows.groupby("cell_id")["population"].transform(lambda names: (names == VALIDATION).any())
    rows = rows[validated | ~validated.groupby(rows["dataset"], dropna=False).transform("any")]
    several = rows.groupby("dataset", dropna=False)["data_seed"].transform("nunique") > 1
    settings = []
    for values, group in rows.groupby(list(SETTING), dropna=False, sort=True):
        betas = np.unique(group["beta"].to_numpy(dtype=np.float64))[::-1]
        seeds, data_seeds = (np.unique(group[name].to_numpy(dtype=np.int64)) for name in ("seed", "data_seed"))
        setting = dict(zip(SETTING, values, strict=True))
        if several[group.index[0]]:
            same = rows.loc[rows["dataset"].isin([setting["dataset"]]), "seed"]
            parts = dict(_matrices(group, betas, np.unique(same.to_numpy(dtype=np.int64)), data_seeds))
            means = {key: averaged(cells) for key, cells in parts.items()}
            settings.append(Replicates(setting, betas, data_seeds, means, DATA_SEEDS, parts))
        else:
            matrices = _matrices(group, betas, seeds, data_seeds)
            settings.append(Replicates(setting, betas, seeds, {key: cells[0] for key, cells in matrices}))
    return settings


def averaged(values: Float[np.ndarray, "seeds cells ..."]) -> Float[np.ndarray, "seeds ..."]:
    """Mean over the cells of each replicate that have a value; NaN where none has."""
    there = np.isfinite(values)
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    found: np.ndarray = np.divide(total, count, where=count > 0, out=np.full_like(total, np.nan))
    return found


def _matrices(
    group: pd.DataFrame, betas: np.ndarray, seeds: np.ndarray, data_seeds: np.ndarray
) -> Iterable[tuple[tuple[str, str], Float[np.ndarray, "data_seeds seeds betas"]]]:
    for population, rows in group.groupby("population"):
        at = (
            np.searchsorted(data_seeds, rows["data_seed"].to_numpy(dtype=np.int64)),
            np.searchsorted(seeds, rows["seed"].to_numpy(dtype=np.int64)),
            np.searchsorted(-betas, -rows["beta"].to_numpy(dtype=np.float64)),
        )
        for quantity in QUANTITIES:
            numbers = rows[quantity].to_numpy(dtype=np.float64)
            there = np.isfinite(numbers)
            if not there.any():
                continue
            total = np.zeros((len(data_seeds), len(seeds), len(betas)))
            count = np.zeros_like(total)
            measured = tuple(axis[there] for axis in at)
            np.add.at(total, measured, numbers[there])
            np.add.at(count, measured, 1)
            yield (
                (str(population), quantity),
                np.divide(total, count, where=count > 0, out=np.full_like(total, np.nan)),
            )


def varying(frame: pd.DataFrame, columns: Sequence[str] = SETTING) -> list[str]:
    """Which of the setting's columns take more than one value in the frame.

    `steps` is left out where it only follows from the other columns, as it does when the budget is given in
    epochs.
    """
    there = [name for name in columns if name in frame.columns and frame[name].nunique(dropna=False) > 1]
    others = [name for name in there if name != "steps"]
    if "steps" in there and others and frame.groupby(others, dropna=False)["steps"].nunique(dropna=False).max() == 1:
        return others
    return there


def setting_label(setting: Mapping[str, Any] | pd.Series, columns: Sequence[str] = SETTING) -> str:
    """The setting in words, naming only the given columns: "checkerboard, 8,192 examples, depth 3"."""
    words = []
    for name in columns:
        value = setting[name]
        if value is None or pd.isna(value):
            continue
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            value = int(value)
        words.append(AXES[name].label.format(value).replace("_", " "))
    return ", ".join(words)


__all__ = [
    "CRITERIA",
    "QUANTITIES",
    "SETTING",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "Replicates",
    "averaged",
    "final_measurements",
    "replicates",
    "setting_label",
    "varying",
    "with_setting_columns",
]
