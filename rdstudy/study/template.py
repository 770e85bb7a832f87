"""A study file to start from: every section, with what each line means, sized for the data at hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from rdstudy.data.split_spec import SPLITS, allowed_splits
from rdstudy.errors import UserError
from rdstudy.study import DatasetSpec, Evaluation, Study, Training, parse_study, study_schema
from rdstudy.study.axes import listed_axes
from rdstudy.study.examples import SCHEMA_FILE
from rdstudy.study.search_section import SearchSpec

MIN_IMAGES = 10
"""Of fewer images, a fifth for test is one, and a mean over it says nothing."""
MAX_TRAIN, MAX_TEST = 2000, 500
"""Sizes that a draft asks for at most, so that it runs in minutes; more may be there."""
_SHORT = {"nll": {"examples": 32}}
"""Settings of measures in a draft that differ from their defaults, for the same reason."""


@dataclass(frozen=True)
class _Start:
    """What a draft says for one kind of data set."""

    dataset: Mapping[str, str]
    split: str
    train_size: Sequence[int]
    batch_size: int = 64


def template_files(name: str, *, dataset: str, path: str | None = None) -> dict[str, bytes]:
    """A study file to start from and the schema that editors check it against, by file name.

    Args:
        name: of the study.
        dataset: one of `SPLITS`.
        path: for `images`, an .npz file or a folder; it is read, to choose sizes that fit.

    Raises:
        UserError: the name, the data set or the images cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"{name!r} cannot name a study: letters, digits, dot, dash and underscore, a letter or digit first"
        )
    text = template(name, dataset=dataset, path=path)
    parse_study(text, where=f"{name}.yaml")
    schema = json.dumps(study_schema(), indent=2) + "\n"
    return {f"{name}.yaml": text.encode(), SCHEMA_FILE: schema.encode()}


def template(name: str, *, dataset: str, path: str | None = None) -> str:
    """The text of a study of this data set.

    Raises:
        UserError: there is no such data set, or its images cannot be used.
    """
    if dataset not in SPLITS:
        raise UserError(f"--dataset {dataset}: there is no such data set; allowed: {', '.join(SPLITS)}")
    if (dataset == "images") != (path is not None):
        raise UserError("--path FOLDER and --dataset images belong together: give both, or another data set")
    start = _start(dataset, path)
    sections = [
        (
            "dataset",
            start.dataset,
            "What the models are of; the test set is the same for every cell.",
        ),
        (
            "grid",
            {
                "split": f"[{start.split}]",
                "beta": "[5, 1, 0.1, 0.001]",
                "depth": "[1, 3]",
                "width": "[64]",
                "latent_dim": "[10]",
                "train_size": str(list(start.train_size)),
                "prior": "[standard_normal]",
                "seed": "{count: 5}",
                **_later_axes(),
            },
            "The product of all lists is the study; each point with its seed is a cell, which is one VAE.\n"
            f"Splits of {dataset}: {allowed_splits(dataset)}.",
        ),
        (
            "training",
            {
                "steps": "1000",
                "# epochs": "20",
                "batch_size": str(start.batch_size),
                "learning_rate": "1e-3",
                "optimizer": "adam",
                "precision": "float32",
                "beta_warmup_steps": "0",
            },
            "How long and with what; the same for every cell, where the grid does not list it.",
        ),
        (
            "evaluation",
            {
                "steps": "{log_spaced: 8}",
                **_measures(),
                "num_images": "8",
            },
            "What is measured when. Rate, distortion and ELBO always; the costly estimates as said here.",
        ),
        (
            "resources",
            {
                "pack_size": "auto",
                "device": "auto",
                "cpus_per_pack": "1",
                "gpus_per_pack": "auto",
                "memory_per_pack_gib": "auto",
                "checkpoint_seconds": "30",
                "save_models": "true",
                "max_retries": "2",
            },
            "What training may use. Nothing here changes a result; the whole section may be left out.",
        ),
    ]
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# A study of {dataset} to start from. `rdstudy plan {name}.yaml` says what it costs, and changes nothing.",
        "",
        f"# {_meaning(Study, 'name')}",
        f"name: {json.dumps(name) if re.fullmatch(r'[0-9._-]+|true|false|null|yes|no|on|off', name, re.I) else name}",
        f"# {_meaning(Study, 'question')}",
        "question: How does the weight of the rate change what shallow and deep VAEs make of new images?",
    ]
    for section, values, comment in sections:
        lines += ["", *(f"# {line}" for line in comment.split("\n")), f"{section}:"]
        lines += _keys(Study.model_fields[section].annotation, values)
    lines += ["", "# Instead of a list of betas, a search can choose them: remove grid.beta, and the first `# ` of"]
    lines += ["# each line from here on.", "# search:"]
    lines += [
        f"# {line}"
        for line in _keys(
            SearchSpec,
            {
                "goal": "best_beta",
                "metric": "test_distortion",
                "beta": "{low: 0.001, high: 5}",
                "stop_when": "{cells: 64, interval: 10}",
            },
        )
    ]
    return "\n".join(lines) + "\n"


