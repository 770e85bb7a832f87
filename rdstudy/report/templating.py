"""The page's templates (jinja2): every value is escaped where it is printed, unless its type is `Markup`."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rdstudy.report import text


def render_html(template: str, **values: object) -> str:
    """Fill in a template of `templates/`, with the page's style, its script and the policy that allows only these.

    Nothing may be loaded from anywhere, and no other script or style sheet is applied: the policy has their hashes.
    Style attributes are allowed, since figures carry them; they can load nothing.
    """
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src-elem '{_hash(style)}'; "
        "style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    values |= {"style": Markup(style), "script": Markup(script), "policy": policy}
    return _html().get_template(template).render(values)


@cache
def _html() -> Environment:
    environment = Environment(
        loader=PackageLoader("rdstudy.report"),
        autoescape=True,
        finalize=_clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    return environment


def _clean(value: object) -> object:
    return value if isinstance(value, Markup) or not isinstance(value, str) else text.clean(value)


def _prose(value: str) -> Markup:
    """A sentence in which `words` in backticks are set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text.clean(value)))))


def _asset(name: str) -> str:
    return (files("rdstudy.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
