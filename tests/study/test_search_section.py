"""A search refuses what a grid refuses, and shows no password."""

import pytest

from rdstudy.study import StudyError, parse_study
from rdstudy.study.search_section import redacted

TEXT = """\
name: sought
dataset: {name: tetrominoes}
grid: {split: [random], train_size: [100]}
training: {steps: 10}
search: {goal: frontier, space: {%s}, stop_when: {cells: 4}}
"""


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("beta: {low: 0.1, high: .inf}", "finite"),
        ("beta: [1.0, .nan]", "finite"),
        ("beta: {low: -1, high: 1, log: false}", "greater than or equal to 0; found -1"),
        ("learning_rate: [0.0, 0.1]", "greater than 0; found 0"),
        ("depth: [1, 68]", "less than or equal to 64; found 68"),
        ("depth: {low: 1, high: 1.5}", "whole numbers"),
        ("width: [0, 4]", "greater than or equal to 1; found 0"),
    ],
)
def test_a_searched_axis_has_the_bounds_of_the_grid(space, words):
    other = "" if space.startswith("beta") else ", beta: {low: 0.1, high: 1}"
    with pytest.raises(StudyError, match=words):
        parse_study(TEXT % (space + other))


def test_a_password_is_not_recorded():
    text = TEXT % "beta: {low: 0.1, high: 1}"
    study = parse_study(text.replace("stop_when", "storage: 'mysql://me:secret7@host/db?password=secret7', stop_when"))
    assert study.search is not None
    assert study.search.storage == "mysql://me:secret7@host/db?password=secret7"
    assert "secret7" not in study.model_dump_json() + str(study.model_dump())
    assert redacted("a mysql://me:se@cret@host/db") == "a mysql://me:***@host/db"
