"""Two studies beside each other: their curves setting by setting, and the differences at equal settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import stdtrit

from rdstudy import analysis
from rdstudy.analysis import SETTING, setting_label
from rdstudy.analysis.replicates import Replicates, replicates
from rdstudy.errors import UserError
from rdstudy.report import figures
from rdstudy.report.drawings import FigureSpec, Panel, RenderedFigure, remove_figures, render
from rdstudy.report.drawings.selection import MAX_PANELS, evenly, left_out, of, same_setting
from rdstudy.report.formatting import interval, number, short
from rdstudy.report.html import marked
from rdstudy.report.tables import Shown, shown
from rdstudy.report.templating import render_html
from rdstudy.report.text import clean_table
from rdstudy.storage.files import atomic_write
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import TEST, TRAIN
from rdstudy.storage.study_record import load_study_record
from rdstudy.storage.table import load_measurements

CRITERIA = ("rate_nats", "distortion_nats", "negative_elbo_nats", "nll_nats")


@dataclass(frozen=True)
class Compared:
    """One of the two studies: its name and its finished cells."""

    name: str
    settings: Sequence[Replicates]

    @classmethod
    def of(cls, name: str, table: pd.DataFrame) -> Compared:
        """The study's settings.

        Raises:
            UserError: no cell has finished.
        """
        settings = replicates(clean_table(table))
        if not settings:
            raise UserError(f"{name}: no cell has finished yet, so there is nothing to compare")
        return cls(name, settings)


def compare_folders(first: StoragePath, second: StoragePath, out: Path | None = None) -> list[Path]:
    """Compare two results folders; by default into `results/FIRST-and-SECOND`.

    The studies are called by their names, or, where these are equal, by their folders.

    Raises:
        UserError: one of them is not a results folder, or has no finished cell.
    """
    names = [str(load_study_record(place)["name"]) for place in (first, second)]
    if names[0] == names[1]:
        names = [first.name, second.name] if first.name != second.name else [str(first), str(second)]
    a, b = (Compared.of(n, load_measurements(place)) for n, place in zip(names, (first, second), strict=True))
    return write_comparison(a, b, out or Path("results") / f"{first.name}-and-{second.name}")


def write_comparison(a: Compared, b: Compared, out: Path) -> list[Path]:
    """Write `index.html`, the figures and `analyses/differences.csv` of a comparison.

    Settings are matched by all of their columns but those in which the studies differ throughout, each having one value
    (two priors, say): those are what is compared, and the page names them.

    Args:
        a, b: the studies; differences are b - a.
        out: the folder to write into; files of an earlier comparison are replaced.

    Returns:
        The files that were written, the page first.
    """
    differing = differing_columns(a, b)
    found = differences(a, b, differing)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    (out / "analyses").mkdir(exist_ok=True)
    remove_figures(out / "figures")
    spec = _figure(a, b, differing)
    rendered = render(spec, out / "figures")
    csv = out / "analyses" / "differences.csv"
    atomic_write(csv, lambda file: file.write(found.to_csv(index=False).encode("utf-8")))
    page = out / "index.html"
    text = _page(a, b, differing, found, rendered)
    atomic_write(page, lambda file: file.write(text.encode("utf-8")))
    return [page, *rendered.files, csv]


def differing_columns(a: Compared, b: Compared) -> dict[str, tuple[object, object]]:
    """The setting's columns in which each study has one value, and not the same one."""
    found = {}
    for name in SETTING:
        values = [{_known(s.setting[name]) for s in study.settings} for study in (a, b)]
        if all(len(one) == 1 for one in values) and values[0] != values[1]:
            found[name] = (values[0].pop(), values[1].pop())
    return found


