"""Figures draw what the analyses found, for any reader, and disturb nothing."""

import re
from functools import partial
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from rdstudy import analysis
from rdstudy.report import figures
from rdstudy.report.figures import beta_axis, style
from rdstudy.report.verdicts import CLAIM_NAMES, main_criterion, setting_verdicts
from tests.analysis.synthetic import GRID, Planted, fail, falling, squares, study_table, u_shaped
from tests.analysis.test_gap_parts import refitted

SETTINGS = [Planted(u_shaped(), depth=1, saturates_at=0.5), Planted(falling(), depth=3, saturates_at=0.2)]


@pytest.fixture(scope="module")
def table():
    return study_table(SETTINGS, seeds=3, steps=(100, 1000, 10000))


def _all_figures(table: pd.DataFrame) -> dict[str, partial[Figure]]:
    points, shallow = analysis.frontier(table), table[table["depth"] == 1]
    record, saturated = analysis.information(shallow), analysis.saturation(shallow)
    images = squares(4)
    reconstructions = dict.fromkeys((5.0, 1.0, 0.1), images)
    parts = {beta: 20 - beta for beta in GRID}
    refits = refitted(table, parts, dict.fromkeys(GRID, 5.0))
    one = main_criterion(setting_verdicts(analysis.claims(table)))
    labels = [f"checkerboard, 81,920 examples, depth {depth}" for depth in one["depth"]]
    along_the_curve = dict.fromkeys(GRID, images[0])
    return {
        "rate_distortion": partial(figures.rate_distortion, points, title="tetrominoes"),
        "reconstructions along the curve": partial(figures.rate_distortion, points, reconstructions=along_the_curve),
        "bits": partial(figures.rate_distortion, points, bits=True),
        "criterion": partial(figures.criterion, points),
        "gap": partial(figures.gap, analysis.gaps(table)),
        "gap_parts": partial(figures.gap_parts, analysis.gap_parts(refits[refits["depth"] == 1]), title="depth 1"),
        "refitted criterion": partial(figures.criterion, analysis.frontier(refits), "refit_distortion_nats"),
        "information": partial(
            figures.information,
            record[record["population"] == "train"],
            saturation=saturated[saturated["population"] == "train"],
        ),
        "saturation": partial(
            figures.saturation,
            record[record["population"] == "train"],
            points[points["depth"] == 1],
            saturated[saturated["population"] == "train"],
            title="checkerboard, 81,920 examples, depth 1",
        ),
        "best_beta": partial(figures.best_beta, analysis.best_beta(table)),
        "learning_curves": partial(figures.learning_curves, analysis.learning(shallow)),
        "verdict_map": partial(figures.verdict_map, one, labels, CLAIM_NAMES),
        "capacity": partial(figures.capacity, analysis.capacity(table), title="checkerboard, 81,920 examples"),
        "latent_rates": partial(figures.latent_rates, {1.0: np.arange(10.0), 0.1: np.arange(10.0) ** 2}, title="x"),
        "traversal_grid": partial(
            figures.traversal_grid, dict.fromkeys((-2.5, 0.0, 2.5), images), ["z1: 10.2 nats"] * 4, title="x"
        ),
        "two_studies": partial(figures.two_studies, {"one": points, "other": points[points["depth"] == 1]}, title="x"),
        "convergence": partial(figures.convergence, analysis.convergence(table)),
        "reconstruction_grid": partial(figures.reconstruction_grid, images, reconstructions),
        "sample_grid": partial(figures.sample_grid, {b: i[:, :, :, :1] for b, i in reconstructions.items()}),
    }


NAMES = list(_all_figures(study_table(SETTINGS, seeds=3, betas=GRID)))


@pytest.fixture(scope="module")
def drawings(table):
    return _all_figures(table)


