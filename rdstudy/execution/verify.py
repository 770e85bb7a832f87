"""Finished cells trained once more, elsewhere, and held against the table: a spot check of anybody's results.

    finished cells -> some of them, at random -> trained again from the study -> the same rows?

On the machine that made a table the values come out with the same bits. Another processor, or another PyTorch, adds
up in another order, and training carries that rounding on: for some hundred steps it stays rounding, then the two
part, and end as far from each other as two seeds do (seen with the same study under AVX-512 and under AVX2: relative
differences below 1e-7 at step 35, and of 0.1 to 5 nats at step 4,000). So the first steps are held to float32, and
what comes after to the spread between the study's own seeds: a tighter bound would refuse honest tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd

from rdstudy.errors import UserError
from rdstudy.execution.budget import Budget
from rdstudy.execution.device import pick_device
from rdstudy.execution.executors import run_in_process
from rdstudy.execution.protocols import RunContext
from rdstudy.execution.results_folder import TableWriter, open_results
from rdstudy.execution.status import study_status
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import COLUMNS
from rdstudy.storage.study_record import load_study_record, recorded_study
from rdstudy.storage.table import load_measurements
from rdstudy.study import Cell, Study
from rdstudy.study.data import load_data
from rdstudy.training.packs import Pack, plan_packs

Verdict = Literal["same bits", "within rounding", "different"]
SAME: Verdict = "same bits"
ROUNDED: Verdict = "within rounding"
CHANGED: Verdict = "different"

COUNTED = (
    "n_examples",
    "mi_ceiling_nats",
    "mi_draws",
    "mi_examples",
    "nll_draws",
    "nll_examples",
    "status",
    "is_final",
)
"""What does not depend on rounding at all."""
MEASURED = tuple(column.name for column in COLUMNS if column.group == "values" and column.name not in COUNTED)

NOISE = 1e-6
"""Relative difference below which a value is the same on any machine."""
FIRST_STEPS, FIRST_NOISE = 50, 1e-4
"""Until this step, relative differences of two processors are those of float32 sums (seen: up to 1e-7)."""
SPREADS = 6.0
"""How many standard deviations between seeds two processors may end apart (seen, with three seeds: up to 3.1)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that came out otherwise, and how far off it may be by rounding."""

    step: int
    population: str
    column: str
    recorded: Any
    again: Any
    allowed: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, {self.population}: {self.column} is recorded as {self.recorded}, came out as "
            f"{self.again}" + (f" (allowed: {self.allowed:.2g})" if self.allowed else "")
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of one cell: its values compared, how many have the same bits, and those that are wrong."""

    cell: Cell
    values: int
    equal: int
    largest: float
    """Largest difference in distortion or rate, nats."""
    unjudged: int
    """Values that differ and that nothing can be said of, for the study has one seed."""
    wrong: tuple[Difference, ...]

    @property
    def verdict(self) -> Verdict:
        """What is to be said of the cell in two words."""
        if self.wrong:
            return CHANGED
        return SAME if self.equal == self.values else ROUNDED


