import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy.evaluation import importance_sampling
from rdstudy.evaluation import population as encoding
from rdstudy.evaluation.evaluate import Values, measure, sheet
from rdstudy.evaluation.importance_sampling import importance_weighted_nll
from rdstudy.evaluation.measures.nll import NLL
from rdstudy.evaluation.mutual_information import decompose_rate
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.storage.schema import DIVERGED, OK
from rdstudy.study import Evaluation
from rdstudy.study.seeding import generator
from rdstudy.training.trainer import PackTrainer

SHAPE = ModelShape(15, 1, 9, 3)
POPULATION = np.random.default_rng(3).permutation(100)[:37]


@pytest.fixture(scope="module")
def images(dataset) -> torch.Tensor:
    return torch.from_numpy(dataset.images.copy())


def model(cell_id: str = "a", scale: float = 1.5) -> VAE:
    """An untrained model, with larger weights than training starts from."""
    return VAE(SHAPE, scale * initial_parameters(SHAPE, cell_id, torch.float32))


def measured(vae: VAE, images: torch.Tensor, indices: np.ndarray = POPULATION, **changes: Any) -> Values:
    at = {"beta": 1.0, "stream_id": "a", "step": 7, "final": 100, "population": "test", **changes}
    population = at.pop("population")
    return measure(vae, images, {population: indices}, at.pop("evaluation", Evaluation()), **at)[population]


def asked(**evaluation: Any) -> Evaluation:
    return Evaluation.model_validate(evaluation)


