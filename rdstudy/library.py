"""The studies that come with the package, to list and to copy out."""

from __future__ import annotations

from pathlib import Path

from rdstudy.errors import UserError
from rdstudy.store.files import write_whole


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
    return text.partition(". ")[0].rstrip(".") + "."


def copy_study(name: str, folder: Path) -> Path:
    """Copy a packaged study into a folder.

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
    return target
