"""The three claims of Bozkurt et al. (2021), put to a study's own results, with an effect, an interval and a
verdict.

    lowering_beta          lowering beta improves generalization in most settings
    underfitting           reducing the mutual information leads to underfitting
    beyond_saturation      generalization keeps improving after the mutual information has saturated

Each is one difference in nats per setting, in which a positive number speaks for the claim:

    supported      the interval lies above 0 and the effect is at least `smallest_effect_nats`
    contradicted   the interval lies below `smallest_effect_nats`: there is no effect worth the name, or the
    opposite undecided      anything else, always with fewer than three seeds, and where the study does not
    ask the question

"In most settings" is then a share with its own interval (`claims_summary`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.analysis.contrasts import (
    ABSENT,
    MIN_SEEDS,
    NO_EFFECT,
    PRESENT,
    SMALLEST_EFFECT_NATS,
    Effect,
    effect,
)
from rdstudy.analysis.curve_shapes import UNDECIDED, shape_of
from rdstudy.analysis.intervals import mean_interval, share_interval
from rdstudy.analysis.power import MAX_SEEDS, seeds_needed
from rdstudy.analysis.replicates import CRITERIA, SETTING, TEST, TRAIN, Replicates, replicates
from rdstudy.analysis.saturation import SATURATED_SHARE, below, informed_population, saturation_edge

SUPPORTED, CONTRADICTED = "supported", "contradicted"

CLAIMS = {
    "lowering_beta": "Lowering beta improves generalization in most settings.",
    "underfitting": "Reducing the mutual information leads to underfitting.",
    "beyond_saturation": "Generalization keeps improving after the mutual information has saturated.",
}

REDUCED_SHARE = 0.9
"""Mutual information is "well below its ceiling" at or under this share: of log 81,920 = 11.3 nats, 1.1 are
then lost,
and a code confuses its example with two others on average."""

_CRITERION_WORDS = {
    "distortion_nats": "test distortion",
    "negative_elbo_nats": "test -ELBO",
    "nll_nats": "test NLL",
}


@dataclass(frozen=True)
class Tested:
    """One claim in one setting: the effect, what else to say, and why there is none where there is none."""

    effect: Effect = NO_EFFECT
    reference_beta: float = float("nan")
    at_smallest: Effect = NO_EFFECT
    words: str = ""
    unasked: str = ""


def claims(
    table: pd.DataFrame | Sequence[Replicates],
    *,
    smallest_effect_nats: float = SMALLEST_EFFECT_NATS,
    reference_beta: float = 1.0,
) -> pd.DataFrame:
    """Test each claim in each setting.

    - `lowering_beta`: test criterion at beta = 1 (or the grid's beta nearest to it in log beta that has a
      smaller one) minus that at the best smaller beta. beta = 1 is the bound itself: "lowering" means below
      what VAEs are usually trained with, not from a beta so large that nothing is learned.
    - `underfitting`: training distortion where I is at most 90% of its ceiling, averaged over those betas,
      minus that at the largest beta where I has reached 95% (or, where none has, at the beta with the largest
      I).
    - `beyond_saturation`: test criterion at the largest beta where I has reached 95% minus that at the best
      smaller.

    "Best" is cross-fitted over seeds (`analysis.contrasts`), so the choice does not flatter the claim. I is
    the mutual information on the training set, or on the test set where only that was measured.

    Args:
        smallest_effect_nats: differences below this are called none.
        reference_beta: where lowering starts, for the first claim.

    Returns:
        One row per claim, setting and criterion (test distortion, -ELBO and NLL where measured;
        `underfitting` is about training distortion only): `claim`, the setting's columns, `criterion
        verdict`; `effect_nats effect_low effect_high` (95% t interval over seeds), `effect_sd` between seeds,
        `n_seeds`; `reference_beta`; `at_smallest_nats at_smallest_low at_smallest_high`, how the criterion
        changes from the reference to the smallest beta (positive: worse); `seeds_needed`, the seeds in all
        that would settle it in 80 of 100 studies at the effect now seen, and `more_runs`, the cells that
        would add (both null where settled, where more than 100 seeds would be needed, or where nothing is
        known); `sentence`, all of that in words.
    """
    settings = replicates(table)
    rows: list[dict[str, Any]] = []
    tests: dict[str, Callable[[Replicates, str], Tested]] = {
        "lowering_beta": lambda setting, criterion: _lowering_beta(setting, criterion, reference_beta),
        "underfitting": lambda setting, _: _underfitting(setting),
        "beyond_saturation": _beyond_saturation,
    }
    for claim, test in tests.items():
        criteria = ("distortion_nats",) if claim == "underfitting" else CRITERIA
        for criterion in criteria:
            measured = criterion == CRITERIA[0] or any(s.measured(TEST, criterion) for s in settings)
            if not measured:
                continue
            found = [(setting, test(setting, criterion)) for setting in settings]
            spread = _usual_spread([tested.effect for _, tested in found])
            for setting, tested in found:
                rows.append(_row(claim, setting, criterion, tested, spread, smallest_effect_nats))
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"seeds_needed": "Int64", "more_runs": "Int64"})


_COLUMNS = [
    "claim",
    *SETTING,
    "criterion",
    "verdict",
    "effect_nats",
    "effect_low",
    "effect_high",
    "effect_sd",
    "n_seeds",
    "reference_beta",
    "at_smallest_nats",
    "at_smallest_low",
    "at_smallest_high",
    "seeds_needed",
    "more_runs",
    "sentence",
]


def _lowering_beta(setting: Replicates, criterion: str, reference: float) -> Tested:
    there = np.isfinite(setting.of(TEST, criterion)).any(axis=0)
    candidates = np.flatnonzero(there)[:-1]  # the smallest beta has none below it
    if not len(candidates):
        return Tested(unasked="fewer than two betas were measured on the test set")
    distance = np.abs(np.log(np.maximum(setting.betas[candidates], 1e-300) / reference))
    start = int(candidates[np.argmin(distance)])
    fall, change = below(setting, criterion, start)
    beta = float(setting.betas[start])
    shape = shape_of(setting.of(TEST, criterion)).name
    shaped = "" if shape == UNDECIDED else f" The whole curve is {shape}."
    return Tested(fall, beta, change, _fall_words(criterion, beta, fall, change) + shaped)


def _underfitting(setting: Replicates) -> Tested:
    population = informed_population(setting)
    if population is None:
        return Tested(unasked="the mutual information was not measured")
    distortion = setting.of(TRAIN, "distortion_nats")
    shares = mean_interval(setting.of(population, "mi_share")).mean
    usable = np.isfinite(shares) & np.isfinite(distortion).any(axis=0)
    if not usable.any():
        return Tested(unasked="no training distortion was measured where the mutual information was")
    reached = np.flatnonzero(usable & (np.nan_to_num(shares) >= SATURATED_SHARE))
    start = int(reached[0]) if len(reached) else int(np.nanargmax(np.where(usable, shares, np.nan)))
    reduced = [k for k in np.flatnonzero(usable) if shares[k] <= REDUCED_SHARE and k != start]
    if not reduced:
        return Tested(
            unasked="at no beta of the grid is the mutual information at or under "
            f"{REDUCED_SHARE:.0%} of its ceiling (the least is {np.nanmin(shares[usable]):.0%}); "
            "a larger beta, or more data, would reduce it"
        )
    found = effect(distortion[:, reduced].mean(axis=1) - distortion[:, start])
    beta = float(setting.betas[start])
    words = (
        f"Where the mutual information is at or under {REDUCED_SHARE:.0%} of its ceiling (beta "
        f"{_beta_range(setting.betas[reduced])}), training distortion is {_more(found)} than at "
        f"beta = {beta:g}, where it is {shares[start]:.0%}."
    )
    return Tested(found, beta, NO_EFFECT, words)


def _beyond_saturation(setting: Replicates, criterion: str) -> Tested:
    population = informed_population(setting)
    if population is None:
        return Tested(unasked="the mutual information was not measured")
    edge = saturation_edge(setting, population)
    if edge is None:
        largest = float(np.nanmax(mean_interval(setting.of(population, "mi_share")).mean))
        return Tested(
            unasked=f"the mutual information never reaches {SATURATED_SHARE:.0%} of its ceiling on this grid "
            f"(the most is {largest:.0%}); smaller betas would show it"
        )
    fall, change = below(setting, criterion, edge)
    beta = float(setting.betas[edge])
    if not fall.seeds:
        return Tested(
            reference_beta=beta,
            unasked=f"the mutual information saturates at beta = {beta:g}, and the test set was not measured "
            "at it and at a smaller one",
        )
    words = f"From beta = {beta:g}, the largest at which the mutual information is saturated: "
    return Tested(fall, beta, change, words + _fall_words(criterion, beta, fall, change))


def _usual_spread(effects: list[Effect]) -> float:
    """Median standard deviation between seeds, over the settings that have several."""
    spreads = [found.sd for found in effects if np.isfinite(found.sd)]
    return float(np.median(spreads)) if spreads else float("nan")


def _row(
    claim: str, setting: Replicates, criterion: str, tested: Tested, spread: float, smallest: float
) -> dict[str, Any]:
    found = tested.effect
    verdict = {PRESENT: SUPPORTED, ABSENT: CONTRADICTED}.get(found.decided(smallest), UNDECIDED)
    needed = None
    if verdict == UNDECIDED and found.seeds:
        needed = seeds_needed(found, smallest, sd=None if np.isfinite(found.sd) else spread)
        if needed is not None:
            needed = max(needed, found.seeds + 1)
    more_runs = None if needed is None else (needed - found.seeds) * len(setting.betas)
    return {
        "claim": claim,
        **setting.setting,
        "criterion": criterion,
        "verdict": verdict,
        "effect_nats": found.nats,
        "effect_low": found.low,
        "effect_high": found.high,
        "effect_sd": found.sd,
        "n_seeds": found.seeds,
        "reference_beta": tested.reference_beta,
        "at_smallest_nats": tested.at_smallest.nats,
        "at_smallest_low": tested.at_smallest.low,
        "at_smallest_high": tested.at_smallest.high,
        "seeds_needed": needed,
        "more_runs": more_runs,
        "sentence": _sentence(verdict, tested, needed, more_runs, smallest, spread),
    }


def _sentence(
    verdict: str, tested: Tested, needed: int | None, more_runs: int | None, smallest: float, spread: float
) -> str:
    if not tested.effect.seeds:
        why = tested.unasked or "it was not measured where it is needed"
        return f"Undecided: {why}."
    seeds = tested.effect.seeds
    text = f"{verdict.capitalize()}: {tested.words}"
    if verdict != UNDECIDED:
        return text
    if seeds < MIN_SEEDS:
        text += f" {seeds} seed{'s' if seeds > 1 else ''} cannot decide (at least {MIN_SEEDS} are needed)."
    if needed is not None:
        return text + (
            f" About {needed} seeds, {more_runs} more runs, would settle it if the effect is as large as it looks."
        )
    if not np.isfinite(tested.effect.sd) and not np.isfinite(spread):
        return text + " How many more would settle it cannot be told from one seed."
    return text + (
        f" The effect is so near 0 or {smallest:g} nats, for its spread between seeds, "
        f"that more than {MAX_SEEDS} seeds would be needed."
    )


def _fall_words(criterion: str, beta: float, fall: Effect, change: Effect) -> str:
    name = _CRITERION_WORDS[criterion]
    direction = "lower" if fall.nats >= 0 else "higher"
    words = (
        f"{name} at the best beta below {beta:g} is {abs(fall.nats):.1f} nats {direction} than at {beta:g}"
        f"{_interval(fall)}"
    )
    if np.isfinite(change.nats):
        end = "worse" if change.nats > 0 else "better"
        words += f"; at the smallest beta it is {abs(change.nats):.1f} nats {end}"
    return words + "."


def _more(found: Effect) -> str:
    return f"{abs(found.nats):.1f} nats {'higher' if found.nats >= 0 else 'lower'}{_interval(found)}"


def _interval(found: Effect) -> str:
    if not np.isfinite(found.low):
        return ""
    return f" (95% interval of the difference {found.low:.1f} to {found.high:.1f}, {found.seeds} seeds)"


def _beta_range(betas: np.ndarray) -> str:
    return f"{betas[0]:g}" if len(betas) == 1 else f"{betas[-1]:g} to {betas[0]:g}"


def claims_summary(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Each claim over all settings: in which share of those that were decided it is supported.

    Args:
        verdicts: what `claims` returns.

    Returns:
        One row per claim and criterion: `claim criterion n_settings supported contradicted undecided`;
        `share` of the decided settings that support it, with its exact 95% interval `share_low share_high`
        (Clopper & Pearson 1934, settings taken as draws from those one might have studied); `verdict`:
        `supported` where the interval lies above one half ("in most settings"), `contradicted` where it lies
        below, else `undecided`; `effect_median_nats` over all settings; `sentence`.
    """
    rows = []
    for (claim, criterion), group in verdicts.groupby(["claim", "criterion"], sort=False):
        counts = group["verdict"].value_counts()
        supported, contradicted = int(counts.get(SUPPORTED, 0)), int(counts.get(CONTRADICTED, 0))
        decided = supported + contradicted
        low, high = share_interval(supported, decided)
        verdict = SUPPORTED if low > 0.5 else CONTRADICTED if high < 0.5 else UNDECIDED
        median = float(group["effect_nats"].median()) if group["effect_nats"].notna().any() else float("nan")
        row = {
            "claim": claim,
            "criterion": criterion,
            "n_settings": len(group),
            "supported": supported,
            "contradicted": contradicted,
            "undecided": len(group) - decided,
            "share": supported / decided if decided else np.nan,
            "share_low": low if decided else np.nan,
            "share_high": high if decided else np.nan,
            "verdict": verdict,
            "effect_median_nats": median,
            "more_runs": int(group["more_runs"].fillna(0).sum()),
        }
        told = int(group["more_runs"].notna().sum())
        unasked = group.loc[group["n_seeds"] == 0, "sentence"]
        rows.append({**row, "sentence": _summary_sentence(row, told, _common_reason(unasked, len(group)))})
    columns = ["claim", "criterion", "n_settings", SUPPORTED, CONTRADICTED, UNDECIDED, "share", "share_low"]
    return pd.DataFrame(
        rows, columns=[*columns, "share_high", "verdict", "effect_median_nats", "more_runs", "sentence"]
    )


def _summary_sentence(row: dict[str, Any], told: int, reason: str) -> str:
    decided = row[SUPPORTED] + row[CONTRADICTED]
    if not decided:
        text = f"None of {_settings(row['n_settings'])} could be decided{reason}"
    else:
        text = (
            f"Supported in {row[SUPPORTED]} of {_settings(decided)} that could be decided "
            f"({row['share']:.0%}, 95% interval {row['share_low']:.0%} to {row['share_high']:.0%})"
        )
        if row[UNDECIDED]:
            text += f"; {row[UNDECIDED]} undecided"
        if row["verdict"] == UNDECIDED:
            text += '. Too few settings, or too mixed, to say "in most"'
    if told:
        text += f". About {row['more_runs']:,} more runs would settle {told} of the undecided"
    return text + "."


def _common_reason(unasked: pd.Series, settings: int) -> str:
    """ ": the mutual information was not measured", where that is why none of the settings has an effect."""
    if len(unasked) < settings or unasked.nunique() != 1:
        return ""
    return f": {unasked.iloc[0].removeprefix('Undecided: ').removesuffix('.')}"


def _settings(count: int) -> str:
    return f"{count} setting{'' if count == 1 else 's'}"