def _keys(model: Any, values: Mapping[str, Any], indent: str = "  ") -> list[str]:
    """Lines of a section: above each key, what it means."""
    lines = []
    for key, value in values.items():
        commented, name = key.startswith("# "), key.removeprefix("# ")
        field = model.model_fields[name]
        if isinstance(value, Mapping):
            inner = field.annotation
            assert isinstance(inner, type)
            assert issubclass(inner, BaseModel)
            lines += [f"{indent}{name}:", *_keys(inner, value, indent + "  ")]
            continue
        lines += [f"{indent}# {field.description}", f"{indent}{'# ' if commented else ''}{name}: {value}"]
    return lines


def _measures() -> dict[str, dict[str, str]]:
    """Sections of the measures that have settings, at their defaults but for those of a short first study."""
    settings = {name: spec.model_dump() | _SHORT.get(name, {}) for name, spec in Evaluation().measures.items()}
    return {name: {key: str(value) for key, value in each.items()} for name, each in settings.items() if each}


def _later_axes() -> dict[str, str]:
    """Lists of the grid that a study seldom needs, as comments: each with the value that it has anyway."""
    values = {axis.name: axis.default for axis in listed_axes() if axis.added}
    sections: dict[str, type[BaseModel]] = {"training": Training, "dataset": DatasetSpec}
    values |= {a.name: sections[a.section].model_fields[a.key].default for a in listed_axes() if a.section}
    return {f"# {name}": f"[{value}]" for name, value in (values | {"steps": 1000, "epochs": 20}).items()}


def _meaning(model: type[BaseModel], name: str) -> str:
    return str(model.model_fields[name].description)


def _start(dataset: str, path: str | None) -> _Start:
    if dataset == "tetrominoes":
        return _Start(
            {"name": dataset, "seed": "0", "size": "4096", "test_size": "500", "validation_size": "0"},
            "checkerboard",
            [500],
        )
    if path is None:
        spec = {"name": dataset, "seed": "0", "test_size": "500", "validation_size": "0"}
        return _Start({**spec, "download": "true", "# root": "FOLDER"}, "standard", [1000])
    from rdstudy.data.loading import load_dataset

    try:
        n = load_dataset(dataset, path=path).n_examples
    except ValueError as error:
        raise UserError(str(error)) from error
    if n < MIN_IMAGES:
        raise UserError(f"{path}: holds {n} images; a study needs at least {MIN_IMAGES}")
    n_test = (n + 4) // 5  # as `split_dataset` divides one's own images
    largest = min(n - n_test, MAX_TRAIN)
    sizes = [largest // 4, largest] if largest >= 32 else [largest]
    quoted = json.dumps(path, ensure_ascii=False)
    spec = {
        "name": dataset,
        "path": quoted,
        "seed": "0",
        "test_size": str(min(n_test, MAX_TEST)),
        "validation_size": "0",
    }
    return _Start(spec, "random", sizes, min(64, sizes[0]))
