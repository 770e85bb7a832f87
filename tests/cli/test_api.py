"""The Python interface does what the commands do, and prints nothing unless asked."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

import rdstudy
from rdstudy.errors import UserError
from rdstudy.storage import locked
from rdstudy.study import StudyError, load_study
from tests.command import values


@pytest.fixture
def no_ray(study_file, tmp_path, monkeypatch) -> Callable[..., object]:
    """Run the tiny study in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda study=study_file, *arguments, **options: rdstudy.run(study, *arguments, ray=False, **options)


def test_a_study_is_run_once_and_its_result_says_so(no_ray, capsys):
    first, second = no_ray(), no_ray()
    assert (first.trained, first.complete, first.limit) == (4, True, None)
    assert (second.trained, second.complete) == (0, True)
    assert first.results == Path("results/tiny")
    assert len(first.measurements()) == 4 * 4 * 2
    assert first.status.finished == second.status.finished == set(first.study.cells)
    assert "4 cells, 4 finished, 0 missing" in repr(first)
    assert capsys.readouterr() == ("", "")


def test_progress_is_printed_only_if_wanted(no_ray, capsys):
    no_ray(progress=True)
    out = capsys.readouterr().out
    assert "tiny: 4 cells, 0 finished, 4 missing" in out
    assert "4/4 cells" in out


def test_a_path_a_study_and_a_mapping_give_the_same_table(no_ray, study_file, tmp_path):
    mapping = yaml.safe_load(study_file.read_text())
    tables = []
    for i, study in enumerate((study_file, str(study_file), load_study(study_file), mapping)):
        no_ray(study, tmp_path / str(i), settings=["grid.seed=[1]"])
        tables.append(values(tmp_path / str(i)))
    assert len(tables[0]) == 2 * 4 * 2
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_a_run_that_reaches_its_limit_is_resumed_by_the_next(no_ray):
    stopped = no_ray(max_hours=1e-9)
    assert stopped.limit is not None
    assert not stopped.complete
    assert no_ray().complete


def test_a_plan_and_a_status_say_what_is_finished_and_missing(no_ray, study_file, capsys):
    before = rdstudy.plan(study_file)
    assert sum(map(len, before.packs)) == len(before.status.missing) == 4
    assert before.estimate is not None
    assert before.estimate.seconds > 0
    assert not Path("results").exists()
    no_ray(settings=["grid.beta=[1]"])
    assert len(rdstudy.plan(study_file).status.missing) == 2
    assert len(rdstudy.status("results/tiny").finished) == 2
    assert rdstudy.plan(study_file, settings=["grid.beta=[1]"]).estimate is None
    assert capsys.readouterr() == ("", "")


def test_a_report_is_written(no_ray, capsys):
    no_ray()
    page, *others = rdstudy.write_report("results/tiny")
    assert page == Path("results/tiny/report/index.html")
    assert all(path.exists() for path in [page, *others])
    assert capsys.readouterr().out == ""


def test_invalid_input_is_a_user_error_that_names_the_line_or_the_key(no_ray, study_file, tmp_path):
    mapping = yaml.safe_load(study_file.read_text())
    with pytest.raises(StudyError, match="dept"):
        no_ray(mapping | {"grid": mapping["grid"] | {"dept": [1]}})
    study_file.write_text(study_file.read_text().replace("[40]", "[81]"))
    with pytest.raises(UserError, match=rf"{study_file}:\d+: "):
        no_ray()
    with pytest.raises(UserError, match=r"study\.json"):
        rdstudy.status(tmp_path)


def test_a_second_run_is_refused_while_the_first_writes(no_ray):
    with locked(Path("results/tiny")), pytest.raises(UserError, match="is being written by"):
        no_ray()


def test_the_report_package_keeps_its_name():
    """`rdstudy.report` is a package, so no function can have that name."""
    program = "import rdstudy, rdstudy.report; print(rdstudy.report.__name__, callable(rdstudy.write_report))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "rdstudy.report True\n"


@pytest.mark.slow
def test_ray_and_this_process_give_the_same_bits(no_ray, study_file, tmp_path, capsys):
    no_ray(study_file, tmp_path / "here")
    capsys.readouterr()
    result = rdstudy.run(study_file, tmp_path / "ray", ray=True)
    assert (result.trained, result.complete) == (4, True)
    assert capsys.readouterr().out == ""
    pd.testing.assert_frame_equal(values(tmp_path / "ray"), values(tmp_path / "here"), check_exact=True)
