"""The pages of the public Python interface, made from its docstrings: `python -m tests.docs.build FOLDER`.

A package with `__all__` is one page of the names in it; of any other package every module is a page. Formulas are
shown as they are typed. Warnings are errors.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import get_type_hints

import pdoc
import pdoc.doc
from pydantic import BaseModel

import rdstudy

HIDDEN = {"__main__", "cli", "ray_tune"}
"""Packages and modules without pages: they only serve the `rdstudy` command."""


def pages(name: str = "rdstudy") -> Iterator[str]:
    """Names of the modules that are shown, each before those within it."""
    yield name
    module = import_module(name)
    if name != "rdstudy" and hasattr(module, "__all__"):
        return
    for _, inner, is_package in iter_modules(getattr(module, "__path__", [])):
        if inner in HIDDEN or inner.startswith("_"):
            continue
        if is_package:
            yield from pages(f"{name}.{inner}")
        else:
            yield f"{name}.{inner}"


def build(folder: Path) -> None:
    """Write all pages below `folder`, with a search and an `index.html` that leads to the first."""
    warnings.simplefilter("error")
    # The grid's fields are made from the list of axes, so they are in no file.
    warnings.filterwarnings("ignore", "Cannot determine where rdstudy.study")
    for name in rdstudy.__all__:
        vars(rdstudy)[name] = getattr(rdstudy, name)  # given only when asked for, which pdoc does not
    shown = {name: pdoc.doc.Module(import_module(name)) for name in pages()}
    for name, page in shown.items():
        page.submodules = [below for other, below in shown.items() if other.rpartition(".")[0] == name]
        for member in page.own_members:
            if isinstance(member, pdoc.doc.Class):
                _make_readable(member)
    pdoc.render.configure(docformat="google", show_source=False, footer_text=f"rdstudy {rdstudy.__version__}")
    for name, page in shown.items():
        file = folder / f"{name.replace('.', '/')}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(pdoc.render.html_module(page, shown))
    (folder / "index.html").write_text(pdoc.render.html_index(shown))
    (folder / "search.js").write_text(pdoc.render.search_index(shown))


def _make_readable(member: pdoc.doc.Class) -> None:
    """Types of records as they are written, and no default where there is none."""
    kind = member.obj
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        # A named tuple's constructor has forgotten the module in which its annotations mean something.
        kind.__new__.__annotations__ = get_type_hints(kind)
    if issubclass(kind, BaseModel):
        hints = get_type_hints(kind)
        for field in member.own_members:
            if isinstance(field, pdoc.doc.Variable) and field.name in kind.model_fields:
                field.annotation = hints[field.name]
                if kind.model_fields[field.name].is_required():
                    field.default_value = inspect.Signature.empty


if __name__ == "__main__":
    build(Path(sys.argv[1]))
