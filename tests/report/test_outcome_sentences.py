"""Sentences on saturation, on the published figure and on two studies: each number is recomputed from its table."""

import dataclasses
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.interpolate import PchipInterpolator

from rdstudy.analysis import published_curves, published_distances, published_predictions
from rdstudy.analysis.claims import claims
from rdstudy.analysis.replicates import SETTING, Replicates
from rdstudy.analysis.saturation import saturation
from rdstudy.report import Analyses
from rdstudy.report.comparison import Compared, answer_of, difference_table, differences, differing_columns
from rdstudy.report.formatting import beta_range
from rdstudy.report.information_sentences import bounds_sentence, saturation_sentence
from rdstudy.report.published import published_outcome
from tests.analysis import PROPERTY
from tests.analysis.published_studies import copied, curves_file
from tests.analysis.synthetic import Planted, flat, study_table
from tests.report.test_sentences import NUMBER, number

FEW = settings(max_examples=8, deadline=None)
BETAS = (5.0, 1.0, 0.3, 0.125, 0.00125)
POPULATIONS = ("train", "test", "validation")


# Saturation


def informed(generator: np.random.Generator, width: int) -> Replicates:
    """A setting whose mutual information was estimated on some populations, and saturates anywhere or nowhere."""
    betas = np.array(sorted(generator.choice(BETAS, generator.integers(1, 6), replace=False))[::-1])
    seeds = int(generator.integers(1, 6))
    ceiling = 9.0
    values = {}
    for population in POPULATIONS:
        if generator.random() < 0.5:
            continue
        deficits = 0.1 * betas / generator.choice(BETAS) * generator.choice([0.3, 1, 3]) + generator.normal(0, 0.02)
        noise = 10 ** generator.uniform(-3, -1) * generator.standard_normal((seeds, len(betas)))
        mi = np.where(generator.random(noise.shape) < 0.05, np.nan, ceiling - deficits - noise)
        values[population, "mi_nats"] = mi
        values[population, "mi_ceiling_nats"] = np.full_like(mi, ceiling)
        values[population, "mi_upper_nats"] = mi + generator.choice([0.0, 2.0], p=[0.8, 0.2])
    return Replicates({**dict.fromkeys(SETTING), "width": width}, betas, np.arange(seeds), values)


def shown_at(setting: Replicates, population: str) -> tuple[list[float], list[float]]:
    """Betas down from which I is shown to be within 0.1 nats of its ceiling; up from which it is shown not to be."""
    deficits = setting.of(population, "mi_ceiling_nats") - setting.of(population, "mi_nats")
    within, beyond = [], []
    for beta, column in zip(setting.betas, deficits.T, strict=True):
        column = column[np.isfinite(column)]
        if not len(column):
            continue
        half = stats.t.ppf(0.975, len(column) - 1) * column.std(ddof=1) / np.sqrt(len(column))
        within.append((beta, column.mean() + half <= 0.1))
        beyond.append((beta, column.mean() - half > 0.1))
    low = [beta for k, (beta, _) in enumerate(within) if all(so for _, so in within[k:])]
    high = [beta for k, (beta, _) in enumerate(beyond) if all(so for _, so in beyond[: k + 1])]
    return low, high


