"""The parts that a model can be made of and the measures of a model, by the names that a study file gives them.

One line adds a part: its spelling and where its class is, as text, so that reading a study imports none of them. The
allowed values of the grid, the JSON schema and the messages are made from it.

A name may carry arguments, which are numbers: `mixture(10)`. A part of one's own is `my_package.module:Class`; it runs
that package's code, so it is refused unless `allow_plugins` was called (`rdstudy run --allow-plugins`).
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from functools import cache
from typing import NamedTuple

PARTS: dict[str, dict[str, str]] = {
    "prior": {
        "standard_normal": "rdstudy.models.priors.standard_normal:StandardNormal",
        "gaussian": "rdstudy.models.priors.gaussian:Gaussian",
        "mixture(COMPONENTS)": "rdstudy.models.priors.mixture:Mixture",
        "flow(COUPLINGS)": "rdstudy.models.priors.flow:Flow",
        "vampprior(PSEUDO_INPUTS)": "rdstudy.models.priors.vampprior:VampPrior",
    },
    "likelihood": {
        "bernoulli": "rdstudy.models.likelihoods.bernoulli:Bernoulli",
    },
    "architecture": {
        "mlp": "rdstudy.models.architectures.mlp:MLP",
    },
}
"""By kind and spelling, `module:Class`."""

MEASURES = {
    "rate_distortion": "rdstudy.evaluation.measures.rate_distortion:RateDistortion",
    "mutual_information": "rdstudy.evaluation.measures.mutual_information:MutualInformation",
    "nll": "rdstudy.evaluation.measures.nll:NLL",
    "latent_rates": "rdstudy.evaluation.measures.latent_rates:LatentRates",
    "refit": "rdstudy.evaluation.measures.refit:Refit",
    "information_bounds": "rdstudy.evaluation.measures.information_bounds:InformationBounds",
    "ais": "rdstudy.evaluation.measures.ais:AIS",
    "ex_post_prior": "rdstudy.evaluation.measures.ex_post_prior:ExPostPrior",
}
"""By name, `module:Class`; in the order in which they are computed, and of their columns in the table."""

_CALL = re.compile(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*")
_PLUGIN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:@[0-9a-f]{8})?")
_SCHEMA_NUMBER = r"\s*[0-9.eE+-]+\s*"


class Reference(NamedTuple):
    """Where a part's class is, and what it is made with."""

    module: str
    name: str
    arguments: tuple[int | float, ...] = ()
    source_hash: str | None = None


class _Permission:
    granted = False


def allow_plugins(allowed: bool = True) -> None:
    """Let this process import the classes that studies name as `my_package.module:Class`."""
    _Permission.granted = allowed


def is_plugin(value: str) -> bool:
    """Whether a value names a class outside the registry."""
    return ":" in value


def plugins_allowed() -> bool:
    """Whether this process may import plugins."""
    return _Permission.granted


def may_import(value: str) -> bool:
    """Whether the class of a value may be imported: it is in the registry, or plugins were allowed."""
    return _Permission.granted or not is_plugin(value)


def require_permission(kind: str, value: str) -> None:
    """Refuse a plugin unless plugins were allowed.

    Raises:
        ValueError: the value is a plugin, and plugins were not allowed.
    """
    if not may_import(value):
        raise ValueError(
            f"{kind} {value} is code of your own, which is imported only if you say so: "
            "--allow-plugins, or rdstudy.study.registry.allow_plugins() in Python"
        )


def allowed(kind: str) -> str:
    """The spellings of a kind of part, for messages."""
    return ", ".join([*PARTS[kind], "or my_package.module:Class"])


