"""`init`, `examples`, `data`, `schema` and `columns`: study files, and what they and the table contain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import typer

from rdstudy.cli.completion import dataset_names, study_names
from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.options import Settings, StudyFile
from rdstudy.cli.terminal import Rows, console_for
from rdstudy.errors import UserError


def init(
    name: Annotated[str, typer.Argument(help="The study's name; the file is NAME.yaml.")] = "study",
    dataset: Annotated[
        str | None,
        typer.Option(
            help="tetrominoes (the default), mnist, fashion_mnist, kmnist, cifar10, or images with --path.",
            show_default=False,
            autocompletion=dataset_names,
        ),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Your own images: a folder of PNG, JPEG or BMP files, or an .npz file."),
    ] = None,
    to: Annotated[Path, typer.Option(help="Folder for the file.")] = Path(),
) -> None:
    """Write a study file in which every line is explained."""
    from rdstudy.study import load_study
    from rdstudy.study.template import template_files

    name = name.removesuffix(".yaml")
    chosen = dataset or ("images" if path is not None else "tetrominoes")
    target = _write_new(to, template_files(name, dataset=chosen, path=path))
    study = load_study(target)
    sizes = " or ".join(f"{size:,}" for size in study.grid.train_size)
    console = console_for()
    console.print(
        f"{target}: {study.n_cells} cells of {chosen}, trained on {sizes} images, tested on "
        f"{study.dataset.test_size or 0:,}; edit it as you like",
        soft_wrap=True,
    )
    console.print(f"next: rdstudy plan {target}    # estimates the cost; changes nothing", soft_wrap=True)
    console.print(f"      rdstudy run {target}", soft_wrap=True)


def data(
    study_file: StudyFile,
    settings: Settings = None,
    json_wanted: Annotated[
        bool,
        as_json(
            "dataset, examples, height, width, channels, splits (name, train, test, validation), fingerprint, "
            "fingerprints (by data seed)"
        ),
    ] = False,
) -> None:
    """Load or generate a study's data set, and show its size, splits and fingerprint."""
    from rdstudy.study import load_study, located
    from rdstudy.study.data import load_data, splits_of

    study = load_study(study_file, overrides=settings or ())
    with located(study_file, settings or ()):
        data = load_data(study)
        splits_by_seed = {seed: splits_of(study, data, seed) for seed in data.datasets}
    seed, dataset = next(iter(data.datasets.items()))
    height, width, channels = dataset.shape
    splits = splits_by_seed[seed]
    if json_wanted:
        print_document(
            {
                "dataset": dataset.name,
                "examples": dataset.n_examples,
                "height": height,
                "width": width,
                "channels": channels,
                "splits": [
                    {"name": n, "train": len(s.train), "test": len(s.test), "validation": len(s.validation)}
                    for n, s in splits.items()
                ],
                "fingerprint": dataset.fingerprint,
                "fingerprints": data.fingerprints,
            }
        )
        return
    console = console_for()
    console.print(f"{dataset.name}: {dataset.n_examples:,} images of {height}x{width}x{channels}")
    for name, split in splits.items():
        validation = f", {len(split.validation):,} for validation" if len(split.validation) else ""
        console.print(
            f"split {name}: up to {len(split.train):,} for training, {len(split.test):,} for test{validation}"
        )
    for seed, fingerprint in data.fingerprints.items():
        of_seed = f" of data seed {seed}" if len(data.datasets) > 1 else ""
        console.print(f"fingerprint{of_seed} {fingerprint}", soft_wrap=True)


def examples_list(json_wanted: Annotated[bool, as_json("examples (name, file, summary)")] = False) -> None:
    """List the example studies that come with rdstudy."""
    from rdstudy.study.examples import packaged_studies, summary

    examples = packaged_studies()
    if json_wanted:
        listed = [{"name": name, "file": path, "summary": summary(path)} for name, path in examples.items()]
        print_document({"examples": listed})
        return
    table = Rows("name", "summary", left=("name", "summary"), header=False)
    for name, path in examples.items():
        table.add(name, summary(path))
    console_for().print(table)


def examples_copy(
    name: Annotated[
        str,
        typer.Argument(
            help="An example that `rdstudy examples list` shows.", show_default=False, autocompletion=study_names
        ),
    ],
    to: Annotated[Path, typer.Option(help="Folder for the copy.")] = Path("studies"),
) -> None:
    """Copy an example study into a folder, to change it."""
    from rdstudy.study.examples import example_files

    print(_write_new(to, example_files(name)))


def _write_new(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write a new study file, and beside it the other files (the schema) that do not exist yet.

    Args:
        folder: for the files.
        files: contents by name, the study file first.

    Returns:
        The study file's path.

    Raises:
        UserError: the study file exists already, or cannot be written.
    """
    from rdstudy.storage.files import atomic_write

    study_file, *others = files
    target = folder / study_file
    if target.exists():
        raise UserError(f"{target} exists already; remove it, or give another name or another folder with --to")
    for name in [*(other for other in others if not (folder / other).exists()), study_file]:
        atomic_write(folder / name, partial(_write, files[name]))
    return target


def _write(data: bytes, file: IO[bytes]) -> None:
    file.write(data)


def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from rdstudy.study import study_schema

    print(json.dumps(study_schema(), indent=2))


def columns(
    json_wanted: Annotated[bool, as_json("columns (name, type, nullable, unit, meaning, group)")] = False,
) -> None:
    """Print the table's columns with their units and meanings, as Markdown."""
    from rdstudy.storage.schema import COLUMNS, columns_markdown

    if json_wanted:
        listed = [{**asdict(column), "type": column.type_name} for column in COLUMNS]
        print_document({"columns": listed})
        return
    print(columns_markdown(), end="")
