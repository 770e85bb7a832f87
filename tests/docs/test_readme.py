"""The README is true: its commands run, its code runs, its studies are valid."""

import re
import shlex
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rdstudy
from rdstudy.study import parse_study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    .venv/bin/rdstudy ")]
SMALL = ["training.steps=20", "dataset.size=600", "dataset.test_size=100", "grid.train_size=[100]", "grid.width=[8]"]
SMALL += ["grid.beta=[5,1,0.1]", "grid.depth=[1]", "evaluation.nll.examples=20"]
"""The quickstart in a second."""


def blocks(language: str, document: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document, re.DOTALL)


@pytest.fixture
def quickstart(command, monkeypatch):
    """What `make quickstart` leaves, only smaller, in an empty folder."""
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    small = [part for setting in SMALL for part in ("--set", setting)]
    assert command("run", ROOT / "studies" / "quickstart.yaml", "--no-ray", *small).code == 0
    return command


def test_the_commands_run_in_their_order(quickstart):
    assert len(COMMANDS) >= 10
    for line in COMMANDS:
        arguments = shlex.split(line, comments=True)[1:]
        if arguments[0] in ("run", "plan"):
            arguments += [part for setting in SMALL for part in ("--set", setting)]
        if arguments[0] == "fit-prior":
            arguments += ["--where", "beta=1", "--steps", "20", "--set", "evaluation.ex_post_prior.nll_examples=2"]
        if arguments[0] in ("run", "remeasure", "fit-prior"):
            arguments.append("--no-ray")  # on Ray they are run in tests/execution/ray_tune
        ended = quickstart(*arguments)
        assert ended.code == 0, (line, ended)
        assert ended.err == ""
    assert rdstudy.load_measurements("results/quickstart")["seed"].nunique() == 8
    assert Path("results/quickstart/report/index.html").exists()


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_code_runs(quickstart, number, capsys):
    capsys.readouterr()
    exec(blocks("python")[number], {})
    assert "depth" in capsys.readouterr().out


def test_the_queries_of_the_results_folder_agree(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    document = (ROOT / "results" / "README.md").read_text()
    [query] = blocks("sql", document)
    expected = duckdb.sql(query).df()
    pandas_code, polars_code = blocks("python", document)
    for code in (pandas_code, polars_code):
        found: dict[str, Any] = {}
        exec(code, found)
    grouped = found["means"].sort("split", "train_size", "depth", "beta")["distortion_nats"].to_list()
    assert grouped == pytest.approx(expected["mean"].tolist())
    assert str(expected["mean"][0])[:7] in capsys.readouterr().out


def test_its_studies_are_studies():
    whole, search = blocks("yaml")
    study = parse_study(whole)
    assert study.n_cells == 2 * 4 * 2 * 1 * 2 * 3
    without_evaluation = whole[: whole.index("evaluation:")]
    assert parse_study(without_evaluation).evaluation == study.evaluation, "the evaluation shown is the default"
    searching = parse_study(re.sub(r"\n  beta:.*", "", whole) + search)
    assert searching.search is not None
    assert searching.search.stop_when.cells == 128


def test_its_test_command_is_what_ci_calls():
    assert "`make check test`" in README
    assert "make check test" in (ROOT / ".ci" / "run").read_text()
