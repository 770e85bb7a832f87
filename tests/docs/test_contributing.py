"""CONTRIBUTING sends nobody astray: what it names is there, and what would have to be touched is named."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from rdstudy.data.split_spec import SPLITS
from rdstudy.study import DatasetSpec, study_schema
from tests.docs.documents import ROOT, text
from tests.test_layers import ORDER

GUIDES = dict(re.findall(r"(?ms)^## Add a ([\w ]+)\n(.*?)(?=^## |\Z)", text("CONTRIBUTING.md")))


def test_there_is_a_guide_for_each_way_to_extend_a_study():
    assert list(GUIDES) == ["data set", "prior", "model family", "measure"]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_and_folder_in_a_guide_is_there(guide):
    for path in re.findall(r"`((?:rdstudy|tests|studies)/[\w./]*)`", GUIDES[guide]):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_the_rooms_are_in_the_order_that_the_layers_have():
    assert ORDER in text("CONTRIBUTING.md")


def test_a_study_file_and_the_splits_know_the_same_data_sets():
    assert get_args(DatasetSpec.model_fields["name"].annotation) == tuple(SPLITS)


def test_the_schema_for_editors_is_that_of_the_code():
    shipped = json.loads(Path(ROOT / "studies" / "study.schema.json").read_text())
    assert shipped == study_schema(), "rdstudy schema > studies/study.schema.json"