@PROPERTY
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_sentence_on_saturation_counts_every_setting_once_and_has_its_betas(seed, number_):
    generator = np.random.default_rng(seed)
    made = [informed(generator, k) for k in range(number_)]
    text = saturation_sentence(saturation(made))
    names = ("at", "below", "everywhere", "never", "open", "not identified")
    counts: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for setting in made:
        there = [p for p in POPULATIONS if setting.measured(p, "mi_nats")]
        if not there:
            continue
        values = setting.of(there[0], "mi_nats")
        measured = setting.betas[np.isfinite(values).any(axis=0)]
        if np.isfinite(values).sum(axis=0)[np.isfinite(values).any(axis=0)].min() < 2:
            return  # a beta with one seed has no interval to recompute
        low, high = shown_at(setting, there[0])
        ends = (max(low, default=0.0), min(high, default=np.inf))
        between = setting.of(there[0], "mi_upper_nats") - values
        apart = np.nanmax(np.where(setting.betas <= ends[0], between, np.nan)) if low else 0
        name = (
            ("not identified" if apart > 1 else "everywhere" if ends[0] == measured[0] else "at")
            if low
            else ("never" if ends[1] == measured[-1] else "below" if high else "open")
        )
        counts[name].append(ends)
    total = sum(map(len, counts.values()))
    if not total:
        assert text == ""
        return
    assert text.endswith(f" of {total} setting{'' if total == 1 else 's'}.")
    said = {
        "at": rf"saturates at a beta (?:between {NUMBER} and {NUMBER}|of {NUMBER} or more) in (\d+)",
        "below": rf"saturates below beta = {NUMBER}, if at all, in (\d+)",
        "everywhere": r"is saturated at every beta in (\d+)",
        "never": r"is saturated at none in (\d+)",
        "open": r"is not decided in (\d+)",
        "not identified": rf"reaches log N at a beta (?:between {NUMBER} and {NUMBER}|of {NUMBER} or more) and is not "
        r"identified in (\d+)",
    }
    for name, pattern in said.items():
        found = re.search(pattern, text)
        assert (int(found[found.re.groups]) if found else 0) == len(counts[name]), (name, text)
        if found and name in ("at", "not identified"):
            assert float(found[1] or found[3]) == min(one for one, _ in counts[name])
            assert (float(found[2]) if found[2] else np.inf) == max(one for _, one in counts[name])
        if found and name == "below":
            assert float(found[1]) == max(one for _, one in counts[name])


NATS = r"\u2212?\d+(?:\.\d+)?"
SPAN = rf"({NATS}(?: to {NATS})?)"


@pytest.mark.parametrize("aparts", [(0.1,), (5.0,), (60.0,), (None,), (0.1, None), (60.0, None, 5.0)])
def test_the_sentence_on_bounds_has_those_of_the_table_and_says_what_they_leave_open(aparts):
    """Bounds 5 nats apart: not identified. Equal but for 0.1: a number. Not measured: said so."""
    generator = np.random.default_rng(0)
    tables = []
    for k, apart in enumerate(aparts):
        planted = Planted(saturates_at=0.5, depth=k + 1)
        table = study_table(
            [planted], betas=(5.0, 0.3, 0.1, 0.01), seeds=4, apart=apart, nll=False, generator=generator
        )
        tables.append(table.assign(cell_id=f"{k}-" + table["cell_id"]))
    text = bounds_sentence(saturation(pd.concat(tables, ignore_index=True)))
    train = [table[table["population"] == "train"] for table in tables]
    last = [rows[rows["beta"] == 0.01] for rows, apart in zip(train, aparts, strict=True) if apart is not None]
    said = re.search(
        rf"mutual information is at least {SPAN} and at most {SPAN} nats, "
        rf"the marginal KL at least {SPAN} and at most {SPAN} nats",
        text,
    )
    assert bool(said) == bool(last)
    if said is not None:
        spans = [re.findall(NATS, group) for group in said.groups()]
        columns = ("mi_lower_nats", "mi_upper_nats", "marginal_kl_lower_nats", "marginal_kl_upper_nats")
        for column, span in zip(columns, spans, strict=True):
            means = [rows[column].mean() for rows in last]
            assert number(span[0]) == pytest.approx(min(means), abs=0.051)
            assert number(span[-1]) == pytest.approx(max(means), abs=0.051)
    grown = sum(apart in (0.1, 5.0) for apart in aparts)  # from 0.3 or 0.1 to 0.01 R rises by 18 nats or more
    for words, count in (("grows", grown), ("may grow or fall", aparts.count(60.0))):
        found = re.search(rf"{words} in (\d+)", text)
        assert (int(found[1]) if found else 0) == count, text
    missing = aparts.count(None)
    assert ("whether it or the marginal KL grows" in text) == bool(missing)
    if 0 < missing < len(aparts):
        assert f"is not identified in {missing} of {len(aparts)} settings" in text


