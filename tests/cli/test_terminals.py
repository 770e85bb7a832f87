"""Terminals as they are: narrow, without colour, without Unicode, files instead; notebooks; shells that complete."""

import codecs
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from rdstudy.study import parse_study
from tests.conftest import STUDY
from tests.made import make_results

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
RDSTUDY = [sys.executable, "-m", "rdstudy"]
LOOKING = [("ls", "r"), ("show", "r", "{ok}"), ("show", "r", "{failed}"), ("status", "r"), ("examples", "list")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with results `r` of four cells that stand differently, and their ids."""
    folder = tmp_path_factory.mktemp("place")
    study = parse_study(STUDY % "images.npz")
    ids = dict(zip(("ok", "diverged", "failed", "missing"), study.cells, strict=True))
    make_results(folder / "r", study, {ids[status]: status for status in ("ok", "diverged", "failed")})
    return folder, ids


def process(place, arguments, **environment):
    folder, ids = place
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "LC_ALL")}
    return subprocess.run(
        [*RDSTUDY, *(word.format(**ids) for word in arguments)],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_a_terminal_without_unicode_gets_ascii(place, arguments):
    ended = process(place, arguments, PYTHONIOENCODING="ascii", COLUMNS="80")
    assert ended.returncode in (0, 1), ended.stderr
    assert ended.stderr == b""
    text = ended.stdout.decode("ascii")
    assert len(text.splitlines()) > 1
    if arguments[0] == "show" and "ok" in arguments[2]:
        assert "#" in text
        assert " +/- " in text


def test_a_file_gets_whole_lines_and_no_control_codes(place):
    for arguments in LOOKING[:3]:
        ended = process(place, arguments, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color")
        assert not CONTROL.search(re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout.decode()))
        ended = process(place, arguments)
        assert not CONTROL.search(ended.stdout.decode())
    lines = process(place, ("ls", "r")).stdout.decode().splitlines()
    assert sum(line.startswith(tuple(place[1].values())) for line in lines) == 4


def test_forty_columns_show_everything_that_wide_terminals_do(place):
    def words(text):
        return "".join(re.findall(r"\w+", text))

    wide = process(place, ("ls", "r"), COLUMNS="200").stdout.decode()
    narrow = process(place, ("ls", "r"), COLUMNS="40").stdout.decode()
    assert "…" not in narrow
    for line in wide.splitlines()[2:6]:
        for value in line.split():
            assert words(value) in words(narrow)
    assert max(map(len, narrow.splitlines()[1:-2])) <= 40


def played(folder, arguments, *, columns=100, **environment):
    """What a command writes to a real terminal of this width, and its exit code."""
    leader, follower = pty.openpty()
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    environment = {**inherited, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    with subprocess.Popen(
        [*RDSTUDY, *arguments], cwd=folder, env=environment, stdin=follower, stdout=follower, stderr=follower
    ) as running:
        os.close(follower)
        text, decode = "", codecs.getincrementaldecoder("utf-8")("replace").decode
        until = time.monotonic() + 240
        while time.monotonic() < until:
            if select.select([leader], [], [], 0.1)[0]:
                try:
                    text += decode(os.read(leader, 65536))
                except OSError:  # the other end is closed
                    break
        os.close(leader)
        return text, running.wait()


COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38)[;m]")


def test_a_run_redraws_itself_on_a_terminal_and_only_there(study_file, tmp_path):
    small = ("--no-ray", "--set", "grid.seed=[0]", "--set", "training.steps=70")
    text, code = played(tmp_path, ("run", str(study_file), *small, "--results", "a"), columns=40)
    assert (code, "\x1b[1A" in text) == (0, True)  # the cursor goes up
    assert COLOUR.search(text)
    text, code = played(tmp_path, ("run", str(study_file), *small, "--results", "b"), JPY_PARENT_PID="1", NO_COLOR="1")
    assert (code, "\x1b[1A" in text) == (0, False)
    assert not COLOUR.search(text)
    assert "pack 1/" in text


# --- notebooks ---


def test_a_notebook_shows_one_output_that_is_replaced(monkeypatch):
    import types

    from rich.console import Console

    from rdstudy.cli import live

    shown = []

    class Handle:
        def update(self, bundle, *, raw):
            shown.append(("replaced", bundle["text/plain"]))

    def first(bundle, *, raw, display_id):
        shown.append(("shown", bundle["text/plain"]))
        return Handle()

    module = types.ModuleType("IPython.display")
    module.display = first  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(live, "NOTEBOOK_SECONDS", 0.0)
    console = Console(file=io.StringIO(), force_jupyter=True)
    measuring = live.RemeasureDisplay(8, console, where="here")
    with measuring:
        for n in range(3):
            measuring.measured = n
            measuring._changed()
    assert [how for how, _ in shown] == ["shown", "replaced", "replaced", "replaced"]
    assert "0/8" in shown[0][1]
    assert "2/8" in shown[-1][1]
    assert not CONTROL.search(shown[-1][1])


# --- completion ---


def completed(place, line, **environment):
    words = line.split(" ")
    asked = {"_RDSTUDY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    ended = process(place, (), **asked, **environment)
    assert ended.stderr == b""
    return ended.stdout.decode().split()


def test_a_shell_completes_results_studies_and_cells(place):
    folder, ids = place
    make = folder / "results" / "deeper"
    if not make.exists():
        make_results(make, parse_study(STUDY % "images.npz"), {})
    assert completed(place, "rdstudy status r") == ["r", "results/", "results/deeper"]
    assert completed(place, "rdstudy status results/") == ["results/deeper"]
    assert completed(place, "rdstudy examples copy quick") == ["quickstart"]
    assert sorted(completed(place, "rdstudy show r ")) == sorted(ids.values())
    assert completed(place, f"rdstudy show r {ids['missing'][:9]}") == [ids["missing"]]
    assert completed(place, "rdstudy show nowhere ") == []
    assert completed(place, "rdstudy export r out --format t") == ["tensorboard"]
    assert completed(place, "rdstudy init --dataset im") == ["images"]


def test_completion_imports_nothing_heavy(place):
    program = """
import sys
from pathlib import Path
from types import SimpleNamespace
from rdstudy.cli import completion
print(len(completion.cell_ids(SimpleNamespace(params={"results": Path("r")}), "")))
completion.results_folders("")
completion.study_names("")
print(*{"torch", "ray", "optuna", "matplotlib"} & sys.modules.keys())
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=place[0], capture_output=True, text=True, check=True)
    assert ended.stdout == "4\n\n"


