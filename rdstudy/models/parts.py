"""The parts of a model by their names: `study/registry.py` says where they are."""

from __future__ import annotations

from functools import lru_cache

from rdstudy.models.protocols import Architecture, Likelihood, Prior, Sizes
from rdstudy.study.registry import load_class


@lru_cache(256)
def prior(name: str) -> Prior:
    """The prior of this name."""
    found = _made("prior", name)
    if not isinstance(found, Prior):
        raise _incomplete("prior", name, found, Prior)
    return found


@lru_cache(256)
def likelihood(name: str) -> Likelihood:
    """The likelihood of this name."""
    found = _made("likelihood", name)
    if not isinstance(found, Likelihood):
        raise _incomplete("likelihood", name, found, Likelihood)
    return found


@lru_cache(256)
def architecture(name: str, sizes: Sizes) -> Architecture:
    """The architecture of this name for these sizes."""
    found = _made("architecture", name, sizes)
    if not isinstance(found, Architecture):
        raise _incomplete("architecture", name, found, Architecture)
    return found


def _made(kind: str, name: str, *first: Sizes) -> object:
    part, arguments = load_class(kind, name)
    return part(*first, *arguments)


def _incomplete(kind: str, name: str, found: object, protocol: type) -> ValueError:
    members = [*vars(protocol), *vars(protocol).get("__annotations__", {})]
    lacking = sorted({each for each in members if not each.startswith("_") and not hasattr(found, each)})
    return ValueError(f"{kind} {name}: the class lacks {', '.join(lacking)}; see rdstudy.models.protocols")