def test_the_interval_of_a_beta_that_is_not_decided_names_every_beta():
    assert beta_range(0.0, np.inf) == "any, or never"


@PROPERTY
@given(st.integers(0, 2**32 - 1))
def test_why_underfitting_cannot_be_measured_names_the_largest_deficit_above_its_beta(seed):
    generator = np.random.default_rng(seed)
    betas = np.array([5.0, 1.0, 0.3, 0.1])
    deficits = generator.choice([0.01, 0.5, 0.9, 3.0], len(betas))
    flat_ = np.full((3, len(betas)), 90.0)
    values = {("train", "mi_nats"): 9 - deficits + 0 * flat_, ("train", "mi_ceiling_nats"): 9 + 0 * flat_}
    values |= {(population, "distortion_nats"): flat_ for population in ("train", "test")}
    rows = claims([Replicates(dict.fromkeys(SETTING), betas, np.arange(3), values)])
    reason = rows[rows["claim"] == "underfitting"].iloc[0]["reason"]
    found = re.search(r"nowhere 1 nats or more below its ceiling(?: \(at most (\S+)\))? at a beta above (\S+)$", reason)
    if found:
        above = deficits[betas > float(found[2])]
        assert (above < 1).all()
        assert (float(found[1]) if found[1] else None) == (
            pytest.approx(above.max(), abs=0.005) if len(above) else None
        )


# The published figure


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    return published_curves(curves_file(tmp_path_factory.mktemp("paper")))


def perturbed(paper: pd.DataFrame, seed: int, seeds: int) -> pd.DataFrame:
    """The published values with the noise of seeds and cells; some cells, betas and curves are not there."""
    generator = np.random.default_rng(seed)
    table = copied(paper, seeds)
    size = 10 ** generator.uniform(-1.5, 1)
    of_seed = 3 * generator.standard_normal(seeds)[table["seed"]]
    table["distortion_nats"] += of_seed + size * generator.standard_normal(len(table)) + generator.choice([0, 2.9, 8])
    table["rate_nats"] += generator.choice([0, 3]) + 0.1 * generator.standard_normal(len(table))
    gone = generator.random(len(table)) < generator.choice([0, 0.1, 0.3])
    if generator.random() < 0.3:
        gone |= table["depth"] == generator.choice([1, 3])
    if generator.random() < 0.3:
        gone |= table["beta"] == generator.choice(table["beta"].unique())
    if generator.random() < 0.2:
        gone |= table["split"] == generator.choice(["random", "checkerboard"])
    kept: pd.DataFrame = table[~gone]
    return kept


def curve(table: pd.DataFrame, split: str, depth: int, population: str, name: str = "distortion_nats") -> pd.DataFrame:
    rows = table[(table["split"] == split) & (table["depth"] == depth) & (table["population"] == population)]
    return rows.pivot(index="seed", columns="beta", values=name)


def betas_of(values: pd.DataFrame) -> list[float]:
    return [float(str(beta)) for beta in values.columns]


def difference(one: pd.Series, other: pd.Series) -> list[float]:
    """Within the seeds that have both."""
    return [float(value) for value in (one - other).dropna()]


def above_best(values: pd.DataFrame, beta: float) -> list[float]:
    """D(beta) less D at the beta in [0.3, 1] that gains most on it in the other seeds."""
    inside = [one for one in betas_of(values) if 0.3 <= one <= 1]
    gains = np.array([values[beta] - values[one] for one in inside]).T
    gains = gains[np.isfinite(gains).any(axis=1)]
    found = []
    for k, own in enumerate(gains):
        others = np.delete(gains, k, axis=0) if len(gains) > 1 else gains
        told = {
            (others[np.isfinite(others[:, j]), j].mean(), own[j])
            for j in range(len(inside))
            if np.isfinite(own[j]) and np.isfinite(others[:, j]).any()
        }
        found += [float(max(told)[1])] if told else []
    return found


