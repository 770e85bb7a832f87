"""The guides of CONTRIBUTING name files that exist, for every way to extend a study."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from rdstudy.data.split_spec import SPLITS
from rdstudy.study import DatasetSpec, study_schema
from tests.docs.documents import ROOT, tables, text
from tests.test_layers import LEVEL, ORDER

GUIDES = dict(re.findall(r"(?ms)^## Add an? ([\w ]+)\n(.*?)(?=^## |\Z)", text("CONTRIBUTING.md")))


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_and_folder_in_a_guide_exists(guide):
    paths = re.findall(r"`((?:rdstudy|tests|studies)/[\w./]*)`", GUIDES[guide])
    assert paths
    for path in paths:
        place = ROOT / path
        assert (place.parent if place.stem == "NAME" else place).exists(), path


@pytest.mark.parametrize("guide", GUIDES)
def test_every_guide_names_the_test_to_write(guide):
    assert "The test to write" in GUIDES[guide]


def test_the_rooms_are_those_of_the_layers_in_their_order():
    assert ORDER in text("CONTRIBUTING.md")
    [rows] = [rows for rows in tables(text("CONTRIBUTING.md")) if "folder of `rdstudy/`" in rows[0]]
    assert {row["folder of `rdstudy/`"].strip("`/") for row in rows} == LEVEL.keys()


def test_a_study_file_and_the_splits_know_the_same_data_sets():
    assert get_args(DatasetSpec.model_fields["name"].annotation) == tuple(SPLITS)


def test_the_schema_for_editors_is_that_of_the_code():
    shipped = json.loads(Path(ROOT / "studies" / "study.schema.json").read_text())
    assert shipped == study_schema(), "rdstudy schema > studies/study.schema.json"