# --- documents ---


def documented(command, *verb):
    """The keys that a command's help names."""
    text = " ".join(command(*verb, "--help").out.split())
    [keys] = re.findall(r"with the keys (.*?); unknown values are null", text)
    while "(" in keys:
        keys = re.sub(r" ?\([^()]*\)", "", keys)
    return keys.split(", ")


def test_every_document_has_the_keys_of_its_help_and_nothing_stands_beside_it(command, study_file):
    def document(*arguments, verb=None):
        ended = command(*arguments, "--json")
        assert ended.code == 0, ended
        made = json.loads(ended.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
        assert list(made) == documented(command, *(verb or arguments[:1])), arguments
        return made, ended.err

    planned, err = document("plan", study_file)
    assert (planned["cells"], planned["missing"], err) == (4, 4, "")
    assert sum(kind["packs"] * kind["models"] for kind in planned["packs"]) == 4
    ran, err = document("run", study_file, "--no-ray")
    assert (ran["finished"], ran["stopped"]) == (4, None)
    assert "4/4 cells" in err  # how it goes is told elsewhere
    assert document("run", study_file, "--no-ray")[0] == ran
    assert document("plan", study_file)[0]["packs"] == []
    results = "results/tiny"
    assert document("status", results)[0]["finished"] == 4
    cells = document("ls", results)[0]["cells"]
    assert len(cells) == 4
    assert document("show", results, cells[0]["cell_id"])[0]["status"] == "ok"
    assert document("remeasure", results, "--no-ray", "--mi-draws", "2")[0]["measured"] == 4
    assert {curve["n_seeds"] for curve in document("report", results)[0]["curves"]} == {2}
    assert document("data", study_file)[0]["examples"] == 100
    assert document("clean", results)[0]["bytes"] == 0
    assert document("export", results, "out", "--format", "csv")[0]["cells"] == 4
    assert document("examples", "list", verb=("examples", "list"))[0]["examples"][0]["name"]
    told = {column["name"]: column for column in document("columns")[0]["columns"]}
    assert told["rate_nats"]["unit"] == "nats"
    assert told["rate_nats"]["type"] == "float"
    mistaken = command("status", "gone", "--json")
    assert (mistaken.code, mistaken.out) == (2, "")


def test_a_doctors_document_names_the_faults(command, tmp_path):
    (tmp_path / "file").write_text("")
    ended = command("doctor", "--results", "file/results", "--json")
    document = json.loads(ended.out)
    assert list(document) == documented(command, "doctor")
    assert (ended.code, len(document["faults"])) == (2, 1)
    assert ended.err.startswith("rdstudy: this machine: 1 to fix:")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_is_unknown_is_null(value):
    import numpy as np
    import pandas as pd

    from rdstudy.cli.json_output import plain

    frame = pd.DataFrame({"x": [value], "t": [pd.NaT]})
    assert plain({"a": value, "b": frame, "c": [np.float32("nan"), np.int64(3)], "d": pd.NA}) == {
        "a": None,
        "b": [{"x": None, "t": None}],
        "c": [None, 3],
        "d": None,
    }
