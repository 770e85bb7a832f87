"""The studies that come with the package, to list and to copy out."""

from __future__ import annotations

import re
from pathlib import Path

from rdstudy.errors import UserError

SCHEMA_FILE = "study.schema.json"
"""What the first line of a study file names, for editors: it lies beside the study."""


def packaged_studies() -> dict[str, Path]:
    """Name and file of every packaged study."""
    here = Path(__file__).parents[1]
    folder = here / "studies"  # in a wheel
    if not folder.is_dir():
        folder = here.parent / "studies"  # in a source tree
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def summary(path: Path) -> str:
    """The first sentence of a study file's comment."""
    lines = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
    text = " ".join(line for line in lines if not line.startswith("yaml-language-server"))
    return re.split(r"(?<!\bal)\. ", text)[0].rstrip(".") + "."


def example_files(name: str) -> dict[str, bytes]:
    """A packaged study file and the schema that its first line names for editors, by file name.

    Raises:
        UserError: there is no such study.
    """
    studies = packaged_studies()
    if name not in studies:
        raise UserError(f"there is no packaged study {name!r}; allowed: {', '.join(studies)}")
    files = [studies[name], studies[name].parent / SCHEMA_FILE]
    return {path.name: path.read_bytes() for path in files if path.exists()}
