"""Links in the project's documents. Nothing is fetched: an address on the web is only looked at."""

import re
from urllib.parse import urldefrag, urlsplit

import pytest

from tests.docs.documents import NAMES, ROOT, anchors, links, text

HOSTS = {
    "github.com",
    "arxiv.org",
    "hydra.cc",
    "proceedings.mlr.press",
    "docs.ray.io",
    "pytorch.org",
    "docs.pytorch.org",
}
"""Where the documents may lead; what such an address answers no test knows."""


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(name):
    for link in links(text(name)):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            assert parts.hostname in HOSTS, f"{link}: not a host that the documents know"
            continue
        path, anchor = urldefrag(link)
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert target.suffix == ".md", link
            assert anchor in anchors(target.read_text()), link


def test_a_heading_becomes_the_anchor_that_github_makes():
    document = (
        "# What it costs, in `make bench`\n## A & B\n## A & B\n    # code\n```sh\n# code\n```\n## [Speed](x.md): 2\n"
    )
    assert anchors(document) == {"what-it-costs-in-make-bench", "a--b", "a--b-1", "speed-2"}


@pytest.mark.parametrize("name", NAMES)
def test_every_path_in_backquotes_is_there(name):
    """Paths that name a folder and a kind of file; with capitals they are patterns (`studies/NAME.yaml`)."""
    places = [ROOT, ROOT / "rdstudy", (ROOT / name).parent]
    for path in re.findall(r"`([\w.-]+/[\w./-]*\.(?:py|yaml|md|toml|css|js))`", text(name)):
        if not re.search(r"[A-Z]{2}", path.replace("README", "")):
            assert any((place / path).exists() for place in places), f"{name}: {path}"
