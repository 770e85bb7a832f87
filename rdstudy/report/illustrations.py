"""Which figures the report shows: their panels, what each shows in words, and what they show together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from rdstudy.analysis import CLAIMS, CRITERIA, SETTING, setting_label, varying
from rdstudy.report import figures, sentences
from rdstudy.report.analyses import Analyses
from rdstudy.report.figures.panels import CAPACITY
from rdstudy.report.image_grids import Sheets, sheets_along
from rdstudy.report.tables import beta_range
from rdstudy.storage.location import StoragePath
from rdstudy.storage.schema import TEST, TRAIN

MAX_PANELS = 6
MAX_MINOR_PANELS = 3  # of figures that repeat another by a second criterion
MAX_SETTINGS = 3  # of figures that show one setting a panel
MAX_SHEETS = 3
MAX_EFFECTS = 24

Item = TypeVar("Item")


@dataclass(frozen=True)
class Panel:
    """One drawing, a column wide, and what it shows in words."""

    draw: Callable[[], Any]
    alt: str


@dataclass(frozen=True)
class Illustration:
    """A figure of one or more panels, each of one column's width, and a caption that states what they show.

    A minor one is folded away on the page.
    """

    name: str
    heading: str
    caption: str
    panels: Sequence[Panel]
    minor: bool = False


@dataclass(frozen=True)
class Drawn:
    """An illustration, drawn: its panels as `<svg>` elements, and the files they were written to."""

    illustration: Illustration
    svgs: Sequence[str]
    pictures: Sequence[Path]
    files: Sequence[Path]


def draw(illustration: Illustration, folder: Path) -> Drawn:
    """Draw each panel once, and write it as SVG, as PNG, and as a page of the figure's one PDF."""
    svgs: list[str] = []
    pictures: list[Path] = []
    files = [folder / f"{illustration.name}.pdf"]
    with figures.pdf_pages(files[0]) as add_page:
        for k, panel in enumerate(illustration.panels, start=1):
            stem = folder / (illustration.name if len(illustration.panels) == 1 else f"{illustration.name}-{k}")
            with figures.laid_out(panel.draw()) as figure:
                svgs.append(figures.inline_svg(figure, panel.alt, stem.name))
                pictures += figures.save(figure, stem, ("png",))
                add_page(figure)
            stem.with_suffix(".svg").write_text(figures.standalone_svg(svgs[-1]), encoding="utf-8")
            files += [stem.with_suffix(".svg"), pictures[-1]]
    return Drawn(illustration, svgs, pictures, files)


_DRAWN = re.compile(
    r"(rate_distortion|criterion_\w+|gap|saturation|best_beta|search|learning|convergence|reconstructions|samples|claim_\w+)"
    r"(-\d+)?\.(svg|pdf|png)"
)


def remove_drawn(folder: Path) -> None:
    """Remove what an earlier report drew here, and nothing else: this one may have fewer panels."""
    for path in folder.iterdir():
        if _DRAWN.fullmatch(path.name):
            path.unlink()


def claim_illustrations(analyses: Analyses) -> dict[str, Illustration]:
    """For each claim that has an effect somewhere, the effects of all settings."""
    found = {}
    for claim, statement in CLAIMS.items():
        rows = analyses.claims
        rows = rows[(rows["claim"] == claim) & (rows["criterion"] == CRITERIA[0])]
        shown = rows[rows["difference_nats"].notna()]
        if shown.empty:
            continue
        left_out = _left_out(len(shown), MAX_EFFECTS, "settings")
        caption = f"Gain from the smaller beta in each setting, with its 95% interval. {left_out}"
        shown = shown.iloc[_evenly(range(len(shown)), MAX_EFFECTS)]
        alt = f"{statement} " + "; ".join(
            f"{label}: {effect:.1f} nats, {verdict}"
            for label, effect, verdict in zip(
                sentences.setting_names(analyses, shown), shown["difference_nats"], shown["verdict"], strict=True
            )
        )
        panel = Panel(partial(figures.claim_effects, shown), alt)
        found[claim] = Illustration(f"claim_{claim}", statement, caption.strip(), [panel])
    return found


def illustrations(analyses: Analyses, results: StoragePath) -> Iterator[Illustration]:
    """The report's figures in their order, without those that have nothing to show."""
    makers = (
        *_search(analyses),
        _rate_distortion(analyses, results),
        *(_criterion(analyses, name) for name in CRITERIA),
        _gap(analyses),
        _saturation(analyses),
        _best_beta(analyses),
        *_sheets(analyses, results),
        _learning(analyses),
        _convergence(analyses),
    )
    yield from sorted((made for made in makers if made.panels), key=lambda made: made.minor)


