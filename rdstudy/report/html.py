"""The report as one HTML file: everything in it, nothing fetched, readable without its script."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from rdstudy.report import provenance
from rdstudy.report.content import Content
from rdstudy.report.drawings import RenderedFigure
from rdstudy.report.templating import render_html

_SECTIONS = (
    ("claims", "Claims"),
    ("figures", "Figures"),
    ("tables", "Tables"),
    ("cells", "Cells"),
    ("provenance", "Provenance"),
    ("data", "Data"),
    ("cite", "Cite"),
)


def page(content: Content) -> str:
    """The whole page."""
    values = {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
    values |= {"leading": [marked(one) for one in content.leading], "figures": [marked(one) for one in content.figures]}
    return render_html(
        "index.html.jinja",
        **values,
        sections=[(anchor, heading) for anchor, heading in _SECTIONS if anchor != "claims" or content.claims],
        paper_url=provenance.PAPER_URL,
        paper=provenance.PAPER,
        tool=provenance.tool(),
        loading=provenance.loading(),
    )


def marked(figure: RenderedFigure) -> RenderedFigure:
    """The figure with its drawings marked as markup: matplotlib has escaped the texts in them."""
    return dataclasses.replace(figure, svgs=[Markup(svg) for svg in figure.svgs])
