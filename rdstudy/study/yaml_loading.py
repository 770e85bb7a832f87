"""Reads YAML that anybody may have written: limited in size, depth and aliases, with the numbers of YAML 1.2.

    text -> data, and the line of every key and list item

Only mappings, lists, text, numbers, true, false and null are read; `010` is 10, and `1:30`, `yes` and `1_000` are
text, as in YAML 1.2. Whatever cannot be read is answered with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from rdstudy.data.files import open_regular
from rdstudy.errors import UserError

MAX_BYTES = 256 * 1024
"""Size of a file; the longest study that comes with rdstudy has 3 kB."""
MAX_DEPTH = 32
"""Mappings and lists within each other; a study needs 4."""
MAX_NODES = 20_000
"""Values in a file, those of an alias counted each time that it is used."""
MAX_DIGITS = 100
"""Digits of a whole number."""

YamlPath = tuple[str | int, ...]
"""Keys and positions that lead to a value."""


class YamlError(UserError):
    """A text that is not YAML, or more of it than is read. Says what was found, and where."""


class _Loader(yaml.SafeLoader):
    """Limits, and constructors that answer a wrong scalar with its place."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int | yaml.Node | None) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels within each other", problem_mark=mark)
        if self._nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES:,} values", problem_mark=mark)
        try:
            return super().compose_node(parent, index)  # type: ignore[arg-type]
        finally:
            self._depth -= 1


class _StudyLoader(_Loader):
    """The scalars of YAML 1.2."""


def _checked(make: Callable[[_Loader, yaml.ScalarNode], object], kind: str) -> Callable[[_Loader, yaml.Node], object]:
    def construct(loader: _Loader, node: yaml.Node) -> object:
        value = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
        found = value if len(value) <= 40 else f"{value[:20]}... ({len(value):,} characters)"
        wrong = yaml.MarkedYAMLError(problem=f"expected {kind}; found {found!r}", problem_mark=node.start_mark)
        if not isinstance(node, yaml.ScalarNode) or (kind != "text" and len(value) > MAX_DIGITS):
            raise wrong
        try:
            return make(loader, node)
        except (ValueError, KeyError, OverflowError) as error:
            raise wrong from error

    return construct


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    node.value.encode()  # a lone surrogate, such as \ud800, is a ValueError: no file could hold it
    return str(node.value)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    return int(text, 0) if re.fullmatch(r"0[ox].+", text) else int(text)


_CONSTRUCTORS: dict[str, Callable[[_Loader, yaml.Node], object]] = {
    "str": _checked(_text, "text"),
    "int": _checked(_integer, "a whole number"),
    "float": _checked(_Loader.construct_yaml_float, "a number"),
    "bool": _checked(_Loader.construct_yaml_bool, "true or false"),
    "null": _checked(lambda loader, node: None, "null"),
}
_Loader.yaml_constructors = {
    tag: made
    for tag, made in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("map", "seq")
} | {f"tag:yaml.org,2002:{name}": made for name, made in _CONSTRUCTORS.items()}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":value"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StudyLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.endswith((":merge", ":null"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
):
    _StudyLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), list(_first))


def read_text(path: str | Path) -> str:
    """The text of a YAML file.

    Raises:
        YamlError: it cannot be read, is no regular file, is too large, or is not UTF-8.
    """
    try:
        with open_regular(Path(path)) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise YamlError(f"{shown(path)}: larger than {MAX_BYTES // 1024} kB, the most that is read of a YAML file")
        return data.decode()
    except OSError as error:
        raise YamlError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise YamlError(f"{shown(path)}: cannot be read: not a UTF-8 text file") from None
    except ValueError as error:  # a name with a null character
        if isinstance(error, UserError):
            raise
        raise YamlError(f"{shown(path)}: cannot be read: {error}") from None


def shown(text: object, most: int = 100) -> str:
    """A text as messages show it: its middle left out if it is long."""
    found = str(text)
    return found if len(found) <= most else f"{found[: most // 2]}...{found[-most // 2 :]}"


def parse_yaml(text: str, where: str, *, version_1_1: bool = False) -> tuple[object, dict[YamlPath, int]]:
    """Read a YAML text.

    Args:
        text: one YAML document.
        where: the file or option, for messages.
        version_1_1: read scalars as YAML 1.1 does, where `yes` is true and `010` is 8.

    Returns:
        The data, and the line of every key and list item.

    Raises:
        YamlError: it is not YAML, has a key that is no text or stands twice, or goes beyond the limits.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"{where}: longer than {MAX_BYTES // 1024} kB, the most that is read as YAML")
    kind = _Loader if version_1_1 else _StudyLoader
    try:
        loader = kind(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            _limit_aliases(node)
            data = loader.construct_document(node)
        finally:
            loader.dispose()
        # Composed again, because the merge keys of the first tree were replaced.
        return data, dict(_lines(yaml.compose(text, Loader=kind), where))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        begun = ""
        if error.context and error.context_mark and error.context_mark != mark:
            begun = f" ({error.context} that begins in line {error.context_mark.line + 1})"
        problem = shown(error.problem or error.context, 160)
        raise YamlError(f"{where}{line}: not valid YAML: {problem}{shown(begun)}") from None
    except yaml.reader.ReaderError as error:
        line = f":{text.count(chr(10), 0, error.position) + 1}"
        raise YamlError(f"{where}{line}: not valid YAML: the character {chr(error.character)!a}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(f"{where}: not valid YAML: {shown(error, 160)}") from None


def _limit_aliases(root: yaml.Node) -> None:
    """Refuse aliases of what contains them, and those that make more than `MAX_NODES` values."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in open_nodes:
            raise yaml.MarkedYAMLError(problem="an alias of what contains it", problem_mark=node.start_mark)
        if id(node) not in sizes:
            open_nodes.add(id(node))
            inside = (
                (part for pair in node.value for part in pair) if isinstance(node, yaml.MappingNode) else node.value
            )
            sizes[id(node)] = 1 + sum(map(size, inside))
            open_nodes.remove(id(node))
        return sizes[id(node)]

    if size(root) > MAX_NODES:
        raise yaml.MarkedYAMLError(problem=f"aliases of more than {MAX_NODES:,} values", problem_mark=root.start_mark)


def _lines(node: yaml.Node | None, where: str, at: YamlPath = ()) -> Iterator[tuple[YamlPath, int]]:
    """Line of every key and list item; refuses a key that is no text or stands twice."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not key.tag.endswith((":str", ":merge")):
                raise YamlError(f"{where}:{line}: expected text as a key; found {shown(key.value)}")
            if key.value in seen:
                raise YamlError(
                    f"{where}:{line}: `{shown(key.value)}` stands here and in line {seen[key.value]}; keep one of them"
                )
            seen[key.value] = line
            yield (*at, key.value), line
            yield from _lines(value, where, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield (*at, i), value.start_mark.line + 1
            yield from _lines(value, where, (*at, i))