def differences(a: Compared, b: Compared, differing: dict[str, tuple[object, object]]) -> pd.DataFrame:
    """b - a at equal settings and betas, with the 95% interval of Welch's t over the seeds of both.

    Returns:
        One row per setting, population and beta that both studies have: the setting's columns without those that
        differ, `population beta seeds_a seeds_b`, the most that a quantity has, and for rate, distortion, -ELBO and
        NLL `*_nats *_low *_high`; nats per example, null where one study did not measure it.
    """
    names = [name for name in SETTING if name not in differing]
    rows = []
    for one, other in _pairs(a, b, names):
        for population in (TRAIN, TEST):
            for beta in one.betas[np.isin(one.betas, other.betas)]:
                row = {name: one.setting[name] for name in names} | {"population": population, "beta": float(beta)}
                row |= {"seeds_a": 0, "seeds_b": 0}
                for quantity in CRITERIA:
                    x, y = (_seeds(study, population, quantity, beta) for study in (one, other))
                    stem = quantity.removesuffix("_nats")
                    row |= {"seeds_a": max(row["seeds_a"], len(x)), "seeds_b": max(row["seeds_b"], len(y))}
                    row |= dict(zip((quantity, f"{stem}_low", f"{stem}_high"), welch(x, y), strict=True))
                rows.append(row)
    columns = [*names, "population", "beta", "seeds_a", "seeds_b"]
    ends = [f"{q.removesuffix('_nats')}_{end}" for q in CRITERIA for end in ("low", "high")]
    frame = pd.DataFrame(rows, columns=[*columns, *CRITERIA, *ends])
    return frame[frame[list(CRITERIA)].notna().any(axis=1)].reset_index(drop=True)


