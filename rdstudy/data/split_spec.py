"""Names of splits into training and test sets, and the splits that each data set allows. Standard library only.

    random   checkerboard   cropped(0.5)   standard   holdout(7,9)

A split is one string in a study's grid and in the table. In YAML, the mappings `{cropped: 0.5}` and
`{holdout: [7, 9]}` mean the same and need no quotes inside a list in brackets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["random", "checkerboard", "cropped", "standard", "holdout"]

_SPELLING: dict[Kind, str] = {
    "random": "random",
    "checkerboard": "checkerboard",
    "cropped": "cropped(RATIO)",
    "standard": "standard",
    "holdout": "holdout(CLASSES)",
}
_TORCHVISION: tuple[Kind, ...] = ("standard", "random", "holdout")
SPLITS: dict[str, tuple[Kind, ...]] = {
    "tetrominoes": ("random", "checkerboard", "cropped"),
    "mnist": _TORCHVISION,
    "fashion_mnist": _TORCHVISION,
    "kmnist": _TORCHVISION,
    "cifar10": _TORCHVISION,
    "images": ("random", "standard"),
}
"""All data sets, with the splits that each allows."""


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """A parsed split. `str()` gives its one spelling, used in tables and cell ids."""

    kind: Kind
    ratio: float | None = None
    """For `cropped`, the share of the factors' volume that is kept, in (0, 1]."""
    classes: tuple[int, ...] = ()
    """For `holdout`, the classes that only the test set has, ascending."""

    def __str__(self) -> str:
        if self.kind == "cropped":
            return f"cropped({_number(self.ratio)})"
        if self.kind == "holdout":
            return f"holdout({','.join(map(str, self.classes))})"
        return self.kind


def parse_split(value: object) -> SplitSpec:
    """Parse the value of a split in a study file.

    Args:
        value: text such as `holdout(7,9)`, a mapping such as `{"holdout": [7, 9]}`, or a `SplitSpec`.

    Raises:
        ValueError: the value is none of these, or its ratio or classes are impossible.

    >>> str(parse_split({"holdout": [9, 7]}))
    'holdout(7,9)'
    """
    if isinstance(value, SplitSpec):
        return value
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise _refusal(value, f"a mapping names one split, this one has {len(value)} keys")
        kind, argument = next(iter(value.items()))
        return _split(value, kind, argument)
    if not isinstance(value, str):
        raise _refusal(value, f"a split is text or a mapping, not {type(value).__name__}")
    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\(([^()]*)\))?\s*", value)
    if match is None:
        # In YAML, [holdout(7,9)] is a list of the two texts "holdout(7" and "9)".
        hint = "a bracket has no partner; quote a split with a comma, or write {holdout: [7, 9]}"
        raise _refusal(value, hint if value.count("(") != value.count(")") else "it is not a known spelling")
    kind, inside = match.groups()
    arguments = None if inside is None else [part for part in re.split(r"[\s,]+", inside) if part]
    return _split(value, kind, arguments)


def check_split(split: object, dataset: str) -> SplitSpec:
    """Parse a split and check that the data set allows it.

    Raises:
        ValueError: the data set is unknown, or does not allow the split.
    """
    spec = parse_split(split)
    if dataset not in SPLITS:
        raise ValueError(f"data set {dataset!r} is not known; known are {', '.join(SPLITS)}")
    if spec.kind not in SPLITS[dataset]:
        raise ValueError(
            f"split {str(spec)!r} is not allowed for data set {dataset}, which allows {allowed_splits(dataset)}"
        )
    return spec


def allowed_splits(dataset: str) -> str:
    """The spellings of a data set's splits, for messages and comments."""
    return ", ".join(_SPELLING[kind] for kind in SPLITS[dataset])


def _split(value: object, kind: object, argument: object) -> SplitSpec:
    arguments = argument if isinstance(argument, list | tuple) else [] if argument is None else [argument]
    if kind in ("random", "checkerboard", "standard"):
        if argument is not None:
            raise _refusal(value, f"{kind} takes no argument")
        return SplitSpec(kind)
    if kind == "cropped":
        if len(arguments) != 1:
            raise _refusal(value, f"cropped takes one ratio, found {len(arguments)}")
        return SplitSpec("cropped", ratio=_ratio(value, arguments[0]))
    if kind == "holdout":
        if not arguments:
            raise _refusal(value, "holdout takes the classes that only the test set has, found none")
        classes = [_class(value, item) for item in arguments]
        if len(set(classes)) < len(classes):
            raise _refusal(value, "a class is named more than once")
        return SplitSpec("holdout", classes=tuple(sorted(classes)))
    raise _refusal(value, f"{kind!r} is not a split")


def _ratio(value: object, item: object) -> float:
    try:
        ratio = float(item) if isinstance(item, int | float | str) and not isinstance(item, bool) else math.nan
    except (ValueError, OverflowError):
        ratio = math.nan
    if not 0 < ratio <= 1:
        raise _refusal(value, f"the ratio is {item!r}; it must be above 0 and at most 1")
    return ratio


def _class(value: object, item: object) -> int:
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 10**9:
        return item
    if isinstance(item, str) and re.fullmatch(r"[0-9]{1,9}", item):
        return int(item)
    raise _refusal(value, f"class {item!r} is not an integer from 0 to 999999999")


def _number(ratio: float | None) -> str:
    assert ratio is not None
    return repr(ratio).removesuffix(".0")


def _refusal(value: object, why: str) -> ValueError:
    return ValueError(
        f"split {value!r}: {why}. Allowed: {', '.join(_SPELLING.values())}, "
        "for example cropped(0.5), 'holdout(7,9)' or {holdout: [7, 9]}"
    )