def _rate_distortion(analyses: Analyses, results: StoragePath) -> Illustration:
    spread = figures.panels(analyses.frontier)
    panels = []
    for title, rows in _evenly(list(spread.rows.items()), MAX_PANELS):
        images = _reconstructions(analyses, results, rows)
        published = analyses.published if _is_published_setting(analyses, rows) else None
        panels.append(
            Panel(
                partial(
                    figures.rate_distortion,
                    rows,
                    marks=spread.marks,
                    title=title,
                    published=published,
                    reconstructions=images,
                ),
                f"Distortion over rate{_of(title)}. {_curves_in_words(rows, 'distortion_nats')}",
            )
        )
    caption = (
        "Distortion over rate on the training set (dashed, hollow) and the test set (solid, filled), each "
        "point a beta, "
        "the star beta = 1. Thin straight lines join points of equal -ELBO = distortion + rate. Bars are 95% "
        "intervals over seeds."
    )
    if analyses.published is not None:
        caption += " Grey curves are the paper's, read off its figure to about 0.3 nats; they have no replicates."
    caption += _left_out(len(spread.rows), MAX_PANELS, "panels")
    return Illustration("rate_distortion", "Rate and distortion", caption, panels)


def _reconstructions(analyses: Analyses, results: StoragePath, rows: pd.DataFrame) -> dict[float, Any] | None:
    first = rows.sort_values(list(SETTING)).iloc[0]
    found = sheets_along(results, analyses.cells, first)
    if found is None:
        return None
    return {beta: images[0] for beta, images in found.test_reconstructions.items()}


def _is_published_setting(analyses: Analyses, rows: pd.DataFrame) -> bool:
    """Whether a panel is the published figure's: checkerboard, the most training data; or all are."""
    if analyses.published is None:
        return False
    like = analyses.frontier
    like = like[(like["dataset"] == "tetrominoes") & (like["split"] == "checkerboard")]
    if like.empty:
        return True
    row = rows.iloc[0]
    same = (row["dataset"], row["split"]) == ("tetrominoes", "checkerboard")
    return bool(same and row["train_size"] == like["train_size"].max())


_CRITERION_CAPTIONS = {
    "distortion_nats": "Test distortion against beta",
    "negative_elbo_nats": "Test -ELBO (distortion + rate, whatever beta was trained with) against beta",
    "nll_nats": "Test NLL, an importance-weighted upper bound in expectation, against beta",
}
_CRITERION_HEADINGS = {
    "distortion_nats": "Generalization: test distortion",
    "negative_elbo_nats": "Generalization: test -ELBO",
    "nll_nats": "Generalization: test NLL",
}


def _criterion(analyses: Analyses, name: str) -> Illustration:
    spread = figures.panels(analyses.frontier)
    most = MAX_PANELS if name == CRITERIA[0] else MAX_MINOR_PANELS
    panels = []
    for title, rows in _evenly(list(spread.rows.items()), most):
        if rows.loc[rows["population"] == TEST, name].isna().all():
            continue
        alt = f"{_CRITERION_CAPTIONS[name]}{_of(title)}. {_curves_in_words(rows, name)}"
        panels.append(
            Panel(
                partial(figures.criterion, rows, name, marks=spread.marks, title=title),
                alt,
            )
        )
    caption = (
        f"{_CRITERION_CAPTIONS[name]}, with its 95% band over seeds; the ring marks the best beta. "
        f"{sentences.shape_sentence(analyses, name)}{sentences.reliability_sentence(analyses, name)}"
        f"{_left_out(len(spread.rows), most, 'panels')}"
    )
    return Illustration(
        f"criterion_{name.removesuffix('_nats')}",
        _CRITERION_HEADINGS[name],
        caption,
        panels,
        minor=name != CRITERIA[0],
    )


def _gap(analyses: Analyses) -> Illustration:
    gaps = analyses.gaps[analyses.gaps["criterion"] == CRITERIA[0]]
    spread = figures.panels(gaps)
    panels = []
    for title, rows in _evenly(list(spread.rows.items()), MAX_MINOR_PANELS):
        low, high = rows["gap_nats"].min(), rows["gap_nats"].max()
        panels.append(
            Panel(
                partial(figures.gap, rows, marks=spread.marks, title=title),
                f"Generalization gap in distortion{_of(title)}: from {low:.1f} to {high:.1f} nats.",
            )
        )
    caption = (
        "Test minus train distortion, within each seed, with its 95% band. "
        f"{sentences.gap_sentence(analyses)}{_left_out(len(spread.rows), MAX_MINOR_PANELS, 'panels')}"
    )
    return Illustration("gap", "Generalization gap", caption, panels, minor=True)