@pytest.mark.parametrize("name", NAMES)
def test_no_word_of_a_figure_is_cut_off_at_its_edge(name, drawings):
    figure = drawings[name]()
    with figures.laid_out(figure):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # puts labels and legends where they belong
        renderer = canvas.get_renderer()
        edge = figure.bbox.padded(1.5)
        words = [w for w in figure.findobj(Text) if isinstance(w, Text) and w.get_text() and w.get_visible()]
        hidden = _ticks_out_of_sight(figure)
        drawn = [word for word in words if id(word) not in hidden]
        assert drawn
        for word in drawn:
            box = word.get_window_extent(renderer)
            assert edge.x0 <= box.x0 <= box.x1 <= edge.x1, word
            assert edge.y0 <= box.y0 <= box.y1 <= edge.y1, word


def _ticks_out_of_sight(figure: Figure) -> set[int]:
    """Labels of ticks beyond the limits of their axis exist and are not drawn."""
    hidden = set()
    for axes in figure.axes:
        for axis, coordinate in ((axes.xaxis, 0), (axes.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.label1.get_position()[coordinate] <= high:
                    hidden.add(id(tick.label1))
    return hidden


@pytest.mark.parametrize("name", [name for name in NAMES if name != "saturation"])  # it is two panels by itself
def test_every_figure_draws_into_the_axes_it_is_given(name, drawings):
    figure = Figure()
    axes = figure.subplots()
    assert drawings[name](ax=axes) is figure
    assert figure.axes == [axes]
    assert axes.has_data() or axes.images or axes.texts


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were(drawings, tmp_path):
    before = dict(mpl.rcParams)
    figures.save(drawings["criterion"](), tmp_path / "criterion")
    figures.inline_svg(drawings["criterion"](), "alt", "name")
    assert dict(mpl.rcParams) == before


def test_a_saved_figure_is_svg_pdf_and_png_and_the_same_twice(drawings, tmp_path):
    one = figures.save(drawings["criterion"](), tmp_path / "one")
    two = figures.save(drawings["criterion"](), tmp_path / "two")
    assert [path.suffix for path in one] == [".svg", ".pdf", ".png"]
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert one[1].read_bytes().startswith(b"%PDF")
    assert one[2].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="jpg"):
        figures.save(drawings["criterion"](), tmp_path / "one", ("jpg",))


def test_a_figure_on_a_page_takes_its_colours_from_the_page(drawings):
    svg = figures.inline_svg(drawings["rate_distortion"](), 'says "what" it <shows>', "rd")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'says "what" it <shows>'
    assert root.get("width") is None
    fixed = set(re.findall(r"#[0-9a-fA-F]{6}", svg))
    assert fixed <= {"#000000"}, fixed  # matplotlib's default for what has no colour
    assert "var(--ink)" in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("rd-") for name in ids)


def test_the_same_figure_as_a_file_has_colours_and_a_size_of_its_own(drawings):
    svg = figures.standalone_svg(figures.inline_svg(drawings["rate_distortion"](), "alt", "rd"))
    assert "var(" not in svg
    root = ElementTree.fromstring(svg)
    assert float(str(root.get("width")).removesuffix("pt")) == pytest.approx(3.5 * 72)


def test_several_figures_are_the_pages_of_one_pdf(drawings, tmp_path):
    with figures.pdf_pages(tmp_path / "all.pdf") as add:
        add(drawings["criterion"]())
        add(drawings["gap"]())
    assert (tmp_path / "all.pdf").read_bytes().count(b"/Type /Page ") == 2


def test_panels_can_be_put_into_one_figure(table):
    spread = figures.panels(analysis.frontier(table))
    draw = [partial(_draw, rows, spread.marks) for rows in spread.rows.values()]
    figure = figures.grid(draw * 3)
    assert len([axes for axes in figure.axes if axes.axison]) == 3


def _draw(rows: pd.DataFrame, marks: Any, axes: Axes) -> None:
    figures.rate_distortion(rows, ax=axes, marks=marks)


# Machado, Oliveira & Fernandes (2009), table 1, severity 1.0: how a linear RGB colour looks without one kind of cone.
MISSING_CONES = {
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "none": np.eye(3).tolist(),
}