def welch(x: Float[np.ndarray, " seeds_a"], y: Float[np.ndarray, " seeds_b"]) -> tuple[float, float, float]:
    """Difference of means y - x, and its 95% interval (Welch 1947); NaN ends where a side has fewer than two values."""
    if not len(x) or not len(y):
        return math.nan, math.nan, math.nan
    middle = float(y.mean() - x.mean())
    if len(x) < 2 or len(y) < 2:
        return middle, math.nan, math.nan
    parts = np.array([x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
    error = math.sqrt(float(parts.sum()))
    if error == 0:
        return middle, middle, middle
    degrees = float(parts.sum() ** 2 / (parts**2 / np.array([len(x) - 1, len(y) - 1])).sum())
    half = float(stdtrit(degrees, 0.975)) * error
    return middle, middle - half, middle + half


def _seeds(study: Replicates, population: str, quantity: str, beta: float) -> Float[np.ndarray, " seeds"]:
    values = study.of(population, quantity)[:, int(np.flatnonzero(study.betas == beta)[0])]
    finite: Float[np.ndarray, " seeds"] = values[np.isfinite(values)]
    return finite


def _pairs(a: Compared, b: Compared, names: Sequence[str]) -> Iterator[tuple[Replicates, Replicates]]:
    others = {_key(setting, names): setting for setting in b.settings}
    for setting in a.settings:
        if (other := others.get(_key(setting, names))) is not None:
            yield setting, other


def _key(setting: Replicates, names: Sequence[str]) -> tuple[object, ...]:
    return tuple(_known(setting.setting[name]) for name in names)


def _known(value: Any) -> Any:
    return None if pd.isna(value) else value


def _figure(a: Compared, b: Compared, differing: dict[str, tuple[object, object]]) -> FigureSpec:
    """One panel per setting that both studies have, with the curves of both; all settings where they share none."""
    points = [analysis.frontier(study.settings) for study in (a, b)]
    names = [name for name in SETTING if name not in differing]
    both = pd.concat(points, ignore_index=True)
    varied = [name for name in analysis.varying(both) if name in names]
    keys = both.drop_duplicates(names)
    shared = [all(len(same_setting(frame, row, names)) for frame in points) for _, row in keys.iterrows()]
    keys = keys[shared] if any(shared) else keys
    panels = []
    for _, row in evenly(list(keys.iterrows()), MAX_PANELS):
        curves = {study.name: same_setting(frame, row, names) for study, frame in zip((a, b), points, strict=True)}
        title = setting_label(row, varied)
        alt = f"Distortion over rate{of(title)}, of {' and '.join(n for n, rows in curves.items() if len(rows))}."
        panels.append(Panel(partial(figures.two_studies, curves, title=title), alt))
    caption = (
        "Distortion over rate of both studies, one panel per setting, test solid and filled, training dashed and "
        f"hollow; the star is beta = 1. Bars are 95% intervals over {_unit(a, b)}; an arrowhead marks one that ends "
        "outside the panel, a number a point that lies outside. Along a grey line -ELBO = distortion + rate is "
        f"constant; the grey number is its value in nats.{left_out(len(keys), MAX_PANELS, 'settings')}"
    )
    return FigureSpec("comparison", "Rate and distortion", caption, panels)


def difference_table(found: pd.DataFrame, a: Compared, b: Compared) -> Shown:
    """The difference of every quantity at every common point."""
    unit = _unit(a, b)
    measured = [name for name in CRITERIA if found[name].notna().any()]
    labels = {"rate_nats": "rate", "distortion_nats": "distortion", "negative_elbo_nats": "-ELBO", "nll_nats": "NLL"}
    columns: dict[str, Callable[[pd.Series], str]] = {
        "population": lambda r: r["population"],
        "beta": lambda r: short(r["beta"]),
        **{labels[name]: partial(interval, stem=name.removesuffix("_nats")) for name in measured},
        unit: lambda r: f"{r['seeds_a']}, {r['seeds_b']}",
    }
    note = (
        f"{b.name} minus {a.name}, nats per example: the difference of the means over {unit} with its 95% interval "
        "(Welch). Negative: the second study has less."
    )
    ordered = found.sort_values("population", kind="stable")  # test first
    return shown(
        "differences",
        "Differences at equal settings",
        note,
        ordered,
        columns,
        text=("population",),
        names=analysis.varying(found),
    )


def _unit(a: Compared, b: Compared) -> str:
    """What is counted as a replicate in both: seeds, data seeds, or replicates where the studies differ."""
    found = {setting.unit for study in (a, b) for setting in study.settings}
    return found.pop() if len(found) == 1 else "replicates"


def answer_of(found: pd.DataFrame, a: Compared, b: Compared, differing: dict[str, tuple[object, object]]) -> list[str]:
    """What differs between the studies, and at how many common points test distortion is lower or higher."""
    lines = []
    for name, (x, y) in differing.items():
        line = f"{name.replace('_', ' ')}: {_text(x)} in {a.name}, {_text(y)} in {b.name}."
        lines.append(line[:1].upper() + line[1:])
    if found.empty:
        return [*lines, "The studies have no setting and beta in common, so there are no differences to show."]
    rows = found[(found["population"] == TEST) & found["distortion_nats"].notna()]
    if rows.empty:
        return [*lines, "Test distortion was measured at no common point of both studies."]
    lower, higher = int((rows["distortion_high"] < 0).sum()), int((rows["distortion_low"] > 0).sum())
    few = int(rows["distortion_low"].isna().sum())
    without = f"; {few} {'has' if few == 1 else 'have'} too few {_unit(a, b)} for an interval" if few else ""
    lines.append(
        f"Test distortion of {b.name} is lower at {lower} and higher at {higher} of {len(rows)} common "
        f"point{'' if len(rows) == 1 else 's'} with 95% confidence, each point taken alone{without}; the median of "
        f"{b.name} minus {a.name} is {number(rows['distortion_nats'].median())} nats."
    )
    return lines


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, str | bool):
        return str(value)
    amount = float(cast("float", value))
    return f"{amount:,.0f}" if amount.is_integer() else f"{amount:g}"


def _page(
    a: Compared, b: Compared, differing: dict[str, tuple[object, object]], found: pd.DataFrame, rendered: RenderedFigure
) -> str:
    return render_html(
        "comparison.html.jinja",
        title=f"{a.name} and {b.name}",
        answer=answer_of(found, a, b, differing),
        figure=marked(rendered),
        table=difference_table(found, a, b) if len(found) else None,
    )