def _saturation(analyses: Analyses) -> Illustration:
    record = analyses.information
    population = TRAIN if (record["population"] == TRAIN).any() else TEST
    record = record[record["population"] == population]
    settings = _settings(record)
    panels = []
    for title, rows in _evenly(settings, MAX_SETTINGS):
        points = _same_setting(analyses.frontier, rows.iloc[0])
        found = _same_setting(analyses.saturation, rows.iloc[0])
        found = found[found["population"] == population]
        where = found["saturates"].iloc[0]
        if where == "at":
            where = f"at a beta of {beta_range(found['beta_low'].iloc[0], found['beta_high'].iloc[0])}"
        panels.append(
            Panel(
                partial(figures.saturation, rows, points, found, title=title),
                f"Rate, mutual information, its ceiling and marginal KL against beta{_of(title)}; the mutual "
                f"information saturates: {where}.",
            )
        )
    caption = (
        f"Above: rate R, mutual information I on the {'training' if population == TRAIN else 'test'} set, "
        "its ceiling log N and the marginal "
        "KL(q(z) || p(z)) = R - I. Below: test distortion over the same axis. The grey band "
        f"holds the beta at which I comes within 0.1 nats of its ceiling. {sentences.saturation_sentence(analyses)}"
        f"{_left_out(len(settings), MAX_SETTINGS, 'settings')}"
    )
    return Illustration("saturation", "Saturation of the mutual information", caption, panels)


def _search(analyses: Analyses) -> Iterator[Illustration]:
    search = analyses.search
    if search is None or search.tried.empty:
        return
    tried, names = search.tried, search.names
    if search.estimates.empty:
        if "hypervolume_nats2" not in tried or tried["hypervolume_nats2"].notna().sum() < 2:
            return
        last = tried["hypervolume_nats2"].dropna().iloc[-1]
        alt = f"Hypervolume against cells: {last:,.0f} square nats after {len(tried)} cells."
        caption = "Area above and to the right of the lower frontier, up to the worst rate and distortion seen."
        yield Illustration("search", "The search", caption, [Panel(partial(figures.search_progress, tried), alt)])
        return
    panels = []
    for _, row in _evenly(list(search.estimates.iterrows()), MAX_PANELS):
        points, curve = (frame[_of_setting(frame, row, names)] for frame in (tried, search.curves))
        title = setting_label(row, names) if names else ""
        alt = f"beta {row['beta']:.3g}, 95% from {row['beta_low']:.3g} to {row['beta_high']:.3g}{_of(title)}."
        draw = partial(figures.search_curve, points, curve, row, search.metric, title=title)
        panels.append(Panel(draw, alt))
    caption = (
        "The cells that the search chose, the curve that is believed of them (a Gaussian process in log beta, 95%), "
        f"and the beta that is sought with its 95% interval.{_left_out(len(search.estimates), MAX_PANELS, 'settings')}"
    )
    yield Illustration("search", "The search", caption, panels)


def _of_setting(frame: pd.DataFrame, row: pd.Series, names: Sequence[str]) -> pd.Series:
    same = pd.Series(True, index=frame.index)
    for name in names:
        same &= frame[name] == row[name]
    return same


def _best_beta(analyses: Analyses) -> Illustration:
    record = analyses.best_beta
    record = record[record["criterion"] == CRITERIA[0]]
    betas = list(record["best_beta"])
    by_panel = [name for name in varying(record) if name not in (*CAPACITY, "train_size", "steps")]
    panels = []
    if len(record) > 1:
        groups = [((), record)] if not by_panel else list(record.groupby(by_panel, dropna=False, sort=True))
        for _, rows in _evenly(groups, MAX_MINOR_PANELS):
            title = setting_label(rows.iloc[0], by_panel)
            alt = "; ".join(
                f"{name}: best beta {beta:g}"
                for name, beta in zip(sentences.setting_names(analyses, rows), rows["best_beta"], strict=True)
            )
            panels.append(Panel(partial(figures.best_beta, rows, title=title, betas=betas), alt))
    caption = (
        "The beta of the grid with the lowest test distortion, over capacity and amount of training data; "
        "under it "
        f"the betas that cannot be told from the best (95%). {sentences.best_sentence(analyses)}"
    )
    return Illustration("best_beta", "The best beta", caption, panels)


