"""The report's section on the published figure: P1 to P5, the distances, and the outcome in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rdstudy.analysis import setting_label, varying
from rdstudy.analysis.published.distances import AIM_NATS, INSIDE, NO_CURVE
from rdstudy.analysis.published.predictions import NOT_IN_STUDY, NOT_REPRODUCED, OPEN, REPRODUCED, beside
from rdstudy.analysis.published.setups import SETUP
from rdstudy.analysis.replicates import SEEDS
from rdstudy.report.analyses import Analyses
from rdstudy.report.formatting import interval, joined, number, short
from rdstudy.report.tables import Shown, shown

AGREED = {"train_size": 81920, "width": 512, "latent_dim": 10}
"""The run for which P1 to P5 were set."""


def published_outcome(analyses: Analyses) -> str:
    """What is reproduced and what is not, with the reasons, and how far our curves are; empty without curves given."""
    if analyses.published_predictions.empty:
        return ""
    parts = []
    for label, rows in by_setup(analyses.published_predictions):
        distances = of_setup(analyses.published_distances, rows.iloc[0])
        parts.append(f"{label}: {_outcome(rows, distances)}" if label else _outcome(rows, distances))
    return " ".join(parts)


def _outcome(predictions: pd.DataFrame, distances: pd.DataFrame) -> str:
    by_verdict = {verdict: predictions[predictions["verdict"] == verdict] for verdict in predictions["verdict"]}
    held = list(by_verdict[REPRODUCED]["id"]) if REPRODUCED in by_verdict else []
    said = [
        f"{len(held)} of {len(predictions)} predictions are reproduced" + (f" ({', '.join(held)})." if held else ".")
    ]
    for verdict, words in ((NOT_REPRODUCED, "fails"), (OPEN, "is open"), (NOT_IN_STUDY, "is not in this study")):
        for _, row in by_verdict[verdict].iterrows() if verdict in by_verdict else ():
            said.append(f"{row['id']} {words}: {row['reason']}.")
    inside = distances[distances["place"] == INSIDE]
    if inside.empty:
        said.append(f"None of the {len(distances)} published points is at a rate of this study's curves.")
    else:
        said.append(_distances(distances, inside))
    return " ".join([*said, _other_run(predictions.iloc[0])]).strip()


def _distances(distances: pd.DataFrame, inside: pd.DataFrame) -> str:
    near = int((inside["difference_nats"].abs() <= AIM_NATS).sum())
    without = int((distances["place"] == NO_CURVE).sum())
    parts = [f"{len(inside) - near} farther away", f"{len(distances) - len(inside) - without} outside of their rates"]
    parts += [f"{without} of curves not in this study"] if without else []
    text = (
        f"{near} of {len(distances)} published points {'is' if near == 1 else 'are'} within {AIM_NATS:g} nats of "
        f"this study's curves, {joined(parts)}"
    )
    far = inside.iloc[int(inside["difference_nats"].abs().argmax())]
    size = beside(abs(far["difference_nats"]), AIM_NATS)
    if float(size) == 0:
        return f"{text}; the largest distance is {size} nats."
    where = "above" if far["difference_nats"] > 0 else "below"
    return (
        f"{text}; the largest distance: this study's {far['network']} {far['population']} curve is {size} nats {where} "
        f"the published point at rate {far['rate_nats']:g}."
    )


def _other_run(row: pd.Series) -> str:
    other = [name for name, value in AGREED.items() if not pd.isna(row[name]) and row[name] != value]
    if not other:
        return ""
    return (
        f"P1 to P5 were set for {setting_label(AGREED, list(AGREED))}; this study has {setting_label(row, other)}, so "
        "it does not decide whether the published figure can be reproduced."
    )


def published_tables(analyses: Analyses) -> Sequence[Shown]:
    """P1 to P5, all their conditions, and the distance to every published point; none without curves given."""
    if analyses.published_predictions.empty:
        return ()
    names = varying(analyses.published_predictions, SETUP)
    unit = analyses.units.get("tetrominoes", SEEDS)
    numbers = {
        "published": lambda r: number(r["published_nats"]),
        "effect (nats)": lambda r: interval(r, "effect"),
        "needed": lambda r: f"{r['side']} {number(r['threshold_nats'])}",
        unit: lambda r: str(r["n_seeds"]),
        "verdict": lambda r: r["verdict"],
    }
    predictions = shown(
        "published_predictions",
        "Is the published figure reproduced?",
        "Each prediction, its thresholds fixed before the study was run, is one or more one-sided t tests at 5% over "
        f"differences within {unit}, all of which must hold. The numbers, mean and 90% interval over {unit}, are those "
        "of the condition that is farthest from holding, or of the first if all hold. Reproduced: the whole interval "
        "is on the needed side. Not reproduced: the whole interval is on the other side. Open: the interval holds the "
        f"threshold, or there are fewer than 3 {unit}.",
        analyses.published_predictions,
        {"": lambda r: r["id"], "prediction": lambda r: r["statement"], **numbers, "reason": lambda r: r["reason"]},
        text=("", "prediction", "needed", "verdict", "reason"),
        names=names,
    )
    conditions = shown(
        "published_conditions",
        "Every condition of the predictions",
        "",
        analyses.published_conditions,
        {"": lambda r: r["id"], "condition": lambda r: r["condition"], **numbers},
        text=("", "condition", "needed", "verdict"),
        names=names,
    )
    distances = shown(
        "published_distances",
        "Distance to every published point",
        "This study's mean curve minus the published point, at the point's rate (monotone interpolation), with its 95% "
        f"interval over {unit}. Points are read off the figure to about 0.3 nats. Their betas are inferred from the "
        "slopes of the training curves and do not enter the distances.",
        analyses.published_distances,
        {
            "network": lambda r: r["network"],
            "population": lambda r: r["population"],
            "beta (inferred)": lambda r: short(r["beta"]),
            "rate": lambda r: number(r["rate_nats"]),
            "published": lambda r: number(r["published_nats"]),
            "this study": lambda r: number(r["ours_nats"]),
            "difference": lambda r: interval(r, "difference") if r["place"] == INSIDE else r["place"],
            unit: lambda r: str(r["n_seeds"]),
        },
        text=("network", "population"),
        names=names,
    )
    return predictions, conditions, distances


def by_setup(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each setup, with a label if there are several."""
    names = varying(frame, SETUP)
    if not names:
        return [("", frame)]
    groups = frame.groupby(names, dropna=False, sort=False)
    return [(setting_label(rows.iloc[0], names), rows) for _, rows in groups]


def of_setup(frame: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    same = pd.Series(True, index=frame.index)
    for name in SETUP:
        same &= frame[name].isna() if pd.isna(row[name]) else frame[name] == row[name]
    return frame[same]
