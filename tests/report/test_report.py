"""The page: what it says, that it needs nothing, and that a real browser agrees."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rdstudy.analysis import CLAIMS
from rdstudy.errors import UserError
from rdstudy.report import Analyses, write_report
from rdstudy.report.content import content_of
from rdstudy.report.drawings import figure_specs
from rdstudy.report.drawings.spec import _WRITTEN
from rdstudy.report.html import page
from rdstudy.report.markdown import document
from rdstudy.report.provenance import PAPER_URL
from tests.analysis import chromium
from tests.analysis.synthetic import Planted, fail, falling, study_table, u_shaped, write_study

BETAS = (5.0, 1.0, 0.3, 0.1, 0.01)
SETTINGS = [Planted(u_shaped(best=0.3), saturates_at=0.5), Planted(falling(), depth=3, saturates_at=0.2)]
STUDY: dict[str, Any] = {
    "name": "planted",
    "question": "Does <em>less</em> rate help & does it last?",
    "n_cells": 40,
    "dataset": {"name": "tetrominoes"},
    "grid": {"beta": list(BETAS), "seed": {"count": 4}},
    "training": {"steps": 1000, "learning_rate": 0.001},
}


def _study() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A study that is still running, with a cell that diverged; and its planned cells."""
    table = study_table(SETTINGS, betas=BETAS, seeds=4, steps=(10, 100, 1000))
    planned = table[["cell_id", "dataset", "split", "train_size", "depth", "beta", "seed"]].drop_duplicates("cell_id")
    table = fail(
        table, (table["beta"] == 0.01) & (table["seed"] == 3), "diverged", "loss is NaN <script>alert(1)</script>"
    )
    missing = (table["depth"] == 3) & (table["seed"] == 3) & (table["beta"] == 5.0)
    return table[~missing], planned


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    results = tmp_path_factory.mktemp("planted")
    table, planned = _study()
    write_study(results, table, STUDY)
    curves = results / "curves.csv"
    curves.write_text(
        "network,split,order_high_to_low_beta,rate_nats,distortion_nats,star\n"
        "shallow,test,0,12,100,0\nshallow,test,1,22,78,1\nshallow,test,2,30,80,0\n"
    )
    paths = write_report(results, table, STUDY, formats=("html", "md"), compare=curves, planned=planned)
    return results / "report", paths


@pytest.fixture(scope="module")
def text(report):
    return (report[0] / "index.html").read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Checks nesting, and collects ids, links and what is loaded."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def test_the_page_is_well_formed_and_no_id_stands_twice(text):
    found = _Page(text)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))


def test_the_page_needs_nothing_but_itself(text):
    for link in _Page(text).links:
        assert link.startswith(("#", "data:")) or link == PAPER_URL, link  # followed by a reader, never loaded
    anchors = {link[1:] for link in _Page(text).links if link.startswith("#")}
    assert anchors <= set(_Page(text).ids)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_answer_and_the_rate_distortion_figure_come_first_then_verdicts_claims_and_details(text):
    order = ("answer", "figure-rate_distortion", "figure-verdicts", "claims", "figures", "tables", "cells")
    places = [text.index(f'id="{anchor}"') for anchor in order]
    assert places == sorted(places)


def test_what_the_study_or_a_message_says_is_shown_and_not_executed(text):
    assert "<em>less</em>" not in text
    assert "<script>alert(1)" not in text
    assert "loss is NaN &lt;script&gt;alert(1)" in text


def test_a_study_that_is_still_running_says_so_and_what_is_missing(text):
    words = _Page(text).words
    assert "39 of 40 cells finished, 2 of them diverged; 1 missing." in words
    assert "not finished" in words
    assert "What is missing" in words
    assert "not started" in words


def test_every_drawing_is_described_for_those_who_do_not_see_it(text):
    drawings = re.findall(r"<svg[^>]*>", text)
    assert len(drawings) > 8
    for drawing in drawings:
        assert len(re.findall(r'aria-label="[^"]{25,}"', drawing)) == 1


