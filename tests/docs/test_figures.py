"""Measured figures in the documents are those of the committed tables and of the kept benchmark results."""

import re
from functools import cache

import pandas as pd
import pytest

import rdstudy
from rdstudy.analysis.ex_post import SUFFIX
from rdstudy.analysis.replicates import final_measurements
from tests.docs.documents import ROOT, commands, tables, text
from tests.docs.test_commands import mistake

KEPT = ROOT / "tests" / "benchmarks" / "results"
REFERENCE = ROOT / "results" / "reference"
VERDICTS = ("better", "worse", "equivalent", "open", "not_measurable")


Setting = tuple[str, int, int]
"""Split, training size, depth."""


@cache
def changes(name: str) -> dict[Setting, tuple[float, float]]:
    """Means at beta 0.001 minus those at 1 of test distortion and of refitted test distortion, nats."""
    rows = final_measurements(rdstudy.load_measurements(REFERENCE / name))
    test = rows[rows["population"] == "test"]
    found = {}
    columns = [test[name] for name in ("split", "train_size", "depth")]
    for split, size, depth in set(zip(*columns, strict=True)):
        own = test[(test["split"] == split) & (test["train_size"] == size) & (test["depth"] == depth)]
        means = own.groupby("beta")[["distortion_nats", "refit_distortion_nats"]].mean()
        plain, refitted = (float(means[q][0.001] - means[q][1.0]) for q in means.columns)
        found[str(split), int(size), int(depth)] = plain, refitted
    return found


@cache
def parts(name: str) -> dict[tuple[Setting, str], float]:
    """How far each part of the gap moves from beta 1 to 0.001."""
    table = pd.read_parquet(REFERENCE / name / "report" / "analyses" / "gap_changes.parquet")
    columns = ("split", "train_size", "depth", "part", "difference_nats")
    return {
        ((str(split), int(size), int(depth)), str(part)): float(change)
        for split, size, depth, part, change in zip(*(table[column] for column in columns), strict=True)
    }


def test_the_table_of_encoder_and_decoder_is_that_of_the_reference_tables():
    [rows] = [rows for rows in tables(text("results/README.md")) if "encoder's part of the gap" in rows[0]]
    assert len(rows) == 12
    for row in rows:
        name = "mnist" if row["images"].startswith("MNIST") else "tetrominoes"
        split = "holdout(4,9)" if name == "mnist" else row["images"].removeprefix("Tetrominoes, ")
        size, depth = int(row["training images"].replace(",", "")), int(row["hidden layers"])
        setting = split, size, depth
        plain, refitted = changes(name)[setting]
        assert row["test distortion"] == f"{plain:+.1f}"
        assert row["refitted"] == f"{refitted:+.1f}"
        assert row["encoder's part of the gap"] == f"{parts(name)[setting, 'encoder']:+.1f}"
        assert row["decoder's part"] == f"{parts(name)[setting, 'decoder']:+.1f}"


def test_the_encoders_part_is_shown_to_widen_wherever_the_findings_say_so():
    shown = {"encoder": 0, "decoder": 0}
    for name in ("tetrominoes", "mnist"):
        rows = pd.read_parquet(REFERENCE / name / "report" / "analyses" / "gap_changes.parquet")
        for part in shown:
            shown[part] += int(((rows["part"] == part) & (rows["verdict"] == "worse")).sum())
    assert shown == {"encoder": 12, "decoder": 3}
    said = " ".join(text("README.md").split())
    assert "shown to widen in all twelve settings of Tetrominoes and MNIST, the decoder's in three" in said
    assert "shown to widen in all twelve settings" in " ".join(text("results/README.md").split())


def test_the_readme_states_whose_the_rise_is():
    few = [change for (_, size, _), change in changes("tetrominoes").items() if size == 500]
    said = " ".join(text("README.md").split())
    risen, fallen = [plain for plain, _ in few], [-refitted for _, refitted in few]
    assert f"a test distortion {min(risen):.0f} to {max(risen):.0f} nats higher" in said
    assert f"that of the same decoders is {min(fallen):.0f} to {max(fallen):.0f} nats lower" in said


