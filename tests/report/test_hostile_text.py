"""Text of a table, a study or a folder is shown and never acts: not in HTML, not in Markdown, not in a terminal."""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from rdstudy.report import write_report
from rdstudy.report.provenance import PAPER_URL
from rdstudy.report.text import clean, markdown
from tests.analysis.synthetic import Planted, fail, study_table, u_shaped

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>`a`|[b](javascript:c)$\\frac{$\x1b[2J\x07\u202e"
KEPT = ("cell_id", "population", "status", "evaluation_id", "pack_id")
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]"
ONE = [Planted(u_shaped(best=0.3))]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report in which every text field of every row, and every text of the study, is hostile."""
    table = study_table(ONE, betas=(1.0, 0.1), seeds=3, nll=False, mi=False)
    table = fail(table, (table["beta"] == 0.1) & (table["seed"] == 2), "diverged", "x")
    for name in table.columns:
        if name not in KEPT and table[name].map(lambda value: isinstance(value, str)).any():
            table[name] = HOSTILE
    study = {
        "name": HOSTILE,
        "question": f"{HOSTILE}\ud800",
        "dataset": {HOSTILE: [HOSTILE]},
        "data_fingerprint": HOSTILE,
    }
    planned = table[["cell_id", "dataset", "prior", "beta", "seed"]].drop_duplicates("cell_id")
    planned = pd.concat([planned, planned.tail(1).assign(cell_id="another")])
    folder = tmp_path_factory.mktemp("results")
    write_report(folder, table, study, out=folder / "report", formats=("html", "md"), planned=planned)
    return folder / "report"


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def test_no_text_becomes_markup_of_the_page(report):
    text = (report / "index.html").read_text(encoding="utf-8")
    found = _Tags(text)
    assert (found.tags.count("script"), found.tags.count("style"), found.tags.count("img")) == (1, 1, 0)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    links = [value or "" for name, value in found.attributes if name in ("href", "xlink:href", "src")]
    assert all(link.startswith(("#", "data:")) or link == PAPER_URL for link in links)
    assert "alert(1)" in found.words
    assert not re.search(CONTROL, text)


def test_no_text_becomes_markup_of_the_markdown(report):
    text = (report / "index.md").read_text(encoding="utf-8")
    outside_code = re.sub(r"```.*?```|`[^`\n]+`", "", text, flags=re.DOTALL)
    assert "alert(1)" in outside_code
    assert not re.search(r"(?<!\\)<", outside_code)
    assert not re.search(r"(?<!\\)\]\(javascript", outside_code)
    assert not re.search(CONTROL, text)


def test_figures_and_their_files_are_free_of_scripts_and_control_characters(report):
    for path in (report / "figures").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text
        assert not re.search(CONTROL, text)


def test_the_content_policy_allows_the_script_and_the_style_of_the_page_and_no_others(report):
    text = (report / "index.html").read_text(encoding="utf-8")
    found = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert found is not None
    rules = dict(rule.strip().split(" ", 1) for rule in html.unescape(found[1]).split(";"))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("script", "script-src"), ("style", "style-src-elem")):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


@pytest.mark.parametrize("line", ["# a", "- a", "+ a", "<b>", "a | b", "*a*", "_a_", "~~a~~", "&lt;", "[a](b)", "```"])
def test_markdown_shows_the_characters_it_was_given(line):
    escaped = markdown(line)
    assert re.sub(r"\\(.)", r"\1", escaped) == line
    assert escaped.startswith("\\") or "\\" in escaped


def test_control_characters_bidirectional_overrides_and_lone_surrogates_are_removed():
    assert clean("a\x1b[2J\x07\x9b\u202e\ud800b\tc\n") == "a[2Jb\tc\n"


@pytest.mark.parametrize("bad", [1e308, -1e308, float("inf"), float("nan")])
def test_a_table_with_values_that_are_not_finite_or_overflow_makes_a_page(tmp_path, bad):
    table = study_table(ONE, betas=(1.0, 0.1), seeds=3, nll=False, mi=False)
    for name in ("rate_nats", "distortion_nats", "elbo_nats"):
        table.loc[table["beta"] == 0.1, name] = bad
    with np.errstate(over="ignore", invalid="ignore"):
        paths = write_report(tmp_path, table, {}, out=tmp_path / "report")
    assert paths[0].exists()
