"""Every command of ours that a document names exists, with its options."""

import importlib.util
import re
from typing import Any

import pytest
import typer

from rdstudy.cli import app
from tests.docs.documents import NAMES, PROGRAMS, ROOT, commands, text

TARGETS = set(re.findall(r"(?m)^([a-z][\w-]*):", text("Makefile")))


def mistake(words: list[str]) -> str | None:
    """What is wrong with a command, if anything."""
    program, *rest = words
    if program == "make":
        unknown = [word for word in rest if "=" not in word and word not in TARGETS]
        return f"make knows no {', '.join(unknown)}" if unknown else None
    if program == "python":
        return _python_mistake(rest)
    return _rdstudy_mistake(rest)


def _python_mistake(words: list[str]) -> str | None:
    if words[:1] == ["-m"] and len(words) > 1:
        there = words[1] == "pytest" or importlib.util.find_spec(words[1]) is not None
        return None if there else f"there is no module {words[1]}"
    if words and words[0].endswith(".py") and not (ROOT / words[0]).exists():
        return f"there is no {words[0]}"
    return None


def _rdstudy_mistake(words: list[str]) -> str | None:
    command: Any = typer.main.get_command(app)
    for word in words:
        if word.startswith("--"):
            name = word.partition("=")[0]
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            if name not in known | {"--help"}:
                return f"{command.name} has no option {name}"
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return f"{command.name} has no command {word}"
            command = command.commands[word]
    return None


@pytest.mark.parametrize("name", NAMES)
def test_every_command_in_a_document_exists(name):
    for words in commands(text(name)):
        assert mistake(words) is None, (words, mistake(words))


@pytest.mark.parametrize("name", NAMES)
def test_every_study_and_cluster_file_in_a_command_is_there(name):
    for words in commands(text(name)):
        for word in words:
            if re.fullmatch(r"(studies|cluster)/[a-z/_]+\.yaml", word):
                assert (ROOT / word).exists(), words


def test_all_three_programs_are_found_in_the_documents():
    assert {words[0] for name in NAMES for words in commands(text(name))} == set(PROGRAMS)


@pytest.mark.parametrize(
    "line",
    [
        "make no-such-target",
        "python -m tests.benchmarks.nothing",
        "python tests/nothing.py",
        "rdstudy walk studies/quickstart.yaml",
        "rdstudy run studies/quickstart.yaml --fast",
        "rdstudy examples burn",
        "rdstudy --fast",
    ],
)
def test_a_command_that_does_not_exist_is_found_out(line):
    document = f"Text.\n\n    .venv/bin/{line}   # why\n\nAnd `{line}`, or\n\n```sh\n{line}\n```\n"
    found = list(commands(document))
    assert len(found) == 3
    assert all(mistake(words) is not None for words in found)