def test_every_figure_is_written_as_svg_pdf_and_png_and_every_file_named_is_there(report):
    folder, paths = report
    assert all(path.is_file() for path in paths)
    assert paths[0] == folder / "index.html"
    stems = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert stems == {path.stem for path in (folder / "figures").glob("*.png")}
    assert {path.stem for path in (folder / "figures").glob("*.pdf")} == {re.sub(r"-\d+$", "", stem) for stem in stems}
    assert {"rate_distortion", "reconstructions-1", "verdicts"} <= stems
    assert all(_WRITTEN.fullmatch(path.name) for path in (folder / "figures").iterdir())


def test_every_analysis_is_written_as_parquet_and_csv_with_the_same_rows(report):
    for path in (report[0] / "analyses").glob("*.parquet"):
        assert len(pd.read_parquet(path)) == len(pd.read_csv(path.with_suffix(".csv"))) > 0
    assert (report[0] / "analyses" / "claims.parquet").exists()
    assert (report[0] / "analyses" / "missing.csv").exists()


def test_the_page_names_the_analyses_that_are_written_and_no_others(report):
    words = html.unescape((report[0] / "index.html").read_text(encoding="utf-8"))
    named = re.search(r"analyses as Parquet and CSV \(([^)]*)\)", words)
    assert named is not None
    assert set(named[1].split(", ")) == {path.stem for path in (report[0] / "analyses").glob("*.parquet")}


