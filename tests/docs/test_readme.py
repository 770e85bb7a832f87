"""The README does what it says: its commands run, its code runs, its studies are studies, its paths are there."""

import re
import shlex
from pathlib import Path

import duckdb
import polars
import pytest

import rdstudy
from rdstudy.study import parse_study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    .venv/bin/rdstudy ")]
SMALL = ["training.steps=20", "dataset.size=600", "dataset.test_size=100", "grid.train_size=[100]", "grid.width=[8]"]
SMALL += ["grid.beta=[5,1,0.1]", "grid.depth=[1]", "evaluation.nll.examples=20"]
"""The quickstart in a second."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def quickstart(command, monkeypatch):
    """What `make quickstart` leaves, only smaller, in an empty folder."""
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    small = [part for setting in SMALL for part in ("--set", setting)]
    assert command("run", ROOT / "studies" / "quickstart.yaml", "--no-ray", *small).code == 0
    return command


def test_the_commands_run_in_their_order(quickstart):
    assert len(COMMANDS) == 10
    for line in COMMANDS:
        arguments = shlex.split(line, comments=True)[1:]
        if arguments[0] in ("run", "plan"):
            arguments += [part for setting in SMALL for part in ("--set", setting)]
        if arguments[0] in ("run", "remeasure"):
            arguments.append("--no-ray")  # on Ray they are run in tests/tuning
        ended = quickstart(*arguments)
        assert ended.code == 0, (line, ended)
        assert ended.err == ""
    assert rdstudy.load_measurements("results/quickstart")["seed"].nunique() == 5
    assert Path("results/quickstart/report/index.html").exists()


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_code_runs(quickstart, number, capsys):
    capsys.readouterr()
    exec(blocks("python")[number], {})
    assert "depth" in capsys.readouterr().out


def test_duckdb_and_polars_read_the_table(quickstart):
    [query] = blocks("sql")
    frame = duckdb.sql(query).df()
    table = rdstudy.load_measurements("results/quickstart")
    final = table[table["is_final"] & (table["population"] == "test")]
    expected = final.groupby(["depth", "beta"])["distortion_nats"].mean()
    assert frame.iloc[:, 2].tolist() == pytest.approx(expected.tolist())
    [expression] = re.findall(r"`(polars\.read_parquet.*?)`", README)
    assert len(eval(expression, {"polars": polars})) == len(table)


def test_its_studies_are_studies():
    whole, evaluation, search = blocks("yaml")
    study = parse_study(whole)
    assert study.n_cells == 2 * 4 * 2 * 1 * 2 * 3
    assert parse_study(re.sub(r"(?s)\Z", evaluation, whole)).evaluation == study.evaluation, (
        "what it shows is the default"
    )
    searching = parse_study(re.sub(r"\n  beta:.*", "", whole) + search)
    assert searching.search is not None
    assert searching.search.stop_when.cells == 128


def test_its_map_names_what_is_there_and_all_of_it():
    rows = re.search(r"## Where things are.*?\n\n(\|.*?)\n\n", README, re.DOTALL)
    assert rows
    named = set(re.findall(r"`([\w./]+)`", rows.group(1)))
    there = {path.name for path in (ROOT / "rdstudy").iterdir() if not path.name.startswith("__")}
    names = {Path(name).name for name in named}
    assert there - {"errors.py", "py.typed"} <= names, "a room that the map lacks"
    for name in named:
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "rdstudy", ROOT / "rdstudy/models")), name


def test_its_test_command_is_what_ci_calls():
    assert "`make check test`" in README
    assert "make check test" in (ROOT / ".ci" / "run").read_text()