def test_the_readme_states_what_priors_change():
    table = pd.read_parquet(REFERENCE / "priors" / "report" / "analyses" / "priors.parquet").set_index("criterion")
    ex_post = table["prior"].str.endswith(SUFFIX)
    found = table[~ex_post]
    claims = pd.read_parquet(REFERENCE / "priors" / "report" / "analyses" / "claims.parquet")
    said = " ".join(text("README.md").split())
    largest = re.search(r"change test distortion by less than ([\d.]+) nats", said)
    assert largest is not None
    assert found["difference_nats"]["distortion_nats"].abs().max() < float(largest[1])
    gain = found["difference_nats"]["negative_elbo_nats"].max()
    assert f"improve the -ELBO by up to {gain:.0f} nats" in said
    lowering = claims[(claims["claim"] == "lowering_beta") & (claims["criterion"] == "distortion_nats")]
    assert set(lowering["verdict"]) == {"better"}
    assert "lowering beta improves test distortion under each of them" in said
    rows = rdstudy.load_measurements(REFERENCE / "priors")
    after = rows[rows["ex_post_prior"].notna() & (rows["population"] == "test")]
    flow = after["ex_post_prior"].str.startswith("flow")
    assert f"a flow fitted so loses up to {-after.loc[flow, 'ex_post_gain_nats'].min():.0f} on a test set" in said
    calm = table.reset_index()
    calm = calm[calm["prior"].isin(["gaussian" + SUFFIX, "mixture(32)" + SUFFIX])]
    gained = calm.loc[calm["criterion"] == "negative_elbo_nats", "difference_nats"]
    assert gained.min() > -0.05
    assert f"gain up to {gained.max():.0f} nats as well" in said


def test_what_is_said_of_the_decoders_limits_is_in_the_table():
    table = rdstudy.load_measurements(REFERENCE / "tetrominoes")
    test = table[table["is_final"] & (table["population"] == "test")]
    curves = test[test["ais_nll_nats"].notna()].set_index("cell_id")
    own = test[test["pack_id"].notna()].set_index("cell_id").loc[curves.index]
    refitted = test[test["refit_distortion_nats"].notna()].set_index("cell_id").loc[curves.index]
    beta = curves["beta"]
    limit = curves["ais_curve_distortion_nats"].str[-1] + beta * curves["ais_curve_rate_nats"].str[-1]
    refit = refitted["refit_distortion_nats"] + beta * refitted["refit_rate_nats"]
    above = own["distortion_nats"] + beta * own["rate_nats"] - limit
    errors = curves["ais_curve_distortion_se"].str[-1]
    said = " ".join(text("results/README.md").split())
    assert f"gives for {len(curves)} decoders" in said
    assert (limit - refit).abs().max() < 8
    assert "agree within 8 nats in every cell" in said
    assert f"standard errors of the curves {errors.min():.1f} to {errors.max():.1f} nats" in said
    assert f"the encoders stand {above.min():.0f} to {above.max():.0f} nats above the curves" in said


def test_what_is_said_of_priors_fitted_ex_post_is_in_the_table():
    found = pd.read_parquet(REFERENCE / "priors" / "report" / "analyses" / "priors.parquet")
    elbo = found[found["criterion"] == "negative_elbo_nats"]
    gains = elbo.pivot(index=["train_size", "depth", "beta"], columns="prior", values="difference_nats")
    more = gains["mixture(32)" + SUFFIX] - gains["mixture(32)"]
    said = " ".join(text("results/README.md").split())
    assert (
        f"lower -ELBO than one that was trained with the model at {int((more > 0).sum())} of {len(more)} points" in said
    )
    assert f"by up to {more.max():.1f} nats, and one higher by {-more.min():.1f} at the other" in said
    table = rdstudy.load_measurements(REFERENCE / "priors")
    flow = table[(table["ex_post_prior"] == "flow(4)") & (table["beta"] == 0.01)].groupby("population")
    low, high = flow["ex_post_gain_nats"].min(), flow["ex_post_gain_nats"].max()
    assert f"gains {low['train']:.0f} to {high['train']:.0f} nats on the training codes" in said
    assert f"loses up to {-low['test']:.0f} nats on a test set" in said
    assert flow["ex_post_worst_nats"].max()["test"] > 1000


