"""Displays for the terminal and notebooks: progress of a run, tables of a plan, a search and curves."""

from __future__ import annotations

import io
import math
import statistics
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from rdstudy.cli.progress import ProgressTracker
from rdstudy.cli.terminal import Rows, can_redraw
from rdstudy.study import Cell
from rdstudy.training.packs import Pack

if TYPE_CHECKING:
    import pandas as pd

    from rdstudy.execution.protocols import PackProgress
    from rdstudy.execution.search import Search

MAX_POINTS = 24
"""Points of curves that the terminal shows."""
PLAIN_SECONDS = 30.0
"""Without a terminal, least time between two lines about the whole run; each pack that ends gets a line as well."""
LATEST_SHARES = 64
"""Number of latest reports whose median is shown as the share of the matrix-product rate."""
NOTEBOOK_SECONDS, NOTEBOOK_WIDTH = 0.5, 110
"""In a notebook: least time between two updates, and columns of the output."""


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            value = seconds / unit
            return f"{value:.1f} {name}" if name == "h" else f"{value:.0f} {name}"
    return f"{seconds / 86400:.1f} days"


def size(n_bytes: float) -> str:
    """`12 MB`, `3.4 GB`."""
    for limit, unit, name in ((1e6, 1e3, "kB"), (1e9, 1e6, "MB"), (1e12, 1e9, "GB")):
        if n_bytes < limit:
            return f"{n_bytes / unit:.1f} {name}"
    return f"{n_bytes / 1e12:.1f} TB"


def two_digits(value: float) -> str:
    """`1,240`, `12`, `3.7`, `0.37`: whole, or two digits where that says more."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def pack_name(cells: Sequence[Cell]) -> str:
    """A pack's name: what its cells have in common."""
    first = cells[0]
    words = [f"{first.depth}x{first.width}", f"latent {first.latent_dim}"]
    for name in ("split", "train_size"):
        values = {getattr(cell, name) for cell in cells}
        words.append(str(values.pop()) if len(values) == 1 else f"{len(values)} {name}s")
    return ", ".join(words)


class _Notebook:
    """One output of a notebook that is updated in place; needs no widgets."""

    def __init__(self, shown: Callable[[], RenderableType]) -> None:
        self._shown = shown
        self._output: Any = None
        self._last = 0.0

    def refresh(self, *, now: bool = True) -> None:
        """Update the output; with `now=False` only if the last update is `NOTEBOOK_SECONDS` ago."""
        if not now and time.monotonic() - self._last < NOTEBOOK_SECONDS:
            return
        self._last = time.monotonic()
        text = io.StringIO()
        plain = Console(file=text, width=NOTEBOOK_WIDTH, force_jupyter=False, force_terminal=False, highlight=False)
        plain.print(self._shown())
        bundle = {"text/plain": text.getvalue().rstrip()}
        if self._output is None:
            from IPython.display import display

            self._output = display(bundle, raw=True, display_id=True)
        else:
            self._output.update(bundle, raw=True)


class _Display(ABC):
    """A display that is updated in place on a terminal or in a notebook, and prints plain lines elsewhere."""

    def __init__(self, console: Console, where: str, *, transient: bool) -> None:
        self.console, self.where = console, where
        self.started = self.last_line = time.monotonic()
        self.transient, self.redraws = transient, can_redraw(console)
        self._live: Live | None = None
        self._notebook = _Notebook(self._shown) if console.is_jupyter else None

    def __enter__(self) -> _Display:
        if self.redraws:  # not earlier: it calls get_renderable at once
            self._live = Live(
                console=self.console, refresh_per_second=2, get_renderable=self._shown, transient=self.transient
            )
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
        if self._notebook is not None:
            self._notebook.refresh()

    @abstractmethod
    def _shown(self) -> RenderableType: ...

    @property
    def plain(self) -> bool:
        """Whether only plain lines can be printed."""
        return not self.redraws and self._notebook is None

    def _changed(self) -> None:
        if self._notebook is not None:
            self._notebook.refresh(now=False)

    def _failed(self, progress: PackProgress) -> None:
        for cell_id in progress.cells:
            self.console.print(Text(f"cell {cell_id} failed: {progress.failure}", style="red"), soft_wrap=True)


