"""A YAML text becomes a `Study`; every mistake is answered with its line and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from rdstudy.errors import UserError
from rdstudy.study.grid import Grid, SeedCount
from rdstudy.study.registry import PARTS, require_permission
from rdstudy.study.renamed_keys import RENAMED
from rdstudy.study.study import Study
from rdstudy.study.yaml_loading import YamlError, YamlPath, parse_yaml, read_text, shown

StudyError = YamlError
"""A mistake in a study file: says what was found, what is allowed, and where."""

MAX_PROBLEMS = 3
"""Mistakes of one file that a message names."""


class SettingError(UserError):
    """A setting that does not fit the data. Says which; `located` adds the file's line."""

    def __init__(self, setting: Sequence[str | int], reason: object) -> None:
        super().__init__(f"{'.'.join(map(str, setting))}: {reason}")
        self.setting = tuple(setting)


def _override(data: Any, setting: str) -> YamlPath:
    """Apply one `a.b=c` in place; return the path it set."""
    path, equals, text = setting.partition("=")
    keys, setting = path.strip().split("."), shown(setting)
    if not equals or not all(keys):
        raise StudyError(f"--set {setting}: expected KEY.KEY=VALUE, for example --set grid.beta=[1,0.1]")
    value, _ = parse_yaml(text, f"--set {setting}")
    for i, key in enumerate(keys[:-1]):
        if not isinstance(data, dict):
            raise StudyError(f"--set {setting}: `{'.'.join(keys[:i])}` holds {shown(repr(data))}, which has no keys")
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    data[keys[-1]] = value
    if keys[-1] in ("steps", "epochs") and keys[:-1] == ["training"]:
        data.pop("epochs" if keys[-1] == "steps" else "steps", None)
    return tuple(keys)


def _document_path(error: Any, data: Any) -> YamlPath:
    """Where in the document an error is: pydantic's location without its names for alternative spellings."""
    path: list[str | int] = []
    for i, part in enumerate(error["loc"]):
        if (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]
        elif not (error["type"] == "missing" and i == len(error["loc"]) - 1):
            continue
        path.append(part)
    return tuple(path)


def _allowed_keys(path: YamlPath) -> list[str]:
    """Keys that the mapping at `path` may have, where it is one of ours."""
    model: type[BaseModel] = Study
    for part in path:
        field = model.model_fields.get(str(part))
        spellings = [field.annotation, *get_args(field.annotation)] if field else []
        if part in ("seed", "data_seed") and model is Grid:
            spellings = [SeedCount]
        ours = [kind for kind in spellings if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not ours:
            return []
        model = ours[0]
    return list(model.model_fields)


def _explain(error: Any, path: YamlPath) -> str:
    """One pydantic error in a sentence."""
    place = shown(".".join(map(str, path)))
    if error["type"] == "extra_forbidden":
        renamed = RENAMED.get(str(path[0]), {}).get(str(path[-1])) if len(path) == 2 else None
        if renamed:
            return f"{place}: this key is now called `{renamed}`"
        allowed = _allowed_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1]).lower(), allowed, n=1)
        guess = f"; did you mean `{near[0]}`?" if near else ""
        return f"{place}: unknown key; allowed: {', '.join(allowed) or 'none here'}{guess}"
    if error["type"] == "missing":
        return f"{place}: required, but not given"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if isinstance(error["input"], dict) or error["type"] == "section":
        return f"{place}: {shown(message, 200)}" if place else message
    return f"{place}: {shown(message, 200)}; found {shown(repr(error['input']))}"


def _locate(path: YamlPath, lines: Mapping[YamlPath, int], overridden: Iterable[YamlPath], where: str) -> str:
    for setting in overridden:
        if path and (path[: len(setting)] == setting or setting[: len(path)] == path):
            return "--set"
    for n in range(len(path), 0, -1):
        if path[:n] in lines:
            return f"{where}:{lines[path[:n]]}"
    return where


def parse_study(text: str, *, where: str = "study", overrides: Sequence[str] = ()) -> Study:
    """The study that a YAML text describes, with `a.b=c` overrides applied.

    Raises:
        StudyError: naming, for every mistake, the file and line (or the override), what was found, what is allowed.

    >>> text = '''
    ... name: small
    ... dataset: {name: tetrominoes}
    ... grid: {split: [random], beta: [1, 0.1], train_size: [1024], seed: {count: 3}}
    ... training: {steps: 1000}
    ... '''
    >>> parse_study(text, overrides=["grid.depth=[1, 3]"]).n_cells  # 2 betas, 3 seeds, 2 depths
    12
    """
    data, lines = parse_yaml(text, where)
    if not isinstance(data, dict):
        keys = ", ".join(Study.model_fields)
        raise StudyError(f"{where}: expected a mapping with the keys {keys}; found {shown(repr(data))}")
    return study_from(data, lines, where=where, overrides=overrides)


