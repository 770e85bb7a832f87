"""Spot check of a results folder: trains some finished cells again and compares them with the table.

    finished cells -> random sample -> trained again from the study -> equal rows?

On the machine that made a table all values have the same bits. Another processor or PyTorch version sums in another
order. For some hundred steps the difference stays a rounding error; then the two runs diverge and end as far apart as
two seeds do (the same study under AVX-512 and AVX2: relative differences below 1e-7 at step 35, and 0.1 to 5 nats at
step 4,000). So the first steps are compared within float32 rounding, and later ones within the spread between the
study's own seeds. A tighter bound would reject honest tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from rdstudy.data.temporary import temporary_folder
from rdstudy.errors import UserError
from rdstudy.execution.budget import Budget
from rdstudy.execution.device import pick_device
from rdstudy.execution.executors import run_in_process
from rdstudy.execution.protocols import RunContext
from rdstudy.execution.results_folder import TableWriter, open_results
from rdstudy.execution.status import study_status
from rdstudy.models import parts
from rdstudy.storage.lists import column_of, spread_lists
from rdstudy.storage.paths import StoragePath, list_files
from rdstudy.storage.study_record import load_study_record, recorded_fingerprints, recorded_study
from rdstudy.storage.table import load_measurements
from rdstudy.storage.weights import checked_weights, weights_checksums
from rdstudy.study import Cell, Study
from rdstudy.study.data import load_data
from rdstudy.study.measures import measure_classes, measured_columns
from rdstudy.study.registry import PARTS, may_import, require_permission
from rdstudy.training.packs import Pack, plan_packs

Verdict = Literal["same bits", "within rounding", "different"]
SAME: Verdict = "same bits"
ROUNDED: Verdict = "within rounding"
CHANGED: Verdict = "different"

COUNTED = ("n_examples", *(column.name for column in measured_columns() if column.exact), "status", "is_final")
"""Columns that do not depend on rounding."""
MEASURED = frozenset(column.name for column in measured_columns() if not column.exact)
LATER = frozenset(c.name for each in measure_classes().values() for c in each.columns if each.added or c.added)
"""Columns that tables of earlier versions lack."""

NOISE = 1e-6
"""Relative difference up to which values count as equal on any machine."""
FIRST_STEPS, FIRST_NOISE = 50, 1e-4
"""Up to this step, relative differences between processors stay those of float32 sums (seen: up to 1e-7)."""
SPREADS = 6.0
"""Allowed difference between processors, in standard deviations between seeds (seen with three seeds: up to 3.1)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that differs by more than rounding allows."""

    step: int
    population: str
    column: str
    recorded: Any
    again: Any
    allowed: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, {self.population}: {self.column} is {self.recorded} in the table and "
            f"{self.again} when trained again" + (f" (allowed: {self.allowed:.2g})" if self.allowed else "")
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """The comparison of one cell.

    Attributes:
        cell: what was trained again.
        values: number of values compared.
        equal: number of values with the same bits.
        largest: largest difference in distortion or rate, nats.
        unjudged: values that differ but cannot be judged, because the study has one seed only.
        wrong: values that differ by more than rounding allows.
    """

    cell: Cell
    values: int
    equal: int
    largest: float
    unjudged: int
    wrong: tuple[Difference, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether the cell has the same bits, differs by rounding, or is different."""
        if self.wrong:
            return CHANGED
        return SAME if self.equal == self.values else ROUNDED


@dataclass(frozen=True)
class Recorded:
    """A results folder: its study, the study's cells by id, and the ids of the finished ones."""

    folder: StoragePath
    study: Study
    cells: Mapping[str, Cell]
    finished: frozenset[str]

    @staticmethod
    def within(place: StoragePath, overrides: Sequence[str] = ()) -> list[Recorded]:
        """A results folder, or all results folders within a folder.

        Args:
            place: either of these.
            overrides: settings such as `dataset.root=/data`, for every study they are valid for.

        Raises:
            UserError: there is no results folder, or an override is valid for none.
        """
        folders = [place] if (place / "study.json").exists() else []
        if not folders and place.is_dir():
            folders = sorted(path.parent for path in place.glob("*/study.json"))
        if not folders:
            raise UserError(f"{place}: neither a results folder nor a folder of some: no study.json or */study.json")
        refusals: list[UserError] = []
        found = []
        for folder in folders:
            try:
                study = recorded_study(folder, overrides=overrides)
            except UserError as refusal:
                if not overrides:
                    raise
                refusals.append(refusal)
                study = recorded_study(folder)
            now = study_status(study, folder)
            found.append(Recorded(folder, study, now.cells, frozenset(now.finished)))
        if len(refusals) == len(folders):
            raise refusals[0]
        return found


