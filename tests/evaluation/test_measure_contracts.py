"""What every measure in the registry must do: a new one is tested by being named there."""

import numpy as np
import pytest
import torch

from rdstudy.evaluation.evaluate import Values, measure
from rdstudy.evaluation.measure import Measure
from rdstudy.evaluation.population import encode_population
from rdstudy.models.shape import ModelShape
from rdstudy.models.stacked import initial_parameters
from rdstudy.models.vae import VAE
from rdstudy.storage.schema import COLUMNS
from rdstudy.study import Evaluation
from rdstudy.study.evaluation_section import evaluation_section
from rdstudy.study.measures import Scheduled, measure_classes, measured_columns
from rdstudy.study.renamed_keys import translate
from rdstudy.study.seeding import generator
from rdstudy.training.trainer import PackTrainer

SHORT = {
    "nll": {"importance_samples": 32},
    "refit": {"at": "final", "steps": 20},
    "ais": {"at": "final", "examples": 5, "chains": 6, "steps": 12},
    "ex_post_prior": {"at": "final", "steps": 20, "importance_samples": 32},
}
"""Settings that make a test quick."""
EVALUATION = Evaluation.model_validate(SHORT)
INDICES = np.random.default_rng(3).permutation(100)[:37]
PRIORS = ("standard_normal", "mixture(3)", "vampprior(3)")

each_measure = pytest.mark.parametrize("name", measure_classes())
each_prior = pytest.mark.parametrize("prior", PRIORS)


@pytest.fixture(scope="module")
def images(dataset) -> torch.Tensor:
    return torch.from_numpy(dataset.images.copy())


def model(prior: str) -> VAE:
    shape = ModelShape(15, 1, 9, 3, prior=prior)
    return VAE(shape, 1.5 * initial_parameters(shape, "a", torch.float32))


def computed(name: str, vae: VAE, images: torch.Tensor, seed: int = 0) -> dict:
    each = EVALUATION.measures[name]
    assert isinstance(each, Measure)
    with torch.no_grad():
        encoded = encode_population(vae, images, INDICES, np.random.default_rng(1), beta=0.5)
        return each.compute(encoded, np.random.default_rng(seed))


def measured(vae: VAE, images: torch.Tensor, evaluation: Evaluation = EVALUATION) -> Values:
    return measure(vae, images, {"test": INDICES}, evaluation, beta=0.5, stream_id="a", step=50, final=50)["test"]


@each_prior
@each_measure
def test_a_measure_gives_the_columns_that_it_declares_and_no_others(name, prior, images):
    assert set(computed(name, model(prior), images)) == {column.name for column in measure_classes()[name].columns}


@each_prior
@each_measure
def test_a_value_is_finite_and_of_its_columns_type(name, prior, images):
    found = computed(name, model(prior), images)
    for column in measure_classes()[name].columns:
        value = found[column.name]
        if value is None or column.type is str:
            assert value is None or type(value) is str
            continue
        assert np.isfinite(value).all()
        if column.type == list[float]:
            assert all(type(each) is float for each in value)
        else:
            assert type(value) is column.type


@each_measure
def test_values_in_nats_say_so_and_an_error_belongs_to_a_value(name, images):
    columns = {column.name: column for column in measure_classes()[name].columns}
    found = computed(name, model("standard_normal"), images)
    for column in columns.values():
        assert column.name.endswith(("_nats", "_se")) == (column.unit == "nats")
        if column.name.endswith("_se"):
            assert column.name.removesuffix("_se") + "_nats" in columns
            assert np.min(found[column.name]) >= 0


@each_measure
def test_an_error_is_that_of_fresh_draws_where_the_value_has_any(name, images):
    """Two sets of draws differ by a few standard errors at most; without draws they do not differ."""
    first, second = (computed(name, model("standard_normal"), images, seed) for seed in (0, 1))
    for column in measure_classes()[name].columns:
        error = first.get(column.name.replace("_nats", "_se")) if column.name.endswith("_nats") else None
        if column.exact:
            assert first[column.name] == second[column.name]
        elif error is not None:
            off = np.abs(np.subtract(first[column.name], second[column.name]))
            assert np.all(off <= 6 * np.asarray(error))


@each_measure
def test_what_tells_how_well_a_measure_was_estimated_is_a_column(name):
    of_the_table = {column.name for column in COLUMNS}
    assert set(measure_classes()[name].effort) <= of_the_table


@each_measure
def test_a_measure_does_not_depend_on_which_others_are_asked_for(name, images):
    off = {other: {"at": "never"} for other, each in EVALUATION.measures.items() if isinstance(each, Scheduled)}
    off.pop(name, None)
    alone = Evaluation.model_validate({**{key: value for key, value in SHORT.items() if key == name}, **off})
    whole, few = (measured(model("standard_normal"), images, asked).columns for asked in (EVALUATION, alone))
    for column in measure_classes()[name].columns:
        assert few[column.name] == whole[column.name]


def test_the_values_of_a_row_are_those_of_its_measures_with_draws_of_their_own(images):
    vae = model("standard_normal")
    found = measured(vae, images).columns
    encoded = encode_population(vae, images, INDICES, generator("a", "evaluation", 50, "test"), beta=0.5)
    for name, each in EVALUATION.measures.items():
        assert isinstance(each, Measure)
        with torch.no_grad():
            expected = each.compute(encoded, generator("a", each.stream or name, 50, "test"))
        assert {column: found[column] for column in expected} == expected


@each_prior
def test_a_model_has_the_same_values_in_every_pack(prior, images, make_cell):
    """Of all measures, on one CPU thread."""
    cells = [make_cell(prior=prior, seed=seed, steps=20) for seed in range(3)]
    train = [np.arange(40)] * 3
    pack, alone = PackTrainer(cells, images, train), PackTrainer(cells[1:2], images, train[1:2])
    pack.advance(20)
    alone.advance(20)
    assert measured(pack.model(1), images).columns == measured(alone.model(0), images).columns


def test_the_table_has_the_columns_of_the_measures_in_their_order():
    values = [column.name for column in COLUMNS if column.group == "values"]
    assert values == [column.name for column in measured_columns()]


def test_a_later_measure_at_its_defaults_leaves_the_evaluations_id_alone():
    assert set(Evaluation().identity) == {"distortion_draws", "information", "likelihood"}


def test_draws_from_the_encoder_have_the_evaluations_id_of_versions_that_knew_no_other_proposal():
    before = {"at": "final", "importance_samples": 64, "examples": 100}
    record = translate({"evaluation": {"likelihood": before}})["evaluation"]
    assert record["nll"] == {**before, "proposal": "encoder"}
    assert Evaluation.model_validate(record).identity["likelihood"] == before
    assert Evaluation.model_validate(record).evaluation_id == "4080c128"
    assert Evaluation.model_validate({"nll": before}).identity["likelihood"] == {**before, "proposal": "adaptive"}


def test_a_later_measures_settings_are_part_of_the_evaluations_id_where_they_are_given():
    class Later(Scheduled):
        columns = ()
        draws: int = 1

    section = evaluation_section({**measure_classes(), "later": Later})
    assert section().identity == Evaluation().identity
    assert section(later=Later(draws=2)).identity["later"] == {"at": "final", "draws": 2}
    assert section(later=Later(at="never")).identity["later"] is None
