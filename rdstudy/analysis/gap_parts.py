"""The generalization gap in its two parts, the encoder's and the decoder's, and which of them beta changes.

    A = L(q(z|x)) - L(q*)                    what the encoder misses of the best Gaussian posterior (inference gap)
    gap of L = L_test - L_train = (A_test - A_train) + (L*_test - L*_train)
                                  encoder's part       decoder's part

L = D + beta R is the cell's own objective and L* = D* + beta R* its value under posteriors refitted for each example
(`evaluation/refit.py`; Cremer et al. 2018). The parts add up to the gap exactly. L* is an upper bound of the least, so
an incomplete search would move a part from the encoder to the decoder; `n_unconverged` counts where it was incomplete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from rdstudy.analysis.claims import COLUMNS, Question, judge, nearest_beta
from rdstudy.analysis.intervals import mean_interval
from rdstudy.analysis.paired import Differences
from rdstudy.analysis.replicates import SETTING, TEST, TRAIN, Replicates, averaged, replicates
from rdstudy.analysis.verdicts import BETTER, EQUIVALENT, MARGIN_NATS, WORSE

ENCODER, DECODER = "encoder", "decoder"
EXCESS = "encoder minus decoder"
PARTS = (ENCODER, DECODER)
ASKED = (*PARTS, EXCESS)

CHANGED = {
    (True, True): "both",
    (True, False): ENCODER,
    (False, True): DECODER,
    (False, False): "neither",
}
"""Whose part of the gap beta changes, by whether the encoder's and the decoder's is shown to change."""


@dataclass(frozen=True)
class GapParts:
    """Of one setting: each part of the gap in nats, and how many of the refits behind it had not converged."""

    encoder: Float[np.ndarray, "seeds cells betas"]
    decoder: Float[np.ndarray, "seeds cells betas"]
    unconverged: Float[np.ndarray, "seeds cells betas"]


def parts_of(setting: Replicates) -> GapParts:
    """The parts of every cell that was refitted on the training and on the test set; NaN elsewhere."""

    def least(population: str) -> np.ndarray:
        found = setting.cells(population, "refit_distortion_nats")
        return np.asarray(found + setting.betas * setting.cells(population, "refit_rate_nats"))

    def missed(population: str) -> np.ndarray:
        return setting.cells(population, "inference_gap_nats")

    def unconverged(population: str) -> np.ndarray:
        change, error = setting.cells(population, "refit_change_nats"), setting.cells(population, "inference_gap_se")
        return np.where(np.isfinite(change), change > error, np.nan)

    return GapParts(
        missed(TEST) - missed(TRAIN), least(TEST) - least(TRAIN), np.fmax(unconverged(TEST), unconverged(TRAIN))
    )


def gap_parts(table: pd.DataFrame | Sequence[Replicates]) -> pd.DataFrame:
    """Both parts of the generalization gap at every beta, with 95% intervals over seeds.

    Args:
        table: rows as `rdstudy.load_measurements` gives them.

    Returns:
        One row per setting and beta that was refitted on train and test, from the largest beta down: the setting's
        columns, `beta n_seeds`; `encoder_nats decoder_nats gap_nats`, each with `*_low *_high`; `n_unconverged`, the
        number of replicates with a refit whose second half lowered L* by more than the error of the inference gap.
    """
    rows = []
    for setting in replicates(table):
        parts = parts_of(setting)
        found = {
            name: mean_interval(averaged(values))
            for name, values in (
                (ENCODER, parts.encoder),
                (DECODER, parts.decoder),
                ("gap", parts.encoder + parts.decoder),
            )
        }
        unconverged = np.nan_to_num(averaged(parts.unconverged)).astype(bool).sum(axis=0)
        for k in np.flatnonzero(found["gap"].count):
            row = {**setting.setting, "beta": float(setting.betas[k]), "n_seeds": int(found["gap"].count[k])}
            for name, means in found.items():
                row |= {
                    f"{name}_nats": float(means.mean[k]),
                    f"{name}_low": float(means.low[k]),
                    f"{name}_high": float(means.high[k]),
                }
            rows.append({**row, "n_unconverged": int(unconverged[k])})
    columns = [f"{name}_{end}" for name in (ENCODER, DECODER, "gap") for end in ("nats", "low", "high")]
    return pd.DataFrame(rows, columns=[*SETTING, "beta", "n_seeds", *columns, "n_unconverged"])


def gap_changes(
    table: pd.DataFrame | Sequence[Replicates],
    *,
    margin_nats: float = MARGIN_NATS,
    planned_seeds: int | None = None,
    reference_beta: float = 1.0,
) -> pd.DataFrame:
    """Whose part of the gap does beta change: a verdict on each part, from the reference to the smallest beta.

    The excess of the encoder's part over the decoder's says whose part changes more, also where neither is shown to
    stay equal. Holm's correction runs over all settings of a part.

    Args:
        table, margin_nats, planned_seeds, reference_beta: as for `claims`.

    Returns:
        Three rows per setting, `part` encoder, decoder, encoder minus decoder: its columns, `reference_beta beta`;
        `difference_nats low_nats high_nats`, the part at the smaller beta minus that at the reference, positive where
        the part widens; `margin_nats verdict look looks seeds reason`, the verdict `worse` where it widens, `better`
        where it narrows; `changes`, of the setting: encoder, decoder, both or neither, or null while a part is open.
    """
    settings = replicates(table)
    asked = [setting for setting in settings if np.isfinite(averaged(parts_of(setting).encoder)).any()]
    rows: list[dict[str, object]] = []
    for part in ASKED:
        questions = [_question(setting, part, margin_nats, reference_beta) for setting in asked]
        for row in judge(questions, planned_seeds):
            gained, low, high = (row.get(name, np.nan) for name in ("difference_nats", "low_nats", "high_nats"))
            rows.append({**row, "part": part, "difference_nats": -gained, "low_nats": -high, "high_nats": -low})
    columns = [name for name in COLUMNS if name not in (*SETTING, "criterion", "chosen_on")]
    frame = pd.DataFrame(rows, columns=[*SETTING, "part", *columns])
    encoder, decoder = (frame.loc[frame["part"] == part, "verdict"] for part in PARTS)
    changes = [changed(a, b) for a, b in zip(encoder, decoder, strict=True)]
    return frame.assign(changes=pd.Series(changes * len(ASKED), index=frame.index, dtype=object))


def changed(encoder: str, decoder: str) -> str | None:
    """Whose part changes, from the verdicts on the two; None while one of them says nothing."""
    known = {BETTER: True, WORSE: True, EQUIVALENT: False}
    if encoder not in known or decoder not in known:
        return None
    return CHANGED[known[encoder], known[decoder]]


def _question(setting: Replicates, part: str, margin: float, reference: float) -> Question:
    parts = parts_of(setting)
    values = {ENCODER: parts.encoder, DECODER: parts.decoder, EXCESS: parts.encoder - parts.decoder}[part]
    there = np.flatnonzero(np.isfinite(averaged(values)).any(axis=0))
    if len(there) < 2:
        return Question(setting, part, margin, unasked="fewer than two betas were refitted on train and test")
    start, end = nearest_beta(setting, there[:-1], reference), int(there[-1])
    narrowed = averaged(values[..., start] - values[..., end])
    beta, smallest = float(setting.betas[start]), float(setting.betas[end])
    if not np.isfinite(narrowed).any():
        why = f"no seed was refitted both at beta = {beta:g} and at {smallest:g}"
        return Question(setting, part, margin, beta, unasked=why)
    return Question(setting, part, margin, beta, Differences([0.0], narrowed[:, None]), smallest)