@dataclass(frozen=True)
class Recorded:
    """A results folder: its study, all its cells, and which of them are finished."""

    folder: StoragePath
    study: Study
    cells: Mapping[str, Cell]
    finished: frozenset[str]

    @staticmethod
    def within(place: StoragePath, overrides: Sequence[str] = ()) -> list[Recorded]:
        """The results folder itself, or those that a folder of results folders holds.

        Args:
            place: either of them.
            overrides: settings such as `dataset.root=/data`, for every study that they suit.

        Raises:
            UserError: there is none, or an override suits none.
        """
        folders = [place] if (place / "study.json").exists() else []
        if not folders and place.is_dir():
            folders = sorted(path.parent for path in place.glob("*/study.json"))
        if not folders:
            raise UserError(f"{place}: no results folder, nor a folder of some: no study.json in it or one below")
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
    """Some finished cells, drawn at random without replacement over all folders.

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
    """What a table says that cannot be true, whoever trained it; nothing is trained for this.

    Every row's settings are those its cell_id stands for; -ELBO = D + R; marginal KL = R - I; I is at most its ceiling.
    """
    table = load_measurements(recorded.folder)
    table["numerics"] = table["numerics"].fillna(1)  # tables made before there was the column
    found = []
    for cell_id, rows in table.groupby("cell_id", observed=True):
        cell = recorded.cells.get(str(cell_id))
        if cell is None:
            continue  # of the same folder, but of another study
        for name in set(asdict(cell)) & set(rows.columns):
            other = rows.loc[rows[name] != getattr(cell, name), name]
            if len(other):
                found.append(f"cell {cell_id}: {name} is {getattr(cell, name)} by its id, in the table {other.iloc[0]}")
    d, r, i = (table[name].astype(float) for name in ("distortion_nats", "rate_nats", "mi_nats"))
    laws = {
        "elbo_nats = -(distortion_nats + rate_nats)": table["elbo_nats"] + d + r,
        # Of a subsample, R is that of the subsample, which is no column.
        "marginal_kl_nats = rate_nats - mi_nats": (table["marginal_kl_nats"] - (r - i)).where(
            table["mi_examples"] == table["n_examples"]
        ),
        "mi_nats <= mi_ceiling_nats": (i - table["mi_ceiling_nats"]).clip(lower=0),
    }
    for law, excess in laws.items():
        for row in table[excess.abs() > NOISE * (1 + d.abs() + r.abs())].itertuples():
            found.append(f"cell {row.cell_id}, step {row.step}, {row.population}: not {law}")
    return found


def train_again(
    recorded: Recorded, cells: Sequence[Cell], display: Callable[[list[Pack]], AbstractContextManager[Any]]
) -> pd.DataFrame:
    """The cells' rows, trained anew in this process and in a folder of their own, which is removed.

    Args:
        recorded: the folder whose cells they are.
        cells: some of them.
        display: makes, of packs, the listener that is told of their progress while it is entered.

    Raises:
        UserError: the data are not there, or are others.
    """
    study = recorded.study
    dataset = load_data(study)
    fingerprint = load_study_record(recorded.folder)["data_fingerprint"]
    if dataset.fingerprint != fingerprint:
        raise UserError(
            f"{recorded.folder}: was made from data with the fingerprint {fingerprint[:12]}; those here have "
            f"{dataset.fingerprint[:12]}. Say where the right ones are, e.g. with --set dataset.root=FOLDER"
        )
    device = pick_device(study.resources.device)
    packs = plan_packs(cells, pixels=dataset.images.shape[1], device=device.type)
    with TemporaryDirectory(prefix="rdstudy-verify-") as folder:
        place = Path(folder)
        with open_results(study, place, dataset.fingerprint) as table, display(packs) as listener:
            recorder = TableWriter(study, place, table, listener, cells={cell.id: cell for cell in cells})
            run_in_process(packs, RunContext(study, dataset, place, device), recorder, Budget())
        return load_measurements(place)


def compare(recorded: Recorded, again: pd.DataFrame, cells: Sequence[Cell]) -> Iterator[Verified]:
    """Each cell's rows of the table against those of its second training.

    A value may differ by rounding, but then all of its row do: where most of a row has the same bits, one that has not
    was changed, however little. Rows of `rdstudy remeasure` are left out.

    Args:
        recorded: the folder.
        again: the rows of `train_again`.
        cells: which cells to compare.
    """
    evaluation = recorded.study.evaluation.evaluation_id
    theirs, ours = (
        table[table["evaluation_id"] == evaluation] for table in (load_measurements(recorded.folder), again)
    )
    for cell in cells:
        spread = _spread(theirs, cell)
        old, new = (table[table["cell_id"] == cell.id].set_index(["step", "population"]) for table in (theirs, ours))
        yield _compared(cell, old, new, spread)


def _spread(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Standard deviation between seeds, at the beta of the cell's setting where it is largest: [step, population]."""
    same = pd.Series(True, index=table.index)
    for name in (set(asdict(cell)) & set(table.columns)) - {"beta", "seed"}:
        same &= table[name] == getattr(cell, name)
    values = table.loc[same, ["step", "population", "beta", *MEASURED]].astype(dict.fromkeys(MEASURED, float))
    spreads = values.groupby(["step", "population", "beta"], observed=True)[list(MEASURED)].std()
    return spreads.groupby(["step", "population"], observed=True).max()


def _compared(cell: Cell, theirs: pd.DataFrame, ours: pd.DataFrame, spread: pd.DataFrame) -> Verified:
    wrong = []
    n_values = n_equal = unjudged = 0
    largest = 0.0
    for key in theirs.index.union(ours.index):
        step, population = key
        if key not in ours.index or key not in theirs.index:
            there, here = ("there" if key in table.index else "missing" for table in (theirs, ours))
            wrong.append(Difference(step, population, "row", there, here, 0.0))
            continue
        old, new = theirs.loc[key], ours.loc[key]
        for name in COUNTED:
            if not (old[name] == new[name] or (pd.isna(old[name]) and pd.isna(new[name]))):
                wrong.append(Difference(step, population, name, old[name], new[name], 0.0))
        measured = [name for name in MEASURED if not (pd.isna(old[name]) and pd.isna(new[name]))]
        differing = [name for name in measured if old[name] != new[name]]  # also where one of them is null
        n_values += len(measured)
        n_equal += len(measured) - len(differing)
        mostly_equal = len(differing) < len(measured) / 2
        for name in differing:
            before, after = float(old[name]), float(new[name])
            allowed = NOISE * abs(before)
            if not mostly_equal:
                allowed = FIRST_NOISE * abs(before)
                if step > FIRST_STEPS:
                    allowed = max(allowed, SPREADS * float(spread.loc[key, name]))
            off = abs(after - before)
            if math.isnan(allowed) and math.isfinite(off):
                unjudged += 1
            elif not off <= allowed:
                wrong.append(Difference(step, population, name, before, after, allowed))
            if name in ("distortion_nats", "rate_nats") and math.isfinite(off):
                largest = max(largest, off)
    return Verified(cell, n_values, n_equal, largest, unjudged, tuple(wrong))