@pytest.mark.parametrize("name", ["index.html", "index.md"])
def test_the_code_that_loads_the_data_works_from_the_folder_of_the_page(name, report, monkeypatch):
    folder = report[0].parent
    (folder / "measurements").mkdir(exist_ok=True)
    _study()[0].to_parquet(folder / "measurements" / "part.parquet")
    words = html.unescape((report[0] / name).read_text(encoding="utf-8"))
    code = re.search(r"import pandas as pd.*?load_measurements\([^)]*\)\)", words, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(report[0])
    scope: dict[str, Any] = {}
    exec(code[0], scope)
    assert len(scope["points"]) > 0


def test_the_page_names_its_origin_and_how_to_cite(text):
    words = _Page(text).words
    for name in ("0.1.0", "2.11.0", "importance samples for the NLL", "bozkurt2021rate", "@software{rdstudy"):
        assert name in words


def test_the_markdown_has_the_claims_the_points_and_the_cells_and_its_pictures_are_there(report):
    folder, paths = report
    assert folder / "index.md" in paths
    markdown = (folder / "index.md").read_text(encoding="utf-8")
    assert all(f"### {statement}" in markdown for statement in CLAIMS.values())
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", markdown, re.MULTILINE)
    assert len(pictures) > 8
    assert all((folder / picture).is_file() for picture in pictures)
    sections = dict(re.findall(r"^#{2,3} (.+?)\n(.*?)(?=^#{2,3} |\Z)", markdown, re.DOTALL | re.MULTILINE))
    assert sections["Cells"].strip()
    assert sections["Every point of every curve"].count("\n|") > 2 * len(BETAS)
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def _page_of(table: pd.DataFrame, study: dict[str, Any] | None = None) -> str:
    """The page's text without its drawings, which take the time."""
    content = content_of(Analyses.of(table), study or {}, name="x", rendered=[])
    assert document(content)
    return _Page(page(content)).words


def test_one_seed_is_open_and_says_how_many_are_needed():
    words = _page_of(study_table(SETTINGS, betas=BETAS, seeds=1))
    assert "No setting has more than one seed" in words
    assert "At least 3 seeds are needed" in words


def test_what_was_not_measured_is_named_and_never_0():
    table = study_table(SETTINGS, betas=BETAS, seeds=3, nll=False, mi=False)
    words = _page_of(table)
    assert "Not measured in this study: the mutual information" in words
    assert "and the NLL" in words
    names = {shown.name for shown in figure_specs(Analyses.of(table), Path("nowhere"))}
    assert "saturation" not in names
    assert "criterion_nll" not in names
    assert "rate_distortion" in names


def test_bounds_that_were_not_measured_are_named_and_nothing_is_concluded_past_log_n():
    words = _page_of(study_table(SETTINGS, betas=BETAS, seeds=3, nll=False, apart=None))
    assert "Not measured in this study: bounds of the mutual information and the NLL." in words
    assert "whether it or the marginal KL grows where its estimate is at log N is not identified" in words
    assert "Not measurable" in words
    assert "no closer bound was measured" in words


def test_bounds_that_are_far_apart_are_given_as_numbers_and_nothing_is_called_saturated():
    words = _page_of(study_table(SETTINGS, betas=BETAS, seeds=3, nll=False, apart=5.0))
    assert "is not identified" in words
    assert "it lies between 11.3 and 16.3 nats" in words
    assert "the mutual information is at least 11.3 and at most 16.3 nats" in words
    assert "the marginal KL grows in 2 of 2 settings" in words
    assert "saturates at a beta" not in words
    assert "bounds of the mutual information and" not in words


@pytest.mark.parametrize("study", [{}, {"name": "x", "dataset": None, "grid": {}, "n_cells": "many"}])
def test_a_study_record_that_lacks_things_is_no_obstacle(study):
    assert "Does regularizing the rate" in _page_of(study_table(SETTINGS[:1], betas=BETAS, seeds=3), study)


def test_damaged_and_other_images_are_left_out(tmp_path):
    table = study_table(SETTINGS[:1], betas=BETAS, seeds=1)
    write_study(tmp_path, table, STUDY)
    sheets = sorted((tmp_path / "sheets").iterdir())
    sheets[0].write_bytes(b"not an archive")
    sheets[1].unlink()
    found = {shown.name: shown for shown in figure_specs(Analyses.of(table), tmp_path)}
    assert "reconstructions" in found
    for sheet in sheets[2:]:
        sheet.unlink()
    assert "reconstructions" not in {shown.name for shown in figure_specs(Analyses.of(table), tmp_path)}


def test_a_second_report_replaces_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr("rdstudy.report.figure_specs", lambda analyses, results: iter(()))  # they take the time
    table = study_table(SETTINGS[:1], betas=(1.0, 0.1), seeds=3, nll=False, mi=False)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "saturation-9.svg").write_text("an earlier report's")
    mine = tmp_path / "figures" / "mine.svg"
    mine.write_text("not the report's")
    paths = write_report(tmp_path, table, {}, out=tmp_path)
    assert not (tmp_path / "figures" / "saturation-9.svg").exists()
    assert not list(tmp_path.glob(".*"))
    assert {*paths, mine} == {path for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("formats", [("pdf",), ()])
def test_an_unknown_format_is_refused_with_those_there_are(tmp_path, formats):
    with pytest.raises(UserError, match="html, md"):
        write_report(tmp_path, study_table(SETTINGS, betas=BETAS), {}, formats=formats)


def test_before_any_cell_has_finished_there_is_nothing_to_report(tmp_path):
    table = study_table(SETTINGS, betas=BETAS, steps=(10, 100))
    with pytest.raises(UserError, match="rdstudy status"):
        write_report(tmp_path, table[~table["is_final"]], {})


# --- in a real browser ------------------------------------------------------------------------------------------------

needs_chromium = pytest.mark.skipif(chromium.EXECUTABLE is None, reason="chromium is not installed here")


@pytest.fixture(scope="module")
def browser():
    with chromium.browser() as opened:
        yield opened


@needs_chromium
def test_the_browser_complains_of_nothing_and_the_page_asks_for_nothing(report, browser):
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(report[0] / "index.html")
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.complaints == []
    own = (report[0] / "index.html").resolve().as_uri()
    assert [url for url in browser.requests if url != own and not url.startswith("data:")] == []


@needs_chromium
def test_the_browser_notices_a_page_that_does_ask_and_complain(tmp_path, browser):
    """The check above must be able to fail."""
    bad = tmp_path / "bad.html"
    bad.write_text('<!doctype html><img src="http://127.0.0.1:9/x.png"><script>throw new Error("no")</script>')
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(bad)
    assert "http://127.0.0.1:9/x.png" in browser.requests
    assert any("no" in complaint for complaint in browser.complaints)
    browser.complaints.clear()


@needs_chromium
@pytest.mark.parametrize(("width", "phone"), [(360, True), (1280, False)])
def test_the_page_fits_the_screen_and_its_drawings_can_be_read(report, browser, width, phone):
    browser.resize(width, 800, phone=phone)
    browser.open(report[0] / "index.html")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    sizes = browser.evaluate(
        """Array.from(document.querySelectorAll("section#answer figure svg text")).map(
            text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"""
    )
    small = sorted(sizes)[len(sizes) // 10]  # thumbnails' betas and iso-lines are finer print
    assert small >= 7


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_page_in_light_and_in_dark(report, browser, scheme):
    """Contrast by WCAG 2.1: at least 4.5 for text."""
    browser.media(scheme=scheme)
    browser.open(report[0] / "index.html")
    colours = browser.evaluate(
        """JSON.stringify(["p", "figcaption", "a", "svg text", "td", ".note", "summary"].map(name => {
            const element = document.querySelector(name), style = getComputedStyle(element);
            return [name, name === "svg text" ? style.fill : style.color]}).concat(
            [["page", getComputedStyle(document.body).backgroundColor]]))"""
    )
    found = {name: [int(n) for n in re.findall(r"\d+", colour)[:3]] for name, colour in json.loads(colours)}
    ground = _luminance(found.pop("page"))
    assert (ground < 0.1) == (scheme == "dark")
    for name, colour in found.items():
        light, dark = sorted([_luminance(colour), ground], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name
    browser.media()


def _luminance(colour: list[int]) -> float:
    channels = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


@needs_chromium
def test_without_its_script_the_page_says_the_same(report, browser):
    browser.open(report[0] / "index.html")
    words = "document.querySelector('#answer').innerText + document.querySelector('#cells').innerText"
    with_script = browser.evaluate(words)
    browser("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report[0] / "index.html")
    assert browser.evaluate("document.querySelectorAll('th button').length") == 0
    assert browser.evaluate(words) == with_script
    browser("Emulation.setScriptExecutionDisabled", value=False)


@needs_chromium
def test_a_table_is_sorted_by_its_heading_and_filtered_by_words(report, browser):
    browser.open(report[0] / "index.html")
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    table = "Array.from(document.querySelectorAll('table')).find(t => t.tHead.innerText.includes('distortion'))"
    betas = f"Array.from({table}.tBodies[0].rows).map(r => r.cells[2].innerText)"
    browser.evaluate(f"{table}.tHead.rows[0].cells[2].firstChild.click()")
    rising = [float(beta) for beta in browser.evaluate(betas)]
    assert rising == sorted(rising)
    browser.evaluate(f"{table}.tHead.rows[0].cells[2].firstChild.click()")
    assert [float(beta) for beta in browser.evaluate(betas)] == sorted(rising, reverse=True)
    browser.evaluate(
        f"const f = {table}.parentElement.previousSibling; f.value = 'Train 0.01'; f.dispatchEvent(new Event('input'))"
    )
    shown = browser.evaluate(f"Array.from({table}.tBodies[0].rows).filter(r => !r.hidden).map(r => r.innerText)")
    assert 0 < len(shown) < len(rising)
    assert all("train" in row and "0.01" in row for row in shown)