def _learning(analyses: Analyses) -> Illustration:
    record = analyses.learning
    steps = record.groupby(list(SETTING), dropna=False)["step"].nunique() if len(record) else pd.Series(dtype=int)
    settings = _settings(record) if len(steps) and steps.max() > 2 else []
    panels = [
        Panel(
            partial(figures.learning_curves, rows, title=title),
            f"Distortion over training steps{_of(title)}, train and test.",
        )
        for title, rows in _evenly(settings, MAX_SETTINGS)
    ]
    caption = (
        "Distortion over training steps, test solid and train dashed, for up to six betas; bands span the "
        "seeds. "
        "Curves that still fall at their end were not trained to it."
        f"{_left_out(len(settings), MAX_SETTINGS, 'settings')}"
    )
    return Illustration("learning", "Learning curves", caption, panels, minor=True)


def _convergence(analyses: Analyses) -> Illustration:
    spread = figures.panels(analyses.convergence)
    panels = [
        Panel(
            partial(figures.convergence, rows, marks=spread.marks, title=title),
            f"Slope of the training curves against beta{_of(title)}.",
        )
        for title, rows in _evenly(list(spread.rows.items()), MAX_MINOR_PANELS)
        if (rows["slope"] > 0).any()
    ]
    caption = (
        "A check of the training. Converged training curves have the slope -dD/dR = beta, so every step "
        "should cross "
        "the diagonal; crosses mark those that do not, with confidence. "
        f"{sentences.convergence_sentence(analyses)}"
        f"{_left_out(len(spread.rows), MAX_MINOR_PANELS, 'panels')}"
    )
    return Illustration("convergence", "Were the models trained to their end?", caption, panels, minor=True)


def _sheets(analyses: Analyses, results: StoragePath) -> tuple[Illustration, Illustration]:
    settings = _settings(analyses.frontier)
    found: list[tuple[str, Sheets]] = []
    for title, rows in _evenly(settings, MAX_SHEETS):
        sheets = sheets_along(results, analyses.cells, rows.iloc[0])
        if sheets is not None:
            found.append((title, sheets))
    reconstructions = [
        Panel(
            partial(figures.reconstruction_sheet, sheets.test_images, sheets.test_reconstructions, title=title),
            f"Test examples and their reconstructions{_of(title)}, from the largest beta to the smallest.",
        )
        for title, sheets in found
    ]
    sampled = [
        Panel(
            partial(figures.sample_sheet, sheets.samples, title=title),
            f"Samples from the prior, decoded{_of(title)}, from the largest beta to the smallest.",
        )
        for title, sheets in found
        if sheets.samples
    ]
    left_out = f" {len(found)} of {len(settings)} settings are shown." if len(found) < len(settings) else ""
    return (
        Illustration(
            "reconstructions",
            "Reconstructions",
            f"Test examples (left) and their reconstructions by one seed, beta falling to the right.{left_out}",
            reconstructions,
        ),
        Illustration(
            "samples",
            "Samples",
            "Codes drawn from the prior, decoded, beta falling to the right. Where the marginal KL is "
            "large, codes of the "
            f"prior are unlike those of any example.{left_out}",
            sampled,
            minor=True,
        ),
    )


def _settings(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if frame.empty:
        return []
    names = varying(frame)
    groups = frame.groupby(list(SETTING), dropna=False, sort=True)
    return [(setting_label(rows.iloc[0], names), rows) for _, rows in groups]


def _same_setting(frame: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    same = np.ones(len(frame), dtype=bool)
    for name in SETTING:
        value = row[name]
        same &= frame[name].isna().to_numpy() if pd.isna(value) else (frame[name] == value).to_numpy(dtype=bool)
    return frame[same]


def _curves_in_words(rows: pd.DataFrame, name: str) -> str:
    sentences = []
    names = varying(rows)
    points = rows[(rows["population"] == TEST) & rows[name].notna()]
    for _, curve in points.groupby(list(SETTING), dropna=False, sort=True):
        curve = curve.sort_values("beta", ascending=False)
        best = curve.iloc[int(np.argmin(curve[name].to_numpy(dtype=np.float64)))]
        label = setting_label(curve.iloc[0], names)
        sentences.append(
            f"{label + ': ' if label else ''}on the test set {curve[name].iloc[0]:.1f} nats at beta = "
            f"{curve['beta'].iloc[0]:g}, least {best[name]:.1f} at {best['beta']:g}, "
            f"{curve[name].iloc[-1]:.1f} at "
            f"{curve['beta'].iloc[-1]:g}."
        )
    return " ".join(sentences)


def _of(title: str) -> str:
    return f", {title}" if title else ""


def _evenly(items: Sequence[Item] | range, most: int) -> list[Any]:
    """The items, or so many of them, evenly spread from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[k] for k in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _left_out(there: int, most: int, what: str) -> str:
    if there <= most:
        return ""
    return f" {most} of {there} {what} are drawn, spread evenly; the tables beside this page have all."
