"""Finished cells trained once more, elsewhere, and held against the table: a spot check of anybody's results.

    finished cells -> some of them, at random -> trained again from the study -> the same rows?

On the machine that made a table the values come out with the same bits. Another processor or another PyTorch adds up
in another order; training carries that rounding on, and `ROUNDING` says how far it was seen to go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd

from rdstudy.budget import Budget
from rdstudy.driver import Recorder, opened, run_inline
from rdstudy.errors import UserError
from rdstudy.measurement import COLUMNS, KEY
from rdstudy.pack_run import Workplace, pick_device
from rdstudy.packs import Pack, plan_packs
from rdstudy.preparation import load_data
from rdstudy.standing import load_study_record, recorded_study, standing
from rdstudy.store.location import Location
from rdstudy.store.table import load_measurements
from rdstudy.study import Cell, Study

SAME, ROUNDED, CHANGED = "same bits", "within rounding", "different"
Verdict = Literal["same bits", "within rounding", "different"]

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

ROUNDING = 1e-2
NOISE = 1e-6
"""Relative difference below which a value is the same on any machine."""


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
    wrong: tuple[Difference, ...]

    @property
    def verdict(self) -> Verdict:
        if self.wrong:
            return CHANGED
        return SAME if self.equal == self.values else ROUNDED


@dataclass(frozen=True)
class Recorded:
    """A results folder: its study, all its cells, and which of them are finished."""

    folder: Location
    study: Study
    cells: Mapping[str, Cell]
    finished: frozenset[str]

    @staticmethod
    def within(place: Location, overrides: Sequence[str] = ()) -> list[Recorded]:
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
            now = standing(study, folder)
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
        "marginal_kl_nats = rate_nats - mi_nats": table["marginal_kl_nats"] - (r - i),
        "mi_nats <= mi_ceiling_nats": (i - table["mi_ceiling_nats"]).clip(lower=0),
    }
    for law, excess in laws.items():
        for row in table[excess.abs() > NOISE * (1 + d.abs() + r.abs())].itertuples():
            found.append(f"cell {row.cell_id}, step {row.step}, {row.population}: not {law}")
    return found


def train_again(recorded: Recorded, cells: Sequence[Cell], display: Callable[[list[Pack]], Any]) -> pd.DataFrame:
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
        with opened(study, place, dataset.fingerprint) as table, display(packs) as listener:
            recorder = Recorder(study, place, table, listener, cells={cell.id: cell for cell in cells})
            run_inline(packs, Workplace(study, dataset, place, device), recorder, Budget())
        return load_measurements(place)


def compare(recorded: Recorded, again: pd.DataFrame, cells: Sequence[Cell]) -> Iterator[Verified]:
    """Each cell's rows of the table against those of its second training.

    A value may differ by rounding, but then all of its row do: where most of a row has the same bits, one that has not
    was changed, however little. Rows of `rdstudy measure` are left out.

    Args:
        recorded: the folder.
        again: the rows of `train_again`.
        cells: which cells to compare.
    """
    evaluation = recorded.study.evaluation.evaluation_id
    theirs, ours = (
        table[table["evaluation_id"] == evaluation].set_index(list(KEY)).sort_index()
        for table in (load_measurements(recorded.folder), again)
    )
    for cell in cells:
        yield _compared(cell, theirs.loc[[cell.id]], ours.loc[[cell.id]])


def _compared(cell: Cell, theirs: pd.DataFrame, ours: pd.DataFrame) -> Verified:
    wrong = []
    n_values = n_equal = 0
    largest = 0.0
    for key in theirs.index.union(ours.index):
        _, step, population, _ = key
        if key not in ours.index or key not in theirs.index:
            there, here = key in theirs.index, key in ours.index
            wrong.append(Difference(step, population, "row", *("there" if x else "missing" for x in (there, here)), 0))
            continue
        old, new = theirs.loc[key], ours.loc[key]
        for name in COUNTED:
            if not _equal(old[name], new[name]):
                wrong.append(Difference(step, population, name, old[name], new[name], 0.0))
        measured = [name for name in MEASURED if not (pd.isna(old[name]) and pd.isna(new[name]))]
        equal = {name: bool(old[name] == new[name]) for name in measured}
        n_values += len(equal)
        n_equal += sum(equal.values())
        mostly = sum(equal.values()) > len(equal) / 2
        for name in (name for name in measured if not equal[name]):
            allowed = 0.0 if mostly else allowance(name, float(old[name]))
            off = abs(float(new[name]) - float(old[name]))
            if not off <= max(allowed, NOISE * abs(float(old[name]))):  # also where one of them is null
                wrong.append(Difference(step, population, name, float(old[name]), float(new[name]), allowed))
            if name in ("distortion_nats", "rate_nats") and math.isfinite(off):
                largest = max(largest, off)
    return Verified(cell, n_values, n_equal, largest, tuple(wrong))


def allowance(column: str, recorded: float) -> float:
    """How far a value may be off on another machine."""
    return ROUNDING * abs(recorded)


def _equal(old: Any, new: Any) -> bool:
    return bool(old == new or (pd.isna(old) and pd.isna(new)))