def by_hand(vae: VAE, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rate and distortion of every example of the population at once, in NumPy and double precision."""
    p = {name: value.detach().double().numpy() for name, value in vae.named_parameters()}

    def mlp(x: np.ndarray, part: str) -> np.ndarray:
        hidden = np.maximum(x @ p[f"{part}.0.weight"] + p[f"{part}.0.bias"], 0)
        return np.asarray(hidden @ p[f"{part}.2.weight"] + p[f"{part}.2.bias"])

    x = images.numpy()[POPULATION] / 255
    mean, log_std = np.split(mlp(x, "encoder"), 2, axis=1)
    noise = generator("a", "evaluation", 7, "test").standard_normal(mean.shape, dtype=np.float32)
    logits = mlp(mean + np.exp(log_std) * noise, "decoder")
    p_white = 1 / (1 + np.exp(-logits))
    distortion = -(x * np.log(p_white) + (1 - x) * np.log(1 - p_white)).sum(axis=1)
    rate = 0.5 * (mean**2 + np.exp(2 * log_std) - 1 - 2 * log_std).sum(axis=1)
    return rate, distortion


@pytest.mark.parametrize("at_once", [1024, 37, 16, 1])
def test_values_are_means_over_every_example_with_their_standard_errors(images, monkeypatch, at_once):
    """At 16, two chunks and a rest of five."""
    monkeypatch.setattr(encoding, "EXAMPLES_AT_ONCE", at_once)
    values = measured(model(), images)
    rate, distortion = by_hand(model(), images)
    assert (values.status, values.message) == (OK, None)
    assert values.columns["n_examples"] == 37
    for name, each in (("rate", rate), ("distortion", distortion), ("elbo", -(rate + distortion))):
        assert values.columns[f"{name}_nats"] == pytest.approx(each.mean(), rel=1e-5)
        assert values.columns[f"{name}_se"] == pytest.approx(each.std(ddof=1) / math.sqrt(37), rel=1e-4)


def test_every_example_counts_once(images):
    """Two parts of a population, weighted by their sizes, make the whole; the rate has no draws in it."""
    whole, first, rest = (
        measured(model(), images, part).columns["rate_nats"] for part in (POPULATION, POPULATION[:30], POPULATION[30:])
    )
    assert whole == pytest.approx((30 * first + 7 * rest) / 37, rel=1e-6)


def test_the_elbo_is_what_distortion_and_rate_leave_whatever_beta(images):
    columns = measured(model(), images).columns
    assert columns["elbo_nats"] == pytest.approx(-(columns["distortion_nats"] + columns["rate_nats"]), rel=1e-12)


def test_standard_errors_cover_the_populations_mean(images):
    """Samples of 20 of the 100 images, with replacement: means lie about their own mean as the errors say."""
    rng = np.random.default_rng(0)
    samples = [measured(model(), images, rng.integers(0, 100, 20), step=i).columns for i in range(300)]
    for name in ("rate", "distortion", "elbo"):
        means = np.array([columns[f"{name}_nats"] for columns in samples])
        errors = np.array([columns[f"{name}_se"] for columns in samples])
        ratio = means.var(ddof=1) / np.mean(errors**2)
        assert abs(ratio - 1) < 4 * math.sqrt(2 / 299)  # a variance of 300 values, within 4 standard errors


def test_draws_depend_on_cell_step_and_population_and_on_nothing_else(images):
    distortion = measured(model(), images).columns["distortion_nats"]
    assert measured(model(), images).columns["distortion_nats"] == distortion
    for change in ({"stream_id": "b"}, {"step": 8}, {"population": "train"}):
        other = measured(model(), images, **change).columns
        assert other["distortion_nats"] != distortion
        assert other["rate_nats"] == measured(model(), images).columns["rate_nats"]


def test_values_do_not_depend_on_the_pack(images, make_cell):
    cells = [make_cell(seed=seed, precision="bfloat16", steps=20) for seed in range(3)]
    train = [np.arange(40)] * 3
    pack, alone = PackTrainer(cells, images, train), PackTrainer(cells[1:2], images, train[1:2])
    pack.advance(20)
    alone.advance(20)
    assert measured(pack.model(1), images).columns == measured(alone.model(0), images).columns


def test_of_one_example_there_is_no_standard_error(images):
    columns = measured(model(), images, POPULATION[:1]).columns
    assert columns["n_examples"] == 1
    assert columns["distortion_se"] is None
    assert columns["distortion_nats"] > 0


def test_measuring_leaves_the_model_and_the_images_alone(images):
    vae, before = model(), images.clone()
    measured(vae, images)
    assert torch.equal(vae.row(), model().row())
    assert torch.equal(images, before)
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_what_is_not_finite_is_diverged_and_null(images):
    values = measured(model(scale=1e30), images)
    assert values.status == DIVERGED
    assert "not finite at step 7" in (values.message or "")
    assert values.columns == {"n_examples": 37}


def test_weights_that_are_not_finite_are_not_said_to_be(images):
    """Training looks at weights only every so many steps, so measuring may meet them first."""
    values = measured(model(scale=math.nan), images)
    assert values.status == DIVERGED
    assert "though the weights were" not in (values.message or "")
    assert values.columns == {"n_examples": 37}


ESTIMATES = {
    "mutual_information": {"mi_nats", "mi_se", "mi_ceiling_nats", "mi_draws", "mi_examples"}
    | {"marginal_kl_nats", "marginal_kl_se", "active_units"},
    "nll": {column.name for column in NLL.columns},
}


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize(
    ("at", "steps"),
    [("never", []), ("final", [100]), ("all", [7, 50, 100]), ([7], [7]), ({"log_spaced": 2}, [10, 100])],
)
def test_an_estimate_is_made_at_the_steps_asked_for_and_is_absent_elsewhere(images, estimate, at, steps):
    evaluation = asked(**{name: {"at": at if name == estimate else "never"} for name in ESTIMATES})
    for step in (7, 10, 50, 100):
        found = set(measured(model(), images, evaluation=evaluation, step=step).columns)
        if at == "all" or step in steps:
            assert ESTIMATES[estimate] <= found
        else:
            assert not ESTIMATES[estimate] & found


def test_the_columns_of_the_information_are_those_of_the_whole_population_in_float32(images):
    columns = measured(model(), images, step=100, evaluation=asked(mutual_information={"draws": 3})).columns
    posterior = model().encode(images[torch.from_numpy(POPULATION)] / 255)
    rng = generator("a", "information", 100, "test")
    split = decompose_rate(posterior.mean.detach(), posterior.log_std.detach(), generator=rng, draws_per_example=3)
    assert columns["mi_nats"] == pytest.approx(split.mutual_information.value, rel=1e-5)
    assert columns["marginal_kl_nats"] == pytest.approx(split.marginal_kl.value, rel=1e-5)
    assert columns["mi_nats"] + columns["marginal_kl_nats"] == pytest.approx(columns["rate_nats"], rel=1e-6)
    assert (columns["mi_draws"], columns["mi_examples"]) == (3, 37)
    assert columns["mi_ceiling_nats"] == math.log(37)


def test_a_subsample_of_m_has_the_ceiling_log_m_and_the_column_says_m(images):
    vae = model(scale=8)  # sharp codes: I is at its ceiling
    columns = measured(vae, images, step=100, evaluation=asked(mutual_information={"examples": 12})).columns
    assert (columns["mi_examples"], columns["mi_ceiling_nats"]) == (12, math.log(12))
    assert columns["mi_nats"] == pytest.approx(math.log(12), rel=1e-3)
    larger = measured(vae, images, step=100, evaluation=asked(mutual_information={"examples": 1000})).columns
    assert larger["mi_examples"] == 37


@pytest.mark.parametrize("at_once", [1024, 8])
@pytest.mark.parametrize("examples", [20, "all"])
def test_with_draws_from_the_encoder_a_subsample_is_carried_over_by_the_elbo(images, monkeypatch, at_once, examples):
    monkeypatch.setattr(encoding, "EXAMPLES_AT_ONCE", at_once)
    wanted = asked(nll={"importance_samples": 30, "examples": examples, "proposal": "encoder"})
    columns = measured(model(), images, step=100, evaluation=wanted).columns
    m = 37 if examples == "all" else 20
    rng = generator("a", "likelihood", 100, "test")
    x = images[torch.from_numpy(POPULATION[:m])] / 255
    expected = importance_weighted_nll(model(), x, 30, generator=rng, proposal="encoder")
    monkeypatch.setattr(encoding, "EXAMPLES_AT_ONCE", 1024)
    of_subsample = measured(model(), images, POPULATION[:m], step=100, evaluation=asked()).columns
    carried = of_subsample["elbo_nats"] - columns["elbo_nats"]
    assert columns["nll_nats"] == pytest.approx(expected.value + carried, rel=1e-6)
    assert columns["nll_ess"] == pytest.approx(np.mean(expected.each_effective), rel=1e-3)
    assert columns["nll_components"] is None
    assert columns["nll_unreliable_share"] == pytest.approx(expected.unreliable_share)
    assert (columns["nll_draws"], columns["nll_examples"]) == (30, m)
    if m == 37:
        assert columns["nll_se"] == pytest.approx(expected.error_over_examples, rel=1e-4)


def test_a_subsample_is_carried_over_by_regression_on_d_and_r(images, monkeypatch):
    """Were the NLL a D + b R + c of every image, a subsample would give the mean of all, and no error beyond theirs."""

    def linear(model, batches, draws, **_):
        x = torch.cat(list(batches))
        each = tuple((0.4 * population.distortion + 0.1 * population.rate + 7)[: len(x)].tolist())
        return SimpleNamespace(each=each, draws=draws, count=len(x), effective_sample_size=9.0, unreliable_share=0.0)

    with torch.no_grad():
        population = encoding.encode_population(model(), images, POPULATION, generator("a", "x"), beta=1.0)
    monkeypatch.setattr(importance_sampling, "importance_weighted_nll", linear)
    found = NLL(examples=25).compute(population, generator("a", "y"))
    every = 0.4 * population.distortion + 0.1 * population.rate + 7
    assert found["nll_nats"] == pytest.approx(every.mean().item(), rel=1e-9)
    assert found["nll_se"] == pytest.approx(every[:25].std().item() / math.sqrt(37), rel=1e-9)


def test_subsamples_of_the_likelihood_lie_about_the_whole_as_their_error_says(images, monkeypatch):
    """Of 80 examples 25 are sampled, another 25 each time; the error over the 80 is the same for all."""

    def scattered(model, batches, draws, **_):
        x = torch.cat(list(batches)).double()
        each = tuple((20 + 3 * x[:, :40].sum(1) + 4 * (1000 * x.sum(1)).sin()).tolist())
        return SimpleNamespace(each=each, draws=draws, count=len(x), effective_sample_size=9.0, unreliable_share=0.0)

    monkeypatch.setattr(importance_sampling, "importance_weighted_nll", scattered)

    def computed(i, examples):
        order = np.random.default_rng(i).permutation(80)
        with torch.no_grad():
            population = encoding.encode_population(model(), images, order, generator(str(i), "x"), beta=1.0)
        return NLL(examples=examples).compute(population, generator("a", "y"))

    found = [computed(i, 25) for i in range(200)]
    whole = computed(0, "all")
    values = [each["nll_nats"] for each in found]
    # The population is the same each time: what Var(NLL_n) / N adds for other populations does not show.
    between = np.mean([each["nll_se"] ** 2 for each in found]) - whole["nll_se"] ** 2
    assert np.mean(values) == pytest.approx(whole["nll_nats"], abs=4 * np.std(values) / math.sqrt(200))
    assert 0.7 < np.var(values) / between < 1.4


def test_more_importance_samples_lower_the_nll_below_the_negative_elbo(images):
    few, many = (
        measured(
            model(), images, step=100, evaluation=asked(nll={"importance_samples": k, "proposal": "encoder"})
        ).columns
        for k in (1, 500)
    )
    assert few["nll_nats"] == pytest.approx(-few["elbo_nats"], rel=0.1)
    assert many["nll_nats"] < few["nll_nats"]


def test_a_sheet_shows_images_as_they_are_and_as_the_model_makes_them(images):
    vae, train, test = model(), POPULATION[:20], POPULATION[20:]
    found = sheet(vae, images, train, test, n=4, stream_id="a")
    assert {name: (array.shape, array.dtype) for name, array in found.items()} == dict.fromkeys(
        ["train_images", "train_reconstructions", "test_images", "test_reconstructions", "samples"],
        ((4, 15), np.dtype(np.uint8)),
    )
    assert np.array_equal(found["test_images"], images.numpy()[test[:4]])
    intensity = vae.decode(vae.encode(images[torch.from_numpy(train[:4])] / 255).mean).sigmoid() * 255
    assert np.abs(found["train_reconstructions"] - intensity.detach().numpy()).max() <= 0.51
    again = sheet(vae, images, train, test, n=4, stream_id="a")
    assert np.array_equal(found["samples"], again["samples"])
    assert (sheet(vae, images, train, test, n=4, stream_id="b")["samples"] != found["samples"]).any()