class RunDisplay(_Display):
    """Progress of a run, pack by pack."""

    def __init__(self, packs: Sequence[Pack], console: Console, *, where: str) -> None:
        super().__init__(console, where, transient=True)
        self.number: dict[str, int] = {}
        self.tracker = ProgressTracker()
        self.latest: dict[str, tuple[Pack, PackProgress]] = {}  # of packs that are training
        self.shares: deque[float] = deque(maxlen=LATEST_SHARES)
        self.add(packs)

    def add(self, packs: Sequence[Pack]) -> None:
        """Show more packs."""
        self.tracker.add(packs)
        for pack in packs:
            self.number[pack.id] = len(self.number) + 1

    def __call__(self, pack: Pack, progress: PackProgress) -> None:
        self.tracker.update(pack, progress)
        if not self.tracker.is_active(pack) or progress.failure or (progress.staged and not progress.stopped):
            self.latest.pop(pack.id, None)
        elif not progress.stopped:
            self.latest[pack.id] = (pack, progress)
        if progress.mfu is not None:
            self.shares.append(progress.mfu)
        if progress.failure:
            self._failed(progress)
        self._changed()
        if self.plain:
            self._plain(pack, progress)

    @property
    def rate(self) -> float:
        """Model-steps per second since the start of this run; 0 before the first report."""
        return self.tracker.done / max(1e-9, time.monotonic() - self.started)

    @property
    def left(self) -> str:
        """Estimated time left, in words; empty when all cells have ended."""
        if self.tracker.ended.total() == self.tracker.n_cells:
            return ""
        if not self.tracker.left:
            return "the last cells are being measured"
        return f"time left {duration(self.tracker.left / self.rate) if self.rate else 'not known yet'}"

    def _overall(self) -> str:
        ended = self.tracker.ended
        others = "".join(f", {ended[how]} {how}" for how in ("stopped", "failed") if ended[how])
        speed = (
            f"{two_digits(self.rate)} model-steps/s {self.where}{self._peak()}"
            if self.rate
            else f"training {self.where}"
        )
        left = f", {self.left}" if self.left else ""
        return f"{ended.total()}/{self.tracker.n_cells} cells{others}, {speed}{left}"

    def _peak(self) -> str:
        """Training FLOP/s over the device's matrix-product FLOP/s: median of the latest reports."""
        return f" ({statistics.median(self.shares):.0%} of the matrix-product rate)" if self.shares else ""

    def _plain(self, pack: Pack, progress: PackProgress) -> None:
        now = time.monotonic()
        name = f"pack {self.number[pack.id]}/{len(self.number)}"
        if progress.stopped:
            if not self.tracker.is_active(pack):
                words = f"{len(pack)} models {pack_name(pack.cells)}, the last of them stopped early"
                self.console.print(f"{name} ended: {words} | {self._overall()}", soft_wrap=True)
        elif progress.staged:
            distortion = (
                ""
                if progress.test_distortion_nats is None
                else f", median test distortion {progress.test_distortion_nats:.1f} nats"
            )
            self.console.print(
                f"{name} finished: {len(progress.cells)} models "
                f"{pack_name(pack.cells)}, {duration(progress.seconds)}{distortion} | {self._overall()}",
                soft_wrap=True,
            )
            self.last_line = now
        elif now - self.last_line > PLAIN_SECONDS:
            self.console.print(self._overall(), soft_wrap=True)
            self.last_line = now

    def _shown(self) -> Group:
        bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells"))
        bar.add_task("study", total=self.tracker.n_cells, completed=self.tracker.ended.total())
        table = Rows(
            "pack", "models", "of", "step", "done", "model-steps/s", "of product rate", "test D, nats", left=("of",)
        )
        for pack, progress in sorted(self.latest.values(), key=lambda each: self.number[each[0].id]):
            rate = progress.step * len(progress.cells) / max(progress.seconds, 1e-9)
            distortion = progress.test_distortion_nats
            table.add(
                str(self.number[pack.id]),
                str(len(progress.cells)),
                pack_name(pack.cells),
                f"{progress.step:,}",
                f"{progress.step / progress.steps:.0%}",
                two_digits(rate),
                "" if progress.mfu is None else f"{progress.mfu:.0%}",
                "" if distortion is None else f"{distortion:.1f}",
            )
        reported = self.latest or self.tracker.ended
        waiting = "" if reported else "waiting for the first pack to report"
        active = [table] if table.rows else []
        return Group(bar, *active, Text(waiting or self._overall(), style="dim"))


