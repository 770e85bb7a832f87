"""YAML that nobody should write is answered at once, with its line."""

import os
import time

import pytest

from rdstudy.study import StudyError, parse_study
from rdstudy.study.yaml_loading import MAX_BYTES, parse_yaml, read_text

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [*a]", "an alias of what contains it"),
        ("a: &a\n  <<: *a", "an alias of what contains it"),
        ("x: 1\ny: " + "[" * 2000, "study:2: not valid YAML: more than 32 levels"),
        ("{a: " * 3000, "more than 32 levels"),
        ("".join(" " * i + "a:\n" for i in range(300)), "more than 32 levels"),
        (LAUGHS, "aliases of more than 20,000 values"),
        ("- 1\n" * 60_000, "more than 20,000 values"),
        ("x" * MAX_BYTES + "y", "longer than 256 kB"),
        ("a: !!int foo", "expected a whole number; found 'foo'"),
        ("a: " + "9" * 5000, "expected a whole number; found '9999.*5,000 characters"),
        ("a: !!float x", "expected a number; found 'x'"),
        ("a: !!bool zz", "expected true or false; found 'zz'"),
        ("a: !!timestamp x", "could not determine a constructor"),
        ("a: !!binary eA==", "could not determine a constructor"),
        ("a: !!set {a, b}", "could not determine a constructor"),
        ("a: !!python/object/apply:os.system ['id']", "could not determine a constructor"),
        ('a: "\\ud800"', "expected text"),
        ("x: 1\na: \x1b", r"study:2: not valid YAML: the character '\\x1b'"),
        ("a: \udcff", r"the character '\\udcff'"),
        ("? [a]\n: b", "unhashable key"),
    ],
)
def test_what_cannot_be_read_is_named_at_once(text, words):
    started = time.process_time()
    with pytest.raises(StudyError, match=words) as refusal:
        parse_yaml(text, "study")
    assert time.process_time() - started < 3
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x_", "0x_"),
        ("yes", "yes"),
        ("true", True),
        ("1e-3", 1e-3),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("=", "="),
        ("😀", "😀"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found, _ = parse_yaml(f"a: {text}", "study")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_aliases_and_merges_are_read():
    text = "a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}"
    assert parse_yaml(text, "study")[0] == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}


def test_a_pipe_a_device_and_a_large_file_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_text("a: 1\n" * MAX_BYTES)
    for path, words in (
        (tmp_path / "pipe.yaml", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (tmp_path, "is a folder"),
        (tmp_path / "large.yaml", "larger than 256 kB"),
        ("a\0b", "null"),
        ("n" * 5000, "File name too long"),
    ):
        with pytest.raises(StudyError, match=words) as refusal:
            read_text(path)
        assert len(str(refusal.value)) < 400


def test_many_mistakes_make_a_short_message():
    text = "name: a\n" + "".join(f"k{i}: 1\n" for i in range(3000))
    with pytest.raises(StudyError, match="further mistakes") as refusal:
        parse_study(text)
    assert len(str(refusal.value)) < 600


def test_of_a_union_only_the_nearest_form_is_named():
    text = "name: a\ndataset: {name: tetrominoes}\ngrid: {split: [random], beta: [1], train_size: [9]}\n"
    text += "training: {steps: 9}\nevaluation: {steps: %s}\n"
    for steps in ("1", "{log_spaced: -1}", "[x]"):
        with pytest.raises(StudyError) as refusal:
            parse_study(text % steps)
        assert str(refusal.value).count("study:") == 1, steps


@pytest.mark.parametrize("setting", ["nll.importance_samples", "mutual_information.draws", "refit.steps"])
def test_counts_that_no_computer_gets_through_are_refused(setting):
    text = "name: a\ndataset: {name: tetrominoes}\ngrid: {split: [random], beta: [1], train_size: [9]}\n"
    with pytest.raises(StudyError, match="less than or equal to 10,000,000; found 1000000000000000000"):
        parse_study(text + "training: {steps: 9}\n", overrides=[f"evaluation.{setting}={10**18}"])