def test_the_table_of_priors_is_that_of_the_analysis():
    [rows] = [rows for rows in tables(text("results/README.md")) if "prior" in rows[0]]
    found = pd.read_parquet(REFERENCE / "priors" / "report" / "analyses" / "priors.parquet")
    names = sorted(found["prior"].unique(), key=lambda name: (name.endswith(SUFFIX), name))
    assert [row["prior"] for row in rows] == names
    for row in rows:
        for name, criterion in (("test distortion", "distortion_nats"), ("test -ELBO", "negative_elbo_nats")):
            of = found[(found["prior"] == row["prior"]) & (found["criterion"] == criterion)]
            if of.empty:
                assert row[name] == "unchanged"
                continue
            counted = of["verdict"].value_counts()
            words = [word for word in VERDICTS if word in counted]
            said = ", ".join(f"{word.replace('_', ' ')} at {counted[word]}" for word in words)
            low, high = (round(gain, 1) + 0.0 for gain in (of["difference_nats"].min(), of["difference_nats"].max()))
            assert row[name] == f"{said} of {len(of)} ({low:.1f} to {high:.1f})"


def test_the_gains_of_the_digits_are_those_of_their_table():
    [rows] = [rows for rows in tables(text("results/README.md")) if "800 epochs" in rows[0]]
    table = rdstudy.load_measurements(ROOT / "results" / "reference" / "digits")
    final = table[table["is_final"] & (table["population"] == "test")]
    means = final.groupby(["train_size", "depth", "beta", "step"])["distortion_nats"].mean().unstack("beta")
    gains = (means[1.0] - means[0.01]).groupby(["train_size", "depth"]).apply(list)  # by step, ascending
    assert len(rows) == len(gains) == 6
    for row in rows:
        found = gains[int(row["training digits"].replace(",", "")), int(row["hidden layers"])]
        assert [row[f"{n} epochs"] for n in (50, 200, 800)] == [f"{gain:.1f}" for gain in found]


def test_the_readme_states_the_verdicts_on_the_digits():
    claims = pd.read_parquet(ROOT / "results" / "reference" / "digits" / "report" / "analyses" / "claims.parquet")
    lowering = claims[claims["claim"] == "lowering_beta"]
    better = lowering[(lowering["criterion"] == "distortion_nats") & (lowering["verdict"] == "better")]
    low, high = better["difference_nats"].min(), better["difference_nats"].max()
    said = " ".join(text("README.md").split())
    assert f"improves test distortion in {len(better)} of 18 settings, by {low:.1f} to {high:.1f} nats" in said
    assert set(lowering[lowering["criterion"] == "negative_elbo_nats"]["verdict"]) == {"worse"}


def kept_row(file: str, model: str, training: str) -> dict[str, str]:
    """A row of a kept table of training speed, for 784 pixels."""
    document = (KEPT / file).read_text()
    section = document[document.index(f"784 pixels, {model}, ") :]
    [row] = [row for row in tables(section)[0] if row["training"] == training]
    return row


@pytest.mark.parametrize("model", ["1x512", "3x512"])
@pytest.mark.parametrize(
    ("device", "file", "training", "unit"),
    [
        ("NVIDIA H100", "gpu_speed.md", "pack of 128", "us"),
        ("two cores of a Xeon with AMX", "training_speed.md", "rdstudy, packs of 8, 2 x 1", "ms"),
    ],
)
def test_the_performance_table_is_that_of_the_kept_benchmarks(device, file, training, unit, model):
    [rows] = [rows for rows in tables(text("README.md")) if "time per model-step" in rows[0]]
    [row] = [row for row in rows if f"{device}, {model}" in row.values()]
    kept = kept_row(file, model, training)
    assert row["time per model-step"] == f"{kept[f'{unit} per model-step']} {unit}"
    medians = [value.split("-")[1] for name, value in kept.items() if name.startswith("times ")]
    assert [row["times as fast as pythae's trainer"], row["as a DataLoader loop"]] == medians[:2]


def test_a_kept_result_names_the_command_that_made_it():
    for file in sorted(KEPT.glob("*.md")):
        [command] = list(commands("\n".join(file.read_text().splitlines()[:4])))[:1]
        assert command[:2] == ["python", "-m"], file
        assert mistake(command) is None, file