def draw_cells(recorded: Sequence[Recorded], n: int, seed: int) -> list[tuple[Recorded, list[Cell]]]:
    """Choose finished cells at random, without replacement, from all folders.

    Args:
        recorded: results folders.
        n: how many cells.
        seed: of the draw.

    Raises:
        UserError: there are fewer finished cells.
    """
    finished = [(k, cell_id) for k, one in enumerate(recorded) for cell_id in sorted(one.finished)]
    if not 1 <= n <= len(finished):
        raise UserError(f"--cells: expected 1 to {len(finished)}, the number of finished cells; found {n}")
    drawn = [finished[i] for i in sorted(np.random.default_rng(seed).choice(len(finished), n, replace=False))]
    chosen = [(one, [one.cells[i] for at, i in drawn if at == k]) for k, one in enumerate(recorded)]
    return [(one, cells) for one, cells in chosen if cells]


def contradictions(recorded: Recorded) -> list[str]:
    """Contradictions within a table, found without training.

    Checked: a row's settings belong to its cell_id; -ELBO = D + R; marginal KL = R - I, where R has a closed form and
    the prior's code may be imported; each bound of it is R less the other bound of I; I is at most its ceiling; stored
    weights are those that the table names.
    """
    table = load_measurements(recorded.folder)
    table["numerics"] = table["numerics"].fillna(1)  # tables made before there was the column
    found = []
    for cell_id, rows in table.groupby("cell_id", observed=True):
        cell = recorded.cells.get(str(cell_id))
        if cell is None:
            continue  # of another study in the same folder
        for name in set(asdict(cell)) & set(rows.columns):
            other = rows.loc[rows[name] != getattr(cell, name), name]
            if len(other):
                found.append(f"cell {cell_id}: {name} is {getattr(cell, name)} by its id, in the table {other.iloc[0]}")
    d, r, i = (table[name].astype(float) for name in ("distortion_nats", "rate_nats", "mi_nats"))
    least, most = (table[name].astype(float) for name in ("mi_lower_nats", "mi_upper_nats"))
    kl_least, kl_most = (table[f"marginal_kl_{name}_nats"].astype(float) for name in ("lower", "upper"))
    laws = {
        "elbo_nats = -(distortion_nats + rate_nats)": table["elbo_nats"] + d + r,
        # Of a subsample, R is that of the subsample, which is no column. By draws, each of the three has its own error.
        "marginal_kl_nats = rate_nats - mi_nats": (table["marginal_kl_nats"] - (r - i)).where(
            (table["mi_examples"] == table["n_examples"]) & table["prior"].map(_has_closed_rate).astype(bool)
        ),
        "mi_nats <= mi_ceiling_nats": (i - table["mi_ceiling_nats"]).clip(lower=0),
        "mi_lower_nats <= log(n_examples)": (least - np.log(table["n_examples"].astype(float))).clip(lower=0),
        "marginal_kl_upper_nats = rate_nats - mi_lower_nats": kl_most - (r - least),
        "marginal_kl_lower_nats = rate_nats - mi_upper_nats": kl_least - (r - most),
    }
    for law, excess in laws.items():
        for row in table[excess.abs() > NOISE * (1 + d.abs() + r.abs())].itertuples():
            found.append(f"cell {row.cell_id}, step {row.step}, {row.population}: not {law}")
    return found + _wrong_weights(recorded)


def _wrong_weights(recorded: Recorded) -> list[str]:
    """Files of weights that are another cell's, damaged or changed since training."""
    checksums, found = weights_checksums(recorded.folder), []
    stored = {name.removesuffix(".safetensors") for name in list_files(recorded.folder / "models", ".safetensors")}
    for cell_id in sorted(recorded.finished & stored):
        try:
            checked_weights(recorded.folder, cell_id, checksums.get(cell_id))
        except UserError as error:
            found.append(str(error))
    return found


def _has_closed_rate(prior: str) -> bool:
    return may_import(prior) and parts.prior(prior).closed_form


