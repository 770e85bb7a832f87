"""Input made to do harm: success, or exit code 2 with one short message; the table stays as it was.

Valid files are changed at random places (hypothesis, the same examples in every run), and settings and arguments are
drawn from values that have hurt before.
"""

import io
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rdstudy.data.image_files import load_image_files
from rdstudy.errors import UserError
from rdstudy.storage.parts import to_arrow
from rdstudy.storage.schema import OK
from rdstudy.study import parse_study
from tests.command import Ended, contents
from tests.made import make_results, rows_of

bounded = settings(
    max_examples=60,
    derandomize=True,
    deadline=10_000,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(bounded, max_examples=25)

STUDY = """\
name: tiny
question: does it run?
dataset: {name: images, path: images.npz}
grid:
  split: [random]
  beta: [1, 0.1]
  depth: [1]
  train_size: [40]
  seed: {count: 2}
training: {steps: 130, batch_size: 10, learning_rate: 1e-3}
evaluation: {steps: [40, 64], num_images: 2, nll: {importance_samples: 4}}
resources: {device: cpu, pack_size: 2}
"""
TOKENS = st.sampled_from(
    [
        *("[", "{", "&a ", "*a", "!!int ", "<<: ", "~", ".nan", "-.inf", "1e999", "9" * 500, "0x", "010", "1:30", "\t"),
        *("- ", ": ", "'", '"', "\\ud800", "\x1b[31m", "\u202e", "😀", "%", "---\n", "null", "{count: -1}", "[[1]]"),
    ]
)
VALUES = st.one_of(TOKENS, st.text(max_size=20), st.integers().map(str), st.floats().map(str))
KEYS = st.sampled_from(
    [
        *(
            "name",
            "grid.beta",
            "grid.seed",
            "grid.split",
            "grid.depth",
            "training.steps",
            "training",
            "evaluation.steps",
        ),
        *(
            "evaluation.nll.importance_samples",
            "resources.cpus_per_pack",
            "dataset.path",
            "search",
            "x.y",
            "",
            "a" * 300,
        ),
    ]
)
SETTINGS = st.builds("{}={}".format, KEYS, VALUES)


@st.composite
def edited(draw: st.DrawFn, text: str) -> str:
    """The text with up to three places replaced."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 12)))
        text = text[:at] + draw(VALUES) + text[end:]
    return text


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes cut off, or with up to four of them changed."""
    if draw(st.booleans()):
        return data[: draw(st.integers(0, len(data) - 1))]
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def named(message: object) -> None:
    assert str(message).strip()


def short(message: object) -> None:
    assert 0 < len(str(message)) < 400


def fine(ended: Ended) -> None:
    """Done, or refused in one short message."""
    assert ended.code in (0, 1, 2)
    assert "Traceback" not in ended.err + ended.out
    if ended.code == 2:
        assert ended.err.startswith(("rdstudy: ", "Usage: "))
        assert len(ended.err) < 500


@bounded
@given(edited(STUDY), st.lists(SETTINGS, max_size=2))
def test_a_study_file_is_read_or_refused(text, overrides):
    try:
        assert parse_study(text, where="study.yaml", overrides=overrides).n_cells > 0
    except UserError as error:
        named(error)


def as_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=np.arange(240, dtype=np.uint8).reshape(10, 4, 6), labels=np.arange(10) % 3)
    return buffer.getvalue()


def as_png(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3)).save(buffer, kind)
    return buffer.getvalue()


IMAGES = {"mine.npz": as_npz(), **{f"mine/0.{kind}": as_png(kind) for kind in ("png", "jpeg", "bmp")}}


@pytest.mark.parametrize(("name", "data"), IMAGES.items(), ids=IMAGES)
def test_images_are_read_or_refused(tmp_path, name, data):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)

    @bounded
    @given(damaged(data))
    def check(changed: bytes) -> None:
        path.write_bytes(changed)
        try:
            assert load_image_files(tmp_path / name.partition("/")[0]).n_examples > 0
        except ValueError as error:
            short(error)

    check()


@pytest.fixture
def results(tmp_path) -> Path:
    """A folder with two finished cells of four."""
    study = parse_study(STUDY)
    return make_results(tmp_path / "there", study, dict.fromkeys(list(study.cells)[:2], OK))


def part() -> bytes:
    study = parse_study(STUDY)
    buffer = io.BytesIO()
    pq.write_table(to_arrow(rows_of(study, list(study.cells.values())[2])), buffer)
    return buffer.getvalue()


PLACES = ["measurements/x.parquet", "bundles/x.parquet", "staging/x.parquet", "lock", "checkpoints/p/7.safetensors"]


@few
@given(place=st.sampled_from(PLACES), data=damaged(part()), command_name=st.sampled_from(["status", "ls"]))
def test_foreign_files_in_a_results_folder_change_nothing(results, command, place, data, command_name):
    path = results / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    before = contents(results)
    fine(command(command_name, results))
    assert contents(results) == before
    path.unlink()


@few
@given(text=edited(json.dumps(parse_study(STUDY).model_dump(mode="json") | {"n_cells": 4, "numerics": 2})))
def test_a_changed_record_is_read_or_refused(results, command, text):
    (results / "study.json").write_text(text, errors="surrogateescape")
    fine(command("status", results))


ARGUMENTS = ("there", "", "~", "/dev/null", "n" * 300, "s3:/x", "--json", "--set", "--cells", "-1", "²", "\x1b[0m")


@few
@given(
    st.sampled_from(["plan", "status", "ls", "show", "verify", "export", "nonsense", "-h"]),
    st.lists(st.sampled_from(ARGUMENTS), max_size=4),
)
def test_any_arguments_end_with_a_message(command, name, arguments):
    started = time.process_time()
    fine(command(name, *arguments))
    assert time.process_time() - started < 10
    shutil.rmtree(Path("s3:"), ignore_errors=True)
