"""A YAML text becomes a `Study`; every mistake is answered with its line and what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from rdstudy.errors import UserError
from rdstudy.study.grid import Grid, SeedCount
from rdstudy.study.registry import PARTS, require_permission
from rdstudy.study.renamed_keys import RENAMED
from rdstudy.study.study import Study


class StudyError(UserError):
    """A mistake in a study file: says what was found, what is allowed, and where."""


class SettingError(UserError):
    """A setting that does not fit the data. Says which; `located` adds the file's line."""

    def __init__(self, setting: Sequence[str | int], reason: object) -> None:
        super().__init__(f"{'.'.join(map(str, setting))}: {reason}")
        self.setting = tuple(setting)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but `1e-3` is a number (as in YAML 1.2), not text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}  # what looks like a date is text: no setting is a date, and an impossible one would be an error without a line

_Path = tuple[str | int, ...]


def _lines(node: yaml.Node | None, where: str, at: _Path = ()) -> Iterator[tuple[_Path, int]]:
    """Line of every key and list item; refuses a key that stands twice."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise StudyError(
                    f"{where}:{line}: `{key.value}` stands here and in line {seen[key.value]}; keep one of them"
                )
            seen[key.value] = line
            yield (*at, key.value), line
            yield from _lines(value, where, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield (*at, i), value.start_mark.line + 1
            yield from _lines(value, where, (*at, i))


def _parse_yaml(text: str, where: str) -> tuple[object, dict[_Path, int]]:
    try:
        node = yaml.compose(text, Loader=_Loader)
        return yaml.load(text, Loader=_Loader), dict(_lines(node, where))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        begun = ""
        if error.context and error.context_mark and error.context_mark != mark:
            begun = f" ({error.context} that begins in line {error.context_mark.line + 1})"
        raise StudyError(f"{where}{line}: not valid YAML: {error.problem or error.context}{begun}") from None
    except yaml.YAMLError as error:
        raise StudyError(f"{where}: not valid YAML: {error}") from None


def _override(data: Any, setting: str) -> _Path:
    """Apply one `a.b=c` in place; return the path it set."""
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise StudyError(f"--set {setting}: expected KEY.KEY=VALUE, for example --set grid.beta=[1,0.1]")
    value, _ = _parse_yaml(text, f"--set {setting}")
    for i, key in enumerate(keys[:-1]):
        if not isinstance(data, dict):
            raise StudyError(f"--set {setting}: `{'.'.join(keys[:i])}` holds {data!r}, which has no keys")
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    data[keys[-1]] = value
    if keys[-1] in ("steps", "epochs") and keys[:-1] == ["training"]:
        data.pop("epochs" if keys[-1] == "steps" else "steps", None)
    return tuple(keys)


def _document_path(error: Any, data: Any) -> _Path:
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


def _allowed_keys(path: _Path) -> list[str]:
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


def _explain(error: Any, path: _Path) -> str:
    """One pydantic error in a sentence."""
    shown = ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        renamed = RENAMED.get(str(path[0]), {}).get(str(path[-1])) if len(path) == 2 else None
        if renamed:
            return f"{shown}: this key is now called `{renamed}`"
        allowed = _allowed_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1]).lower(), allowed, n=1)
        guess = f"; did you mean `{near[0]}`?" if near else ""
        return f"{shown}: unknown key; allowed: {', '.join(allowed) or 'none here'}{guess}"
    if error["type"] == "missing":
        return f"{shown}: required, but not given"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if isinstance(error["input"], dict) or error["type"] == "section":
        return f"{shown}: {message}" if shown else message
    return f"{shown}: {message}; found {error['input']!r}"


def _locate(path: _Path, lines: dict[_Path, int], overridden: Iterable[_Path], where: str) -> str:
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
    data, lines = _parse_yaml(text, where)
    if not isinstance(data, dict):
        raise StudyError(f"{where}: expected a mapping with the keys {', '.join(Study.model_fields)}; found {data!r}")
    overridden = [_override(data, setting) for setting in overrides]
    try:
        study = Study.model_validate(data)
        _require_permission(study)
        return study
    except SettingError as error:
        raise StudyError(f"{_locate(error.setting, lines, overridden, where)}: {error}") from None
    except ValidationError as error:
        problems: dict[str, str] = {}
        for e in error.errors():
            path = _document_path(e, data)
            problems.setdefault(_explain(e, path), _locate(path, lines, overridden, where))
        raise StudyError("\n".join(f"{place}: {text}" for text, place in problems.items())) from None


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
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        raise StudyError(f"{path}: cannot be read: {reason}") from None
    return parse_study(text, where=str(path), overrides=overrides)


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
        data, lines = _parse_yaml(Path(path).read_text(encoding="utf-8"), str(path))
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
