"""CONTRIBUTING sends nobody astray: what it names is there, and what would have to be touched is named."""

import ast
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from rdstudy.data.split_spec import SPLITS
from rdstudy.storage.schema import COLUMNS
from rdstudy.study import DatasetSpec, study_schema
from tests.docs.documents import ROOT, text
from tests.test_layers import LINE

GUIDES = dict(re.findall(r"(?ms)^## Add a ([\w ]+)\n(.*?)(?=^## |\Z)", text("CONTRIBUTING.md")))
SOURCES = {file.relative_to(ROOT).as_posix(): file.read_text() for file in sorted((ROOT / "rdstudy").rglob("*.py"))}


def named_files(guide: str) -> set[str]:
    """Files of the package in a guide's text; `vae.py` after `rdstudy/models/` is one too."""
    quoted = re.findall(r"`([\w./]+)`", guide)
    folders = [path for path in quoted if path.endswith("/")]
    return {
        candidate
        for path in quoted
        for candidate in (path, *(folder + path for folder in folders))
        if candidate in SOURCES
    }


def identifiers(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        for attribute in ("id", "attr", "name", "arg"):
            name = getattr(node, attribute, None)
            found |= {name} if isinstance(name, str) else set()
    return found


def test_there_is_a_guide_for_each_way_to_extend_a_study():
    assert list(GUIDES) == ["data set", "prior", "model family", "measure"]


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_is_under_a_page_and_ends_with_a_test_to_write(guide):
    assert len(GUIDES[guide].splitlines()) <= 35
    assert "The test to write" in GUIDES[guide].strip().split("\n\n")[-1]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_name_in_a_guide_stands_in_a_file_that_it_names(guide):
    """Capitals alone (NAME) are to be filled in; columns are columns."""
    known = set().union(*(identifiers(SOURCES[file]) for file in named_files(GUIDES[guide])))
    known |= {column.name for column in COLUMNS}
    for name in re.findall(r"`([A-Za-z_][\w.]*)`", GUIDES[guide]):
        if re.search(r"\.(py|md|json)$", name) or name.startswith("NAME"):
            continue
        assert set(name.split(".")) <= known | {"path", "size", "identity"}, f"`{name}` is in none of the files named"


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_and_folder_in_a_guide_is_there(guide):
    for path in re.findall(r"`((?:rdstudy|tests|studies)/[\w./]*)`", GUIDES[guide]):
        assert "NAME" in path or (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("guide", "trace"),
    [
        # A data set that is there already: wherever its name stands, a new one's name has to stand.
        ("data set", r'"kmnist"'),
        # Whoever takes the rate or the density of the prior knows which prior it is.
        ("prior", r"from rdstudy\.objective import .*\brate\b|^def (rate|log_prior)\b|\blog_prior\("),
        ("prior", r"Literal\[\"standard_normal\"\]"),
        # Whoever takes a model's shape or makes a module or a stack knows the one family.
        (
            "model family",
            r"from rdstudy\.(shapes|models\.vae|models\.stacked) import|class (ModelShape|VAE|StackedVAE)\b",
        ),
        # A measure that is there already.
        ("measure", r"\bactive_units\b"),
    ],
)
def test_a_guide_names_every_file_that_knows_of_what_is_there(guide, trace):
    knowing = {file for file, source in SOURCES.items() if re.search(trace, source, re.MULTILINE)}
    assert knowing, f"nothing matches {trace}: the trace is lost"
    named = named_files(GUIDES[guide]) | {"rdstudy/information/__init__.py"}
    assert knowing <= named, f"the guide lacks {', '.join(sorted(knowing - named))}"


def test_the_rooms_are_in_the_order_that_the_layers_have():
    """What stands left of a `<` comes in an earlier line of `tests/test_layers.py`."""
    line = re.search(r"(?m)^    (study, .*\n +<.*)$", text("CONTRIBUTING.md"))
    assert line
    groups = [group.split(", ") for group in re.split(r"\s*<\s*", line[1])]
    for before, after in zip(groups, groups[1:], strict=False):
        assert max(LINE[room.strip()] for room in before) < min(LINE[room.strip()] for room in after)


def test_a_study_file_and_the_splits_know_the_same_data_sets():
    assert get_args(DatasetSpec.model_fields["name"].annotation) == tuple(SPLITS)


def test_the_schema_for_editors_is_that_of_the_code():
    shipped = json.loads(Path(ROOT / "studies" / "study.schema.json").read_text())
    assert shipped == study_schema(), "rdstudy schema > studies/study.schema.json"
