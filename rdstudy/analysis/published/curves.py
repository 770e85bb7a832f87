"""The paper's own curves, read off its figure, in the shape of our table.

The figure gives rates and distortions, and neither betas nor seeds; only beta = 1, the starred point, is known.
There is one curve per network and population and no replicate: means without intervals.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from rdstudy.analysis.published.betas import inferred_betas
from rdstudy.errors import UserError
from rdstudy.storage.schema import TEST, TRAIN

DEPTHS = {"shallow": 1, "deep": 3}
"""Hidden layers of the paper's two networks."""

COLUMNS = ("network", "split", "order_high_to_low_beta", "rate_nats", "distortion_nats", "star")


def published_curves(path: Path) -> pd.DataFrame:
    """Read curves digitised from the paper as rows that `frontier` and `shapes` understand.

    Args:
        path: a CSV file with the columns `network` (shallow, deep), `split` (train, test),
            `order_high_to_low_beta` (whole numbers), `rate_nats`, `distortion_nats` and `star` (1 at beta = 1, else 0).

    Returns:
        One row per point, by falling beta within a curve: `cell_id dataset split depth prior beta seed population
        network order rate_nats distortion_nats`. `beta` is inferred (`inferred_betas`), except where it is 1.

    Raises:
        UserError: the file cannot be read, a column or a value is missing or wrong, or a curve does not have one star.
    """
    path = Path(path)
    points = pd.DataFrame(_points(path))
    if points.empty:
        raise UserError(f"{path}: no points under the header")
    rows = []
    for network, both in points.groupby("network", sort=False):
        curves = {}
        for population, curve in both.groupby("population", sort=False):
            stars = int(curve["star"].sum())
            if stars != 1:
                raise UserError(
                    f"{path}: the {network} {population} curve has {stars} stars; it needs one, at beta = 1"
                )
            curves[str(population)] = curve.sort_values("order", ignore_index=True)
        betas = inferred_betas(curves, f"{path}, {network} network")
        rows += [curve.assign(beta=betas[population]) for population, curve in curves.items()]
    table = pd.concat(rows, ignore_index=True)
    return table.drop(columns="star").assign(
        cell_id=[f"published-{n}-{p}-{k}" for n, p, k in table[["network", "population", "order"]].itertuples(False)],
        dataset="tetrominoes",
        split="checkerboard",
        depth=table["network"].map(DEPTHS),
        prior="standard_normal",
        seed=0,
    )


def _points(path: Path) -> Iterator[dict[str, object]]:
    if not path.is_file():
        raise UserError(f"no file {path} to compare with: give a CSV with the columns {', '.join(COLUMNS)}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            found = reader.fieldnames or []
            missing = [name for name in COLUMNS if name not in found]
            if missing:
                raise UserError(
                    f"{path}, line 1: lacks the column(s) {', '.join(missing)}; it has {', '.join(found) or 'none'}"
                )
            seen: dict[tuple[str, str, int], int] = {}
            for row in reader:
                point = _point(row, f"{path}, line {reader.line_num}")
                key = (str(point["network"]), str(point["population"]), int(str(point["order"])))
                if key in seen:
                    raise UserError(
                        f"{path}, line {reader.line_num}: point {key[2]} of the {key[0]} {key[1]} curve is already in "
                        f"line {seen[key]}"
                    )
                seen[key] = reader.line_num
                yield point
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8: {error}") from error


def _point(row: dict[str | None, object], where: str) -> dict[str, object]:
    texts = {name: str(row[name] or "").strip() for name in COLUMNS}
    if None in row:
        raise UserError(f"{where}: more values than the header has columns")
    allowed = {"network": tuple(DEPTHS), "split": (TRAIN, TEST), "star": ("0", "1")}
    for name, values in allowed.items():
        if texts[name] not in values:
            raise UserError(f"{where}: {name} is {texts[name]!r}; allowed are {', '.join(values)}")
    order = texts["order_high_to_low_beta"]
    if not order.isdecimal():
        raise UserError(f"{where}: order_high_to_low_beta is {order!r}; it must be a whole number, 0 or more")
    return {
        "network": texts["network"],
        "population": texts["split"],
        "order": int(order),
        "rate_nats": _number(texts, "rate_nats", where),
        "distortion_nats": _number(texts, "distortion_nats", where),
        "star": int(texts["star"]),
    }


def _number(texts: dict[str, str], name: str, where: str) -> float:
    try:
        value = float(texts[name])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{where}: {name} is {texts[name]!r}; it must be a number of nats, 0 or more")
    return value