def conditions_of(table: pd.DataFrame) -> Iterator[tuple[str, str, str, float, list[float] | None]]:
    """Each condition of P1 to P5 as their statements have it, and its effects by seed; None where it lacks a beta."""
    shallow, deep = (curve(table, "checkerboard", depth, "test") for depth in (1, 3))
    random = curve(table, "random", 1, "test")
    best = "D({:g}) - D at the best beta in [0.3, 1]"
    for name, values in (("P1", shallow), ("P5", random)):
        small = next((beta for beta in (0.005, 0.01) if beta in values), None)
        inside = [beta for beta in betas_of(values) if 0.3 <= beta <= 1]
        if small is None or not inside:
            yield name, "", "at least" if name == "P1" else "below", 3.0, None
        elif name == "P1":
            yield name, best.format(small), "at least", 3.0, above_best(values, small)
            for beta in betas_of(values):
                if beta not in (small, *inside):
                    yield name, best.format(beta), "at least", 0.0, above_best(values, beta)
        else:
            for beta in inside:
                yield name, f"D({small:g}) - D({beta:g})", "below", 3.0, difference(values[small], values[beta])
    there = {1.0, 0.1} <= set(deep)
    yield "P2", "D(1) - D(0.1)", "at least", 15.0, difference(deep[1.0], deep[0.1]) if there else None
    there = 1.0 in shallow and 1.0 in deep
    both = difference(deep[1.0], shallow[1.0]) if there else None
    yield "P3", "deep - shallow at beta 1", "at least", 10.0, both
    shared = [beta for beta in betas_of(shallow) if beta in deep and beta <= 0.01]
    for beta in shared:
        yield "P3", f"deep - shallow at beta {beta:g}", "at most", -3.0, difference(deep[beta], shallow[beta])
    if not shared:
        yield "P3", "", "at most", -3.0, None
    for depth, word in ((1, "shallow"), (3, "deep")):
        train = curve(table, "checkerboard", depth, "train")
        small_ones = [beta for beta in betas_of(train) if beta <= 0.01]
        for beta in small_ones:
            yield "P4", f"{word} training D({beta:g})", "at most", 60.0, list(map(float, train[beta].dropna()))
        if not small_ones:
            yield "P4", "", "at most", 60.0, None


def bounds(effects: list[float]) -> tuple[float, float]:
    half = stats.t.ppf(0.95, len(effects) - 1) * np.std(effects, ddof=1) / np.sqrt(len(effects))
    return float(np.mean(effects) - half), float(np.mean(effects) + half)


SIGNED = NUMBER.replace("\\u2212", "[-\\u2212]")


def state(side: str, threshold: float, effects: list[float] | None) -> str:
    if effects is None:
        return "is not in this study"
    if len(effects) < 3:
        return "is open"
    low, high = bounds(effects)
    if side == "at least":
        return "holds" if low >= threshold else "fails" if high < threshold else "is open"
    return "holds" if high <= threshold else "fails" if low > threshold else "is open"


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_outcome_names_the_predictions_that_hold_and_why_the_others_do_not(paper, seed, seeds):
    table = perturbed(paper, seed, seeds)
    text = outcome(table, paper)
    conditions = list(conditions_of(table))
    wanted = {}
    for name in ("P1", "P2", "P3", "P4", "P5"):
        states = [state(*one[2:]) for one in conditions if one[0] == name]
        wanted[name] = next(s for s in ("fails", "is not in this study", "is open", "holds") if s in states)
    held = [name for name, found in wanted.items() if found == "holds"]
    named = f" ({', '.join(held)})" if held else ""
    assert text.startswith(f"{len(held)} of 5 predictions are reproduced{named}.")
    said = dict(re.findall(r"(P\d) (fails|is open|is not in this study): ", text))
    assert said == {name: found for name, found in wanted.items() if found != "holds"}
    for name, word in said.items():
        reason = re.search(rf"{name} {word}: (.*?)\.(?= (?:P\d |\d+ of|None of))", text)
        assert reason is not None, text
        if word != "is not in this study":
            _assert_reason(reason[1], [one for one in conditions if one[0] == name])