class RemeasureDisplay(_Display):
    """Progress of a remeasuring run."""

    def __init__(self, n_cells: int, console: Console, *, where: str) -> None:
        super().__init__(console, where, transient=False)
        self.n_cells = n_cells
        self.measured = self.failed = 0

    def _shown(self) -> Progress:
        bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        bar.add_task(f"cells measured {self.where}", total=self.n_cells, completed=self.measured + self.failed)
        return bar

    def __call__(self, pack: Pack, progress: PackProgress) -> None:
        if progress.failure:
            self.failed += len(progress.cells)
            self._failed(progress)
        elif progress.staged:
            self.measured += len(progress.cells)
        self._changed()
        now = time.monotonic()
        if self.plain and progress.staged and now - self.last_line > PLAIN_SECONDS:
            left = duration((self.n_cells - self.measured) * (now - self.started) / max(1, self.measured))
            self.console.print(f"{self.measured}/{self.n_cells} cells measured {self.where}, time left {left}")
            self.last_line = now


def search_table(search: Search) -> Rows:
    """Results of a search so far: every setting's beta with its interval, or the frontier's hypervolume."""
    from rdstudy.execution.search.search import Curves

    if isinstance(search.seeker, Curves):
        judged = search.spec.goal == "best_beta"
        header = ("setting", "beta", "95% interval", "cells", *(["test, nats"] if judged else []))
        table = Rows(*header, left=("setting",))
        for setting, found in search.seeker.estimates().items():
            known = ["-", "-", "0"]
            if found is not None:
                known = [f"{found.beta:.3g}", f"{found.low:.3g} to {found.high:.3g}", str(found.points)]
            if judged:
                there = None if found is None else search.seeker.curves[setting].judged(found.beta)
                known.append("-" if there is None else f"{there.nats:.1f}")
            table.add(search.seeker.label(setting), *known)
        return table
    table = Rows("cells", "hypervolume, nats^2")
    progress = search.seeker.progress()
    for n in sorted({len(progress) * part // 4 for part in (1, 2, 3, 4)} - {0}):
        table.add(str(n), f"{progress[n - 1]:,.0f}")
    return table


def curves_table(curves: pd.DataFrame) -> Group:
    """Points of rate-distortion curves on the test set, means over seeds; the first `MAX_POINTS` of them."""
    from rdstudy.analysis import varying

    axes = [*varying(curves), "beta"]
    names = {
        "n_seeds": "seeds",
        "rate_nats": "rate",
        "distortion_nats": "distortion",
        "negative_elbo_nats": "-ELBO",
        "nll_nats": "NLL",
    }
    shown = {name: title for name, title in names.items() if curves[name].notna().any()}
    table = Rows(*(axis.replace("_", " ") for axis in axes), *shown.values())
    ordered = curves.sort_values([*axes[:-1], "beta"], ascending=[True] * (len(axes) - 1) + [False])
    for _, row in ordered.head(MAX_POINTS).iterrows():
        cells = [f"{row[axis]:g}" if axis == "beta" else str(row[axis]) for axis in axes]
        values = [_number(n, float(row[n])) for n in shown]
        if "nll_nats" in shown and row["nll_unreliable"]:
            values[-1] += "?"
        table.add(*cells, *values)
    notes = []
    if ordered.loc[ordered["nll_nats"].notna(), "nll_unreliable"].any():
        notes.append(Text("?: too high perhaps, the importance weights of more than 5% of the examples are unreliable"))
    if len(ordered) > MAX_POINTS:
        notes.append(Text(f"and {len(ordered) - MAX_POINTS} more: analyses/frontier.csv"))
    return Group(table, *notes)


def _number(name: str, value: float) -> str:
    """A count or nats; a dash if not measured."""
    if math.isnan(value):
        return "-"
    return str(int(value)) if name == "n_seeds" else f"{value:.1f}"


def by_packing(packs: Sequence[Pack], describe: Callable[[Pack], Sequence[str]]) -> Rows:
    """Table of a plan's packs, one row for each kind."""
    table = Rows("packs", "models each", "steps", "time each", "of", left=("of",))
    for (name, models), same in kinds_of(packs).items():
        steps, seconds = describe(same[0])
        table.add(str(len(same)), str(models), steps, seconds, name)
    return table


def kinds_of(packs: Sequence[Pack]) -> dict[tuple[str, int], list[Pack]]:
    """Packs by name and number of models."""
    kinds: dict[tuple[str, int], list[Pack]] = {}
    for pack in packs:
        kinds.setdefault((pack_name(pack.cells), len(pack)), []).append(pack)
    return kinds