def reference(kind: str, value: str) -> Reference:
    """Where the class of a value is. Imports nothing.

    Args:
        kind: `prior`, `likelihood` or `architecture`.
        value: such as `standard_normal`, `mixture(10)` or `my_package.module:Class`.

    Raises:
        ValueError: there is no such part, or it takes other arguments.

    >>> reference("prior", "mixture(10)").arguments
    (10,)
    """
    if is_plugin(value):
        if not _PLUGIN.fullmatch(value):
            raise ValueError(f"not a class: expected my_package.module:Class; found {value!r}")
        path, _, source_hash = value.partition("@")
        module, _, name = path.partition(":")
        return Reference(module, name, (), source_hash or None)
    match = _CALL.fullmatch(value)
    for spelling, path in PARTS[kind].items():
        known, parameters = _call(spelling)
        if match is None or match[1] != known:
            continue
        arguments = _numbers(match[2])
        if arguments is None or len(arguments) != len(parameters):
            raise ValueError(f"{kind} {known} is written {spelling}, with numbers above 0")
        module, _, name = path.partition(":")
        return Reference(module, name, arguments)
    raise ValueError(f"there is no such {kind}; allowed: {allowed(kind)}")


def canonical(kind: str, value: str) -> str:
    """The one spelling of a value; to a plugin's it adds the hash of its class's source, which imports it.

    Raises:
        ValueError: as `reference`; or a plugin that is not allowed, or that cannot be imported.

    >>> canonical("prior", " mixture( 10 )")
    'mixture(10)'
    """
    found = reference(kind, value)
    if is_plugin(value):
        if found.source_hash is not None:
            return value
        require_permission(kind, value)
        return f"{value}@{_source_hash(found)}"
    name = _CALL.fullmatch(value)
    assert name is not None
    return name[1] + (f"({','.join(map(repr, found.arguments))})" if found.arguments else "")


def load_class(kind: str, value: str) -> tuple[type, tuple[int | float, ...]]:
    """Import the class of a value, and what it is made with.

    Raises:
        ValueError: as `reference`; or a plugin that is not allowed, that cannot be imported, or whose source is not
            that of the hash.
    """
    require_permission(kind, value)
    found = reference(kind, value)
    if found.source_hash is not None and found.source_hash != _source_hash(found):
        raise ValueError(
            f"{kind} {value}: the source of {found.module}:{found.name} has changed: its hash is now "
            f"{_source_hash(found)}. Cells trained with another source are other cells: name it without the hash."
        )
    return _class(found), found.arguments


def json_schema(kind: str) -> dict[str, object]:
    """JSON Schema of a value."""
    plain = [spelling for spelling in PARTS[kind] if "(" not in spelling]
    calls = [_call(spelling) for spelling in PARTS[kind] if "(" in spelling]
    patterns = [rf"^{name}\({','.join([_SCHEMA_NUMBER] * len(parameters))}\)$" for name, parameters in calls]
    patterns.append(f"^{_PLUGIN.pattern}$")
    return {"anyOf": [{"type": "string", "enum": plain}, *({"type": "string", "pattern": each} for each in patterns)]}


def _call(spelling: str) -> tuple[str, list[str]]:
    """Name and parameters of a spelling in the registry."""
    name, _, rest = spelling.partition("(")
    return name, [each.strip() for each in rest.rstrip(")").split(",") if each.strip()]


def _numbers(text: str | None) -> tuple[int | float, ...] | None:
    """The numbers between the parentheses; None where one is no number above 0."""
    found: list[int | float] = []
    for each in (text or "").split(",") if text else []:
        try:
            number = float(each)
        except ValueError:
            return None
        if not 0 < number < float("inf"):
            return None
        found.append(int(number) if number.is_integer() else number)
    return tuple(found)


def _class(found: Reference) -> type:
    try:
        kind = getattr(importlib.import_module(found.module), found.name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{found.module}:{found.name} cannot be imported: {error}") from error
    if not isinstance(kind, type):
        raise ValueError(f"{found.module}:{found.name} is not a class")
    return kind


@cache
def _source_hash(found: Reference) -> str:
    try:
        source = inspect.getsource(_class(found))
    except OSError as error:
        raise ValueError(f"{found.module}:{found.name}: its source cannot be read: {error}") from error
    return hashlib.blake2b(source.encode(), digest_size=4).hexdigest()
