"""A run starts Ray where that saves more time than Ray takes to start, and says so; the user may decide."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rdstudy.execution.ray_choice import RayChoice, choose_ray, decide
from rdstudy.study import parse_study
from tests.conftest import STUDY

FOURTEEN = "grid.seed={count: 7}"
IN_PROCESS, ON_RAY = "training in this process: of about ", "starting Ray"


@pytest.fixture
def choose(make_study, tmp_path):
    def chosen(*settings: str) -> RayChoice:
        study = make_study(*settings)
        return choose_ray(study, tmp_path, list(study.cells.values()), 15, 20)

    return chosen


def test_fourteen_small_cells_do_without_ray(choose):
    choice = choose(FOURTEEN)
    assert not choice.ray
    assert "10 s to start" in choice.why


def test_hours_of_work_are_done_on_ray(choose):
    choice = choose(FOURTEEN, "training.steps=10000000")
    assert choice.ray
    assert "more than 2 minutes" in choice.why


@pytest.mark.parametrize(
    ("alone", "on_ray", "ray"),
    [
        (60.0, 30.0, True),
        (60.0, 49.0, True),
        (60.0, 51.0, False),
        (9.0, 0.1, False),
        (60.0, 70.0, False),
        (121.0, 121.0, True),
    ],
)
def test_ray_is_started_where_it_saves_more_than_its_start_or_the_work_is_long(alone, on_ray, ray):
    assert decide(alone, on_ray).ray == ray


def test_one_pack_gains_nothing_from_many_workers(choose):
    choice = choose("grid.seed=[0]", "grid.beta=[1]", "training.steps=60000")
    assert not choice.ray
    assert "Ray would save 0 s" in choice.why


def test_a_search_is_done_on_ray_because_its_cells_are_not_known(tmp_path):
    text = (STUDY % "images.npz").replace("  beta: [1, 0.1]\n", "")
    study = parse_study(text + "search: {goal: best_beta, beta: {low: 0.1, high: 1}, stop_when: {cells: 8}}\n")
    assert choose_ray(study, tmp_path, [], 15, 20).ray


def test_the_choice_and_its_reason_are_one_line(command, study_file):
    ended = command("run", study_file, "--set", "training.steps=2", "--set", FOURTEEN)
    assert ended.code == 0
    assert [line.startswith(IN_PROCESS) for line in ended.out.splitlines()].count(True) == 1
    assert ON_RAY not in ended.out


def test_what_the_user_chose_is_not_explained(command, study_file):
    ended = command("run", study_file, "--no-ray", "--set", "training.steps=2")
    assert ended.code == 0
    assert IN_PROCESS not in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("place", ["option", "environment"])
def test_a_cluster_is_always_used(study_file: Path, tmp_path: Path, place):
    """However small the study: nobody names a cluster for nothing."""
    options = ["--address", "127.0.0.1:1"] if place == "option" else []
    environment = {**os.environ, **({"RAY_ADDRESS": "127.0.0.1:1"} if place == "environment" else {})}
    command = [sys.executable, "-m", "rdstudy", "run", str(study_file), "--results", str(tmp_path / "r"), *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert ended.returncode == 2
    assert "no Ray cluster at 127.0.0.1:1" in ended.stderr