def _assert_reason(reason: str, conditions: list[tuple[str, str, str, float, list[float] | None]]) -> None:
    """The condition that is named is one of the prediction's, and its numbers are those of its seeds."""
    [(_, says, side, threshold, effects)] = [one for one in conditions if one[1] and reason.startswith(f"{one[1]}")][
        -1:
    ]
    assert effects is not None
    told = reason.removeprefix(says)
    few = re.match(r": (no|\d+) (?:data )?seeds? ha(?:s|ve) all values; 3 are needed", told)
    if few:
        assert (0 if few[1] == "no" else int(few[1])) == len(effects) < 3
        return
    low, high = bounds(effects)
    assert f"; {side} {threshold:g} is needed" in told
    one = re.match(rf" is (at least|at most) {SIGNED} with 95% confidence", told)
    if one:
        assert one[1] == {"at least": "at most"}.get(side, "at least")
        assert number(one[2]) == pytest.approx(high if side == "at least" else low, abs=0.051)
        assert (number(one[2]) < threshold) if side == "at least" else (number(one[2]) > threshold)
        return
    both = re.match(rf" is {SIGNED} to {SIGNED} \(90% interval\)", told)
    assert both is not None, told
    assert [number(both[1]), number(both[2])] == pytest.approx([low, high], abs=0.051)
    assert number(both[1]) <= threshold <= number(both[2])


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_the_outcome_counts_near_and_far_points_and_names_the_farthest(paper, seed, seeds):
    table = perturbed(paper, seed, seeds)
    text = outcome(table, paper)
    near: list[tuple[float, str, str, float]] = []
    far: list[tuple[float, str, str, float]] = []
    outside, without = 0, 0
    for (network, population), points in paper.groupby(["network", "population"], sort=False):
        depth = {"shallow": 1, "deep": 3}[str(network)]
        rates, distortions = (
            curve(table, "checkerboard", depth, str(population), name).mean()
            for name in ("rate_nats", "distortion_nats")
        )
        if rates.empty:
            without += len(points)
            continue
        ordered = rates.argsort()
        ours = PchipInterpolator(rates.iloc[ordered], distortions.iloc[ordered]) if len(rates) > 1 else None
        for rate, theirs in zip(points["rate_nats"], points["distortion_nats"], strict=True):
            if ours is None or not rates.min() <= rate <= rates.max():
                outside += 1
                continue
            found = (float(ours(rate)) - theirs, str(network), str(population), rate)
            (near if abs(found[0]) <= 3 else far).append(found)
    if not near and not far:
        assert "published points is at a rate of this study's curves" in text
        return
    said = re.search(
        r"(\d+) of (\d+) published points (?:is|are) within 3 nats of this study's curves, (\d+) farther away,? "
        r"(?:and )?(\d+) outside of their rates(?: and (\d+) of curves not in this study)?",
        text,
    )
    assert said is not None, text
    assert [int(n or 0) for n in said.groups()] == [len(near), len(paper), len(far), outside, without]
    largest = re.search(
        rf"largest distance: this study's (\w+) (\w+) curve is {NUMBER} nats (above|below) the published point at "
        r"rate (\S+)\.",
        text,
    )
    difference, *where = max([*near, *far], key=lambda one: abs(one[0]))
    if round(abs(difference), 1) == 0:
        return
    assert largest is not None, text
    assert number(largest[3]) == pytest.approx(abs(difference), abs=0.051)
    assert (number(largest[3]) > 3) == bool(far)
    assert largest[4] == ("above" if difference > 0 else "below")
    assert [largest[1], largest[2], float(largest[5])] == where


def outcome(table: pd.DataFrame, paper: pd.DataFrame) -> str:
    found = published_predictions(table, paper), published_distances(table, paper)
    return published_outcome(dataclasses.replace(EMPTY, published_predictions=found[0], published_distances=found[1]))


