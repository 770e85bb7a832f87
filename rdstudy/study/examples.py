"""The studies that come with the package, to list and to copy out."""

from __future__ import annotations

import re
from pathlib import Path

from rdstudy.errors import UserError
from rdstudy.storage.files import write_whole

SCHEMA_FILE = "study.schema.json"
"""What the first line of a study file names, for editors: it lies beside the study."""


def packaged_studies() -> dict[str, Path]:
    """Name and file of every packaged study."""
    here = Path(__file__).parent
    folder = here / "studies"  # in a wheel
    if not folder.is_dir():
        folder = here.parent / "studies"  # in a source tree
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def summary(path: Path) -> str:
    """The first sentence of a study file's comment."""
    lines = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
    text = " ".join(line for line in lines if not line.startswith("yaml-language-server"))
    return re.split(r"(?<!\bal)\. ", text)[0].rstrip(".") + "."


def copy_study(name: str, folder: Path) -> Path:
    """Copy a packaged study into a folder, and with it the schema that its first line names for editors.

    Raises:
        UserError: there is no such study, or the file is there already.
    """
    studies = packaged_studies()
    if name not in studies:
        raise UserError(f"there is no packaged study {name!r}; there are {', '.join(studies)}")
    target = folder / f"{name}.yaml"
    if target.exists():
        raise UserError(f"{target} is there already; remove it, or copy into another folder with --to")
    write_whole(target, lambda file: file.write(studies[name].read_bytes()))
    schema = studies[name].parent / SCHEMA_FILE
    if schema.exists() and not (folder / SCHEMA_FILE).exists():
        write_whole(folder / SCHEMA_FILE, lambda file: file.write(schema.read_bytes()))
    return target