def train_again(
    recorded: Recorded, cells: Sequence[Cell], display: Callable[[list[Pack]], AbstractContextManager[Any]]
) -> pd.DataFrame:
    """Train cells again, in this process and in a temporary folder.

    Args:
        recorded: the results folder.
        cells: some of its cells.
        display: called with the packs; gives a context manager whose value receives their progress.

    Returns:
        The table of the new rows.

    Raises:
        UserError: the data are missing, or differ from those of the results folder; or a cell has a part that is a
            plugin, and plugins were not allowed.
    """
    study = recorded.study
    for kind, value in sorted({(kind, getattr(cell, kind)) for cell in cells for kind in PARTS}):
        try:
            require_permission(kind, value)
        except ValueError as error:
            raise UserError(f"{recorded.folder}: {error}") from None
    data = load_data(study, sorted({cell.data_seed for cell in cells}))
    fingerprints = recorded_fingerprints(load_study_record(recorded.folder))
    for seed, fingerprint in data.fingerprints.items():
        if fingerprint != fingerprints.get(seed, fingerprint):
            raise UserError(
                f"{recorded.folder}: was made from data with the fingerprint {fingerprints[seed][:12]}; those here "
                f"have {fingerprint[:12]}. Give the folder of the right data, e.g. with --set dataset.root=FOLDER"
            )
    device = pick_device(study.resources.device)
    packs = plan_packs(cells, pixels=data.pixels, device=device.type)
    with temporary_folder("verify") as place:
        with open_results(study, place, data.fingerprints) as table, display(packs) as listener:
            recorder = TableWriter(study, place, table, listener, cells={cell.id: cell for cell in cells})
            run_in_process(packs, RunContext(study, data, place, device), recorder, Budget())
        return load_measurements(place)


def compare(recorded: Recorded, again: pd.DataFrame, cells: Sequence[Cell]) -> Iterator[Verified]:
    """Compare each cell's rows in the table with those of its second training.

    Rounding changes most values of a row. If most values of a row have the same bits, another value was changed by
    hand, even if the difference is small. Rows of `rdstudy remeasure` are left out.

    Args:
        recorded: the folder.
        again: the rows of `train_again`.
        cells: which cells to compare.
    """
    evaluation = recorded.study.evaluation.evaluation_id
    theirs, ours = (
        spread_lists(table[table["evaluation_id"] == evaluation])
        for table in (load_measurements(recorded.folder), again)
    )
    for cell in cells:
        spread = _spread(theirs, cell)
        old, new = (table[table["cell_id"] == cell.id].set_index(["step", "population"]) for table in (theirs, ours))
        yield _compared(cell, old, new, spread)


def _spread(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Standard deviation between seeds, the largest over the betas of the cell's setting: [step, population]."""
    same = pd.Series(True, index=table.index)
    for name in (set(asdict(cell)) & set(table.columns)) - {"beta", "seed"}:
        same &= table[name] == getattr(cell, name)
    names = _measured_in(table)
    values = table.loc[same, ["step", "population", "beta", *names]].astype(dict.fromkeys(names, float))
    spreads = values.groupby(["step", "population", "beta"], observed=True)[names].std()
    return spreads.groupby(["step", "population"], observed=True).max()


def _measured_in(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if column_of(name) in MEASURED]


def _comparable(old: pd.Series, new: pd.Series, names: Iterable[str]) -> list[str]:
    """Those of the columns that at least one row has a value in; of later columns, the recorded row."""
    return [
        name
        for name in names
        if not pd.isna(old[name]) or not (pd.isna(new.get(name, math.nan)) or column_of(name) in LATER)
    ]


def _size(row: pd.Series, name: str) -> float:
    """What rounding is relative to: the value, or the largest entry of the list that it is of."""
    return max(abs(float(row[other])) for other in row.index if column_of(other) == column_of(name))


def _compared(cell: Cell, theirs: pd.DataFrame, ours: pd.DataFrame, spread: pd.DataFrame) -> Verified:
    names, wrong = _measured_in(theirs), []
    n_values = n_equal = unjudged = 0
    largest = 0.0
    for key in theirs.index.union(ours.index):
        step, population = key
        if key not in ours.index or key not in theirs.index:
            there, here = ("there" if key in table.index else "missing" for table in (theirs, ours))
            wrong.append(Difference(step, population, "row", there, here, 0.0))
            continue
        old, new = theirs.loc[key], ours.loc[key]
        for name in _comparable(old, new, COUNTED):
            if old[name] != new[name]:
                wrong.append(Difference(step, population, name, old[name], new[name], 0.0))
        measured = _comparable(old, new, names)
        differing = [name for name in measured if old[name] != new.get(name)]  # also if one of them is null
        n_values += len(measured)
        n_equal += len(measured) - len(differing)
        mostly_equal = len(differing) < len(measured) / 2
        for name in differing:
            before, after = float(old[name]), float(new.get(name, math.nan))
            size = _size(old, name)
            allowed = NOISE * size
            if not mostly_equal:
                allowed = FIRST_NOISE * size
                if step > FIRST_STEPS:
                    allowed = float(np.maximum(allowed, SPREADS * float(spread.loc[key, name])))  # nan: one seed
            off = abs(after - before)
            if math.isnan(allowed) and math.isfinite(off):
                unjudged += 1
            elif not off <= allowed:
                wrong.append(Difference(step, population, name, before, after, allowed))
            if name in ("distortion_nats", "rate_nats") and math.isfinite(off):
                largest = max(largest, off)
    return Verified(cell, n_values, n_equal, largest, unjudged, tuple(wrong))