@pytest.mark.parametrize("missing", list(MISSING_CONES))
def test_the_colours_of_curves_can_be_told_apart_without_red_or_green_cones(missing):
    """Distance in CIE Lab; 10 is seen at a glance (2.3 is just noticeable). Curves differ by marker as well."""
    lab = [_lab(np.array(MISSING_CONES[missing]) @ _linear(colour)) for colour in style.COLOURS]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(lab, 2)) > 10
    assert len(set(style.MARKERS)) == len(style.COLOURS)


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    """sRGB under D65 (IEC 61966-2-1) to CIE 1976 L*a*b*."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    x, y, z = np.cbrt(to_xyz @ linear.clip(0, 1) / [0.95047, 1.0, 1.08883])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_capacity_makes_colours_and_everything_else_makes_panels():
    settings = [
        Planted(split=s, train_size=n, depth=d) for s in ("checkerboard", "random") for n in (8, 16) for d in (1, 3)
    ]
    spread = figures.panels(analysis.frontier(study_table(settings, betas=(1.0, 0.1), seeds=1)))
    assert list(spread.rows) == [
        "checkerboard, 8 examples",
        "checkerboard, 16 examples",
        "random, 8 examples",
        "random, 16 examples",
    ]
    assert [mark.label for mark in spread.marks.values()] == ["depth 1", "depth 3"]
    assert len({(mark.colour, mark.marker) for mark in spread.marks.values()}) == 2


def test_more_capacities_than_colours_make_panels_too():
    settings = [Planted(depth=d, width=w) for d in (1, 2, 3) for w in (64, 128, 256)]
    spread = figures.panels(analysis.frontier(study_table(settings, betas=(1.0, 0.1), seeds=1)))
    assert list(spread.rows) == ["width 64", "width 128", "width 256"]
    assert {mark.label for mark in spread.marks.values()} == {"depth 1", "depth 2", "depth 3"}


def test_a_study_without_results_has_no_panels():
    assert figures.panels(analysis.frontier(study_table(SETTINGS).iloc[:0])).rows == {}


@pytest.mark.parametrize("betas", [(1.0,), (0.0,), (1.0, 0.0), (1e-4, 30.0), GRID, tuple(np.geomspace(0.001, 5, 13))])
def test_the_beta_axis_has_a_place_and_a_label_for_every_end(betas):
    axes = style.new_figure().subplots()
    beta_axis.set_beta_axis(axes, betas)
    axes.figure.canvas.draw()
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))
    at = beta_axis.positions(betas)
    high, low = axes.get_xlim()
    assert ((low < at) & (at < high)).all()
    ticks = axes.get_xticks()
    labels = [axes.xaxis.get_major_formatter()(tick, 0) for tick in ticks]
    assert len(labels) == len(set(labels)) <= 9
    if 0.0 in betas:
        assert "0" in labels


def test_figures_of_one_seed_and_of_diverged_cells_are_drawn(table):
    thin = table[table["seed"] == 0]
    thin = fail(thin, (thin["beta"] == 0.001) & (thin["depth"] == 3), "diverged", "NaN")
    for draw in _all_figures(thin).values():
        assert isinstance(draw(), Figure)


def test_figures_compute_nothing_they_draw_the_points_they_are_given(table):
    points = analysis.frontier(table[table["depth"] == 1])
    axes = figures.rate_distortion(points).axes[0]
    test = points[points["population"] == "test"]
    drawn = [np.column_stack([line.get_xdata(), line.get_ydata()]) for line in axes.lines]
    wanted = test[["rate_nats", "distortion_nats"]].to_numpy()
    assert any(line.shape == wanted.shape and np.allclose(line, wanted) for line in drawn)


def _with_one_far_point(table: pd.DataFrame) -> pd.DataFrame:
    points = analysis.frontier(table)
    points = points[points["population"] == "test"]
    far = (points["beta"] == 0.001) & (points["depth"] == 3)
    assert far.sum() == 1
    return points.assign(distortion_nats=points["distortion_nats"].mask(far, 12_345.0))


@pytest.mark.parametrize("draw", [figures.criterion, figures.rate_distortion])
def test_a_point_far_from_all_others_does_not_press_them_flat_but_is_named_at_the_edge(draw, table):
    points = _with_one_far_point(table)
    near = points.loc[points["distortion_nats"] < 10_000, "distortion_nats"]
    axes = draw(points).axes[0]
    low, high = axes.get_ylim()
    assert low < near.min() < near.max() < high < 1_000
    assert [text.get_text() for text in axes.texts if "\u25b2" in text.get_text()] == ["\u25b2 12,345"]


def test_a_slope_that_does_not_fit_is_crossed_out(table):
    late = (table["beta"] == 0.1) & (table["population"] == "train") & (table["depth"] == 1)
    table = table.assign(distortion_nats=table["distortion_nats"] + 9.0 * late)
    record = analysis.convergence(table[table["depth"] == 1])
    axes = figures.convergence(record).axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    fits = record.loc[record["slope"] > 0, "slope_fits"]
    assert len(crosses) == (~fits).sum() > 0


OF_FRONTIER = [figures.rate_distortion, figures.criterion, partial(figures.criterion, name="nll_nats")]


def _spoilt(frame: pd.DataFrame, chosen: pd.Series, bad: float) -> pd.DataFrame:
    """The frame with every value and interval of the chosen rows replaced."""
    names = [name for name in frame.columns if name.endswith(("_nats", "_low", "_high"))]
    return frame.assign(**{name: frame[name].astype(float).mask(chosen, bad) for name in names})


def _drawn(figure: Figure) -> Axes:
    with figures.laid_out(figure):
        FigureCanvasAgg(figure).draw()
    return figure.axes[0]


@pytest.mark.parametrize("draw", OF_FRONTIER)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e308, -1e308])
def test_a_value_that_is_not_finite_or_overflows_an_axis_is_dropped_and_counted(draw, bad, table):
    points = analysis.frontier(table)
    chosen = (points["beta"] == 0.1) & (points["depth"] == 1) & (points["population"] == "test")
    legend = _drawn(draw(_spoilt(points, chosen, bad))).get_legend()
    assert "1 point not drawn (not finite)" in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308, -1e308])
def test_figures_of_nothing_but_values_that_cannot_be_drawn_are_empty_and_no_error(bad, table):
    shallow = table[table["depth"] == 1]
    frames = [analysis.frontier(table), analysis.gaps(table), analysis.information(shallow), analysis.learning(shallow)]
    points, gaps, record, learning = (_spoilt(frame, pd.Series(True, index=frame.index), bad) for frame in frames)
    drawn = [draw(points) for draw in OF_FRONTIER]
    drawn += [figures.gap(gaps), figures.information(record), figures.learning_curves(learning)]
    for figure in drawn:
        _drawn(figure)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 16])
def test_images_of_any_number_of_channels_are_drawn_channel_by_channel(channels, table):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 6, channels), dtype=np.uint8)
    figures.sample_grid({1.0: images})
    figures.rate_distortion(analysis.frontier(table), reconstructions={1.0: images[0]})
    [shown] = figures.reconstruction_grid(images, {1.0: images}).axes[0].images
    pixels = np.asarray(shown.get_array())
    assert pixels.shape[2] == 3
    if channels not in (1, 3):
        assert (pixels[:8, 6:12, 0] == images[0, :, :, 1]).all()


def test_axes_of_beta_run_from_large_to_small(table):
    left, right = figures.criterion(analysis.frontier(table)).axes[0].get_xlim()
    assert left > max(GRID) > min(GRID) > right


def test_a_dollar_sign_in_a_name_is_drawn_as_it_is(table):
    figure = figures.criterion(analysis.frontier(table), title="$\\frac{$")
    assert "$\\frac{$" in figures.inline_svg(figure, "alt", "x")