def study_from(
    data: Mapping[str, object],
    lines: Mapping[YamlPath, int] = {},
    *,
    where: str = "study",
    overrides: Sequence[str] = (),
) -> Study:
    """The study that a mapping describes, with `a.b=c` overrides applied.

    Args:
        data: the keys of a study file.
        lines: of keys and list items in the file, for messages.
        where: the file.
        overrides: settings that replace the mapping's.

    Raises:
        StudyError: naming the mistakes with the file and line (or the override), what was found, what is allowed.
    """
    data = deepcopy(dict(data))
    overridden = [_override(data, setting) for setting in overrides]
    try:
        study = Study.model_validate(data)
        _require_permission(study)
        return study
    except SettingError as error:
        raise StudyError(f"{_locate(error.setting, lines, overridden, where)}: {error}") from None
    except ValidationError as error:
        problems: dict[str, str] = {}
        for e, path in _nearest([(e, _document_path(e, data)) for e in error.errors()]):
            problems.setdefault(_explain(e, path), _locate(path, lines, overridden, where))
        named = [f"{place}: {text}" for text, place in problems.items()]
        if len(named) > MAX_PROBLEMS:
            named[MAX_PROBLEMS - 1 :] = [f"{where}: and {len(named) - MAX_PROBLEMS + 1} further mistakes"]
        raise StudyError("\n".join(named)) from None


def _nearest(errors: list[tuple[Any, YamlPath]]) -> list[tuple[Any, YamlPath]]:
    """Of a value that may have several forms, only what is wrong with the form that it comes nearest to."""

    def other_form(path: YamlPath) -> bool:
        return any(len(deeper) > len(path) and deeper[: len(path)] == path for _, deeper in errors)

    kept = [(e, path) for e, path in errors if not (str(e["type"]).endswith("_type") and other_form(path))]
    found: dict[YamlPath, tuple[Any, YamlPath]] = {}
    for e, path in kept:
        alike = path in found and str(e["type"]).endswith("_type")
        if not alike:
            found[path if path not in found else (*path, len(found))] = (e, path)
    return list(found.values())


def _require_permission(study: Study) -> None:
    """Refuse a study with plugins unless they were allowed.

    Raises:
        SettingError: the study names code of its own, and that was not allowed.
    """
    for kind in PARTS:
        for i, value in enumerate(study.values_of(kind)):
            try:
                require_permission(kind, value)
            except ValueError as error:
                raise SettingError(("grid", kind, i), error) from None


def load_study(path: str | Path, *, overrides: Sequence[str] = ()) -> Study:
    """Read a study file.

    Args:
        path: a YAML file.
        overrides: settings such as `grid.beta=[1,0.1]` that replace the file's.

    Raises:
        StudyError: the file cannot be read, or says something that is not allowed.

    >>> import rdstudy
    >>> study = rdstudy.load_study("studies/quickstart.yaml", overrides=["grid.depth=[1]"])
    >>> study.n_cells, study.grid.beta
    (20, [5.0, 1.0, 0.1, 0.001])
    """
    return parse_study(read_text(path), where=shown(path), overrides=overrides)


@contextmanager
def located(path: str | Path, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Name the line, or the override, that a `SettingError` raised within is about.

    Args:
        path: the study file.
        overrides: as for `load_study`.

    Raises:
        StudyError: in the place of the `SettingError`.
    """
    try:
        yield
    except SettingError as error:
        data, lines = parse_yaml(read_text(path), shown(path))
        overridden = [_override(data, setting) for setting in overrides]
        raise StudyError(f"{_locate(error.setting, lines, overridden, str(path))}: {error}") from error


def study_schema() -> dict[str, object]:
    """JSON Schema of a study file, for editors."""
    schema = Study.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    count = {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 1}},
        "required": ["count"],
        "additionalProperties": False,
    }
    for name in ("seed", "data_seed"):
        seed = schema["$defs"]["Grid"]["properties"][name]
        listed = {key: seed.pop(key) for key in ("type", "items", "minItems") if key in seed}
        seed["anyOf"] = [listed, count]
    split = schema["$defs"]["Grid"]["properties"]["split"]
    split["items"] = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    return schema
