"""The examples in docstrings are true: each is run as it stands, in a folder with `studies/` and a small quickstart."""

import ast
import doctest
import os
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

QUICK = ["grid.depth=[1]", "grid.width=[8]", "grid.train_size=[100]", "grid.seed=[0,1]", "training.steps=20"]
QUICK += ["dataset.size=600", "dataset.test_size=100", "evaluation.steps=[20]", "evaluation.nll.examples=20"]
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def examples() -> Iterator[doctest.DocTest]:
    """Found in the source, because checks of types under pytest hide functions from doctest's own search."""
    for file in sorted((ROOT / "rdstudy").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if text and ">>>" in text:
                name = ".".join([*file.relative_to(ROOT).with_suffix("").parts, getattr(node, "name", "")])
                line = getattr(node, "lineno", 0)
                yield doctest.DocTestParser().get_doctest(text, {}, name, str(file), line)


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the reader of an example stands: with the studies, and with results of the quickstart, only smaller."""
    from rdstudy import cli

    place: Path = tmp_path_factory.mktemp("reader")
    (place / "studies").symlink_to(ROOT / "studies")
    before, handlers = Path.cwd(), {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    os.chdir(place)
    try:
        settings = [word for setting in QUICK for word in ("--set", setting)]
        with pytest.raises(SystemExit) as ended:
            cli.main(["run", "studies/quickstart.yaml", "--no-ray", *settings])
        assert not ended.value.code
    finally:
        os.chdir(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return place


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_gives_what_it_says(example, folder, monkeypatch):
    monkeypatch.chdir(folder)
    module = import_module(example.name.rpartition(".")[0])
    said: list[str] = []
    example.globs = dict(vars(module))
    ran = doctest.DocTestRunner().run(example, out=said.append)
    assert ran.attempted > 0
    assert ran.failed == 0, "".join(said)


def test_what_users_call_first_has_an_example():
    shown = {example.name.rpartition(".")[2] for example in EXAMPLES}
    assert shown >= {
        "load_study",
        "load_measurements",
        "load_model",
        "mutual_information",
        "StandardNormal",
        "saturation",
    }