EMPTY = Analyses.of(study_table([Planted()], betas=(1.0,), seeds=1, nll=False, mi=False))


# Two studies


def random_study(generator: np.random.Generator, name: str) -> tuple[Compared, pd.DataFrame]:
    depths = generator.choice([1, 2, 3], generator.integers(1, 4), replace=False)
    betas = [float(beta) for beta in generator.choice(BETAS, generator.integers(1, 5), replace=False)]
    table = study_table(
        [Planted(flat(generator.normal(3, 1)), depth=int(depth)) for depth in depths],
        betas=betas,
        seeds=int(generator.integers(1, 5)),
        noise=10 ** generator.uniform(-2, 0.5),
        generator=generator,
        nll=False,
        mi=False,
        populations=("train", "test") if generator.random() < 0.8 else ("train",),
    )
    if generator.random() < 0.4:
        table = table.assign(prior="vampprior", train_size=1_234_567.0)
    there = generator.random(len(table)) > generator.choice([0.0, 0.2])
    table = table[there] if there.any() else table
    gone = generator.random(len(table)) < generator.choice([0.0, 0.2])
    return Compared.of(name, table.assign(rate_nats=table["rate_nats"].mask(gone))), table


@FEW
@given(st.integers(0, 2**32 - 1))
def test_the_comparison_of_two_studies_has_the_counts_and_directions_of_their_tables(seed):
    generator = np.random.default_rng(seed)
    (a, of_a), (b, of_b) = random_study(generator, "first"), random_study(generator, "second")
    differing = differing_columns(a, b)
    found = differences(a, b, differing)
    text = " ".join(answer_of(found, a, b, differing))
    columns = ("depth", "prior", "train_size")
    fixed = {c for c in columns if of_a[c].nunique() == of_b[c].nunique() == 1 and set(of_a[c]) != set(of_b[c])}
    for column in fixed:
        x, y = (f"{one[column].iloc[0]:,.0f}" if column != "prior" else one[column].iloc[0] for one in (of_a, of_b))
        assert f"{column.replace('_', ' ').capitalize()}: {x} in first, {y} in second." in text
    assert text.count(" in first, ") == len(fixed)
    keys = [c for c in columns if c not in fixed] + ["population", "beta"]
    points = {
        key: (of_a.groupby(keys).get_group(key), rows)
        for key, rows in of_b.groupby(keys)
        if key in of_a.groupby(keys).groups
    }
    told, lower, higher, without, counts = [], 0, 0, 0, set()
    for key, (rows_a, rows_b) in points.items():
        x, y = (rows["distortion_nats"].to_numpy() for rows in (rows_a, rows_b))
        counts.add((*key[-2:], f"{len(x)}, {len(y)}"))
        if key[-2] != "test":
            continue
        told.append(y.mean() - x.mean())
        if min(len(x), len(y)) < 2:
            without += 1
            continue
        interval = stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.95)
        lower, higher = lower + (interval.high < 0), higher + (interval.low > 0)
    if not points:
        assert "no setting and beta in common" in text
        return
    assert "no setting and beta in common" not in text
    table = difference_table(found, a, b)
    at = [table.header.index(name) for name in ("population", "beta", "seeds")]
    assert {(row[at[0]], float(row[at[1]]), row[at[2]]) for row in table.rows} == counts
    if not told:
        assert "Test distortion was measured at no common point" in text
        return
    said = re.search(
        r"Test distortion of second is lower at (\d+) and higher at (\d+) of (\d+) common points? with 95% confidence, "
        r"each point taken alone(?:; (\d+) ha(?:s|ve) too few seeds for an interval)?; "
        rf"the median of second minus first is {NUMBER} nats\.",
        text,
    )
    assert said is not None, text
    assert [int(said[k] or 0) for k in (1, 2, 3, 4)] == [lower, higher, len(told), without]
    assert number(said[5]) == pytest.approx(np.median(told), abs=0.051)
