"""The pages of `make docs`: their links work, and everything public has a docstring."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property, reduce
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args
from urllib.parse import urldefrag, urlsplit

import pytest
from pydantic import BaseModel

from rdstudy.study import Study
from tests.docs.build import HIDDEN, pages

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((ROOT / "rdstudy").rglob("*.py"))
}
HTML = "html head title meta body main nav section div footer h1 h2 h3 h4 h5 h6 p ul ol li pre code span a em strong "
HTML += "blockquote input label img wbr script style table thead tbody tr th td br svg path details summary hr link "
HTML += "dl dt dd"
FILE_NAMES = ("html", "json", "md", "pdf", "png", "py", "svg", "yaml")


class Page(HTMLParser):
    """Anchors, links and tags of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[Path, Page]:
    folder: Path = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-W", "error", "-m", "tests.docs.build", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    return {file: Page(file.read_text()) for file in folder.rglob("*.html")}


def test_every_room_has_a_page(built):
    names = {file.stem for file in built}
    rooms = {name.split(".")[1] for name in MODULES if "." in name}
    assert rooms - HIDDEN <= names
    assert {part for name in MODULES for part in name.split(".")} >= HIDDEN, "a hidden module does not exist"
    assert not names & HIDDEN


def test_every_link_leads_to_a_page_and_an_anchor_on_it(built):
    n_links = 0
    for file, page in built.items():
        for link in page.links:
            path, anchor = urldefrag(link)
            if urlsplit(link).scheme:
                assert link.startswith(("https://pdoc.dev", "data:")), f"{file.name} leads outside: {link}"
                continue
            target = (file.parent / path).resolve() if path else file
            assert target.exists(), f"{file.name}: {link}"
            assert not anchor or anchor in built[target].anchors, f"{file.name}: {link}"
            n_links += 1
    assert n_links > 1000


def test_text_in_angle_brackets_is_shown(built):
    for file, page in built.items():
        assert page.tags <= set(HTML.split()), f"{file.name}: indent it, or put it in backquotes"


def test_pages_need_no_network(built):
    for file in built:
        assert not re.search(r"""(src|href)=["']https?://(?!pdoc\.dev)""", file.read_text()), file.name


def shown(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions and classes on a module's page, and the classes' own public functions."""
    for name in getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]):
        thing = inspect.unwrap(getattr(module, name)) if callable(getattr(module, name)) else None
        ours = getattr(thing, "__module__", "")
        if thing is None or not (
            ours == module.__name__ or (hasattr(module, "__all__") and ours.startswith("rdstudy"))
        ):
            continue
        yield name, thing
        for inner, member in vars(thing).items() if isinstance(thing, type) else ():
            function = member.func if isinstance(member, cached_property) else getattr(member, "fget", member)
            if not inner.startswith("_") and inspect.isfunction(inspect.unwrap(function)):
                yield f"{name}.{inner}", function


def test_everything_public_has_a_docstring():
    seen = 0
    for module in map(import_module, pages()):
        assert module.__doc__, module.__name__
        for name, thing in shown(module):
            text = thing.__doc__ or ""
            generated = isinstance(thing, type) and text.startswith(f"{thing.__name__}(")  # a dataclass's own
            assert text, f"{module.__name__}.{name} has no docstring"
            assert not generated, f"{module.__name__}.{name} has no docstring"
            seen += 1
    assert seen > 200


def docstrings(file: Path) -> Iterator[str]:
    """Every docstring: of modules, classes, functions and values."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def is_there(thing: Any, names: list[str]) -> bool:
    def step(found: Any, name: str) -> Any:
        if name in getattr(found, "model_fields", {}) or name in getattr(found, "__annotations__", {}):
            return None if not hasattr(found, name) else getattr(found, name)
        if isinstance(found, ModuleType) and not hasattr(found, name):
            return import_module(f"{found.__name__}.{name}")
        return getattr(found, name)

    try:
        reduce(step, names, thing)
    except (AttributeError, ImportError):
        return False
    return True


def is_a_key(names: list[str]) -> bool:
    """Whether a study file has this key, such as `grid.beta`."""
    section: type[BaseModel] | None = Study
    for name in names:
        if section is None or name not in section.model_fields:
            return False
        kind = section.model_fields[name].annotation
        models = [k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel)]
        section = models[0] if models else None
    return True


def means_something(reference: str, module: str) -> bool:
    names = reference.removesuffix("()").split(".")
    if names[-1] in FILE_NAMES or is_a_key(names) or is_there(import_module(module), names):
        return True
    rooms = [name for name in MODULES if name.rpartition(".")[2] == names[0]]
    if any(is_there(import_module(room), names[1:]) for room in rooms):
        return True
    try:
        return is_there(import_module(names[0]), names[1:])
    except ImportError:
        return False


@pytest.mark.parametrize("module", MODULES)
def test_a_name_with_a_dot_in_a_docstring_names_something(module):
    for text in docstrings(MODULES[module]):
        for reference in re.findall(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?:\(\))?)`", text):
            assert means_something(reference, module), f"`{reference}` is no object, no key of a study and no file"
