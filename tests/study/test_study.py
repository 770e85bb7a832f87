import dataclasses
import re
import subprocess
import sys
from itertools import pairwise

import pytest
import yaml
from jsonschema import Draft202012Validator

from rdstudy.study import (
    Cell,
    Evaluation,
    LogSpaced,
    StudyError,
    Training,
    load_study,
    parse_study,
    study_schema,
)
from rdstudy.study.axes import AXES
from rdstudy.study.examples import packaged_studies

TEXT = """\
name: example
dataset: {name: tetrominoes}
grid:
  split: [checkerboard, random]
  beta: [1, 0.1]
  depth: [1, 3]
  train_size: [100, 1000]
  seed: {count: 3}
training: {steps: 500}
"""


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(StudyError) as caught:
        parse_study(text, where="example.yaml", overrides=overrides)
    return str(caught.value)


# --- mistakes ---


@pytest.mark.parametrize(
    ("right", "wrong", "line", "words"),
    [
        (
            "name: example",
            "nam: example",
            1,
            "nam: unknown key; allowed: name, question, dataset.*; did you mean `name`",
        ),
        ("name: example\n", "", None, "name: required"),
        ("name: example", "name: a//b", 1, "name: string should match"),
        ("name: example", "name: ../b", 1, "name: string should match"),
        ("name: example", "name: 7", 1, "name: input should be a valid string; found 7"),
        ("{name: tetrominoes}", "{name: tetromino}", 2, ".*'tetrominoes', 'mnist', .*; found 'tetromino'"),
        ("{name: tetrominoes}", "{name: tetrominoes, sede: 1}", 2, "dataset.sede: .*did you mean `seed`"),
        (
            "{name: tetrominoes}",
            "{name: tetrominoes, path: x}",
            2,
            "dataset: `path` and `name: images` belong together",
        ),
        ("{name: tetrominoes}", "{name: mnist, size: 10}", 2, "dataset: `size` is for generated data"),
        ("{name: tetrominoes}", "tetrominoes", 2, "dataset: input should be a valid dictionary"),
        ("  beta: [1, 0.1]\n", "", 3, "grid.beta: required, but not given"),
        ("beta: [1, 0.1]", "betas: [1, 0.1]", 5, "grid.betas: unknown key; allowed: split, beta, .*`beta`"),
        ("beta: [1, 0.1]", "beta: 1", 5, "grid.beta: input should be a valid list; found 1"),
        ("beta: [1, 0.1]", "beta: []", 5, "grid.beta: .*at least 1 item"),
        ("beta: [1, 0.1]", "beta: [1, 0.1, 1.0]", 5, "grid.beta: 1 stands in the list more than once"),
        ("beta: [1, 0.1]", "beta: [1, low]", 5, "grid.beta.1: input should be a valid number; found 'low'"),
        ("beta: [1, 0.1]", "beta: [1, yes]", 5, "grid.beta.1: input should be a valid number; found 'yes'"),
        ("beta: [1, 0.1]", "beta: [1, -0.1]", 5, "grid.beta.1: .*greater than or equal to 0; found -0.1"),
        ("beta: [1, 0.1]", "beta: [.nan]", 5, "grid.beta.0: .*finite number; found nan"),
        (
            "beta: [1, 0.1]",
            "beta:\n    - 1\n    - -2",
            7,
            "grid.beta.1: .*greater than or equal to 0; found -2",
        ),
        ("depth: [1, 3]", "depth: [-1]", 6, "grid.depth.0: .*greater than or equal to 0; found -1"),
        ("depth: [1, 3]", "depth: [1000]", 6, "grid.depth.0: .*less than or equal to 64; found 1000"),
        ("depth: [1, 3]", "depth: [1.5]", 6, "grid.depth.0: input should be a valid integer; found 1.5"),
        ("depth: [1, 3]", "width: [0]", 6, "grid.width.0: .*greater than or equal to 1; found 0"),
        ("depth: [1, 3]", "latent_dim: [0]", 6, "grid.latent_dim.0: .*greater than or equal to 1; found 0"),
        (
            "depth: [1, 3]",
            "prior: [vamp]",
            6,
            "grid.prior.0: there is no such prior; allowed: standard_normal, .*; found 'vamp'",
        ),
        (
            "train_size: [100, 1000]",
            "train_size: [0]",
            7,
            "grid.train_size.0: .*greater than or equal to 1; found 0",
        ),
        ("seed: {count: 3}", "seed: 3", 8, "grid.seed: input should be a valid list; found 3"),
        ("seed: {count: 3}", "seed: {count: 0}", 8, "grid.seed.count: .*greater than or equal to 1; found 0"),
        ("seed: {count: 3}", "seed: [1, 1]", 8, "grid.seed: 1 stands in the list more than once"),
        ("{steps: 500}", "{steps: 500, epochs: 2}", 9, "training: give exactly one of `steps` and `epochs`"),
        ("{steps: 500}", "{batch_size: 10}", 9, "training: give exactly one of `steps` and `epochs`"),
        ("{steps: 500}", "{steps: 0}", 9, "training.steps: .*greater than or equal to 1; found 0"),
        ("{steps: 500}", "{epochs: 0}", 9, "training.epochs: .*greater than 0; found 0"),
        ("{steps: 500}", "{steps: 5, optimizer: lion}", 9, ".*'adam', 'adamw' or 'sgd'; found 'lion'"),
        (
            "{steps: 500}",
            "{steps: 5, learning_rate: 0}",
            9,
            "training.learning_rate: .*greater than 0; found 0",
        ),
        (
            "[checkerboard, random]",
            "[checkerbord]",
            4,
            "grid.split.0: split 'checkerbord': .*Allowed: random, checkerb",
        ),
        ("[checkerboard, random]", "[cropped(2)]", 4, "grid.split.0: .*the ratio is '2'; it must be above 0"),
        ("[checkerboard, random]", "[holdout(7,9)]", 4, "grid.split.0: .*quote a split with a comma"),
        (
            "[checkerboard, random]",
            "[random, random]",
            4,
            "grid.split: random stands in the list more than once",
        ),
    ],
)
def test_a_mistake_is_answered_with_file_line_and_what_is_allowed(right, wrong, line, words):
    assert right in TEXT
    answers = refusal(TEXT.replace(right, wrong)).splitlines()
    place = "example.yaml: " if line is None else f"example.yaml:{line}: "
    assert any(re.match(re.escape(place) + words, answer) for answer in answers), answers


def test_a_split_that_does_not_go_with_the_data_set_is_answered_with_its_line():
    message = refusal(TEXT.replace("[checkerboard, random]", "[checkerboard, standard]"))
    assert "split 'standard' is not allowed for data set tetrominoes, which allows random, checkerboard" in message
    assert message.startswith("example.yaml:4: ")


def test_a_capitalised_key_is_named_in_the_answer():
    assert "grid.Depth: unknown key" in refusal(TEXT.replace("depth:", "Depth:"))
    assert "Name: unknown key" in refusal(TEXT.replace("name: example", "Name: example\nname: example"))


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ("resources: {pack_size: big}", "resources.pack_size: "),
        ("resources: {gpus_per_pack: -1}", "resources.gpus_per_pack: "),
        ("resources: {memory_per_pack_gib: none}", "resources.memory_per_pack_gib: "),
        ("evaluation: {steps: often}", "evaluation.steps: "),
    ],
)
def test_a_setting_with_two_spellings_is_named_as_the_user_wrote_it(addition, words):
    message = refusal(TEXT + addition + "\n")
    assert all(line.startswith(f"example.yaml:10: {words}") for line in message.splitlines()), message


@pytest.mark.parametrize(
    ("right", "wrong", "allowed"),
    [
        ("seed: {count: 3}", "seed: {cuont: 3}", "count"),
        ("{steps: 500}", "{steps: 500}\nevaluation: {steps: {logspaced: 3}}", "log_spaced"),
    ],
)
def test_an_unknown_key_inside_a_spelling_is_answered_with_the_allowed_one(right, wrong, allowed):
    assert re.search(f"unknown key; allowed: {allowed}; did you mean `{allowed}`", refusal(TEXT.replace(right, wrong)))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("{steps: 500}", "{epochs: .inf}"),
        ("{steps: 500}", "{epochs: 1e+30}"),
        ("{steps: 500}", "{steps: 100000000000000000000}"),
        ("seed: {count: 3}", "seed: [100000000000000000000]"),
        ("train_size: [100, 1000]", "train_size: [100000000000000000000]"),
    ],
)
def test_a_number_that_no_column_of_the_table_can_hold_is_refused(right, wrong):
    assert refusal(TEXT.replace(right, wrong)).startswith("example.yaml:")


def test_all_mistakes_are_answered_at_once():
    message = refusal(TEXT.replace("depth: [1, 3]", "depth: [-1]").replace("steps: 500", "steps: 0"))
    assert [line.split(": ")[0] for line in message.splitlines()] == ["example.yaml:6", "example.yaml:9"]


@pytest.mark.parametrize("key", ["4", "null", "1.5"])
def test_a_key_that_is_no_text_is_refused_with_its_line(key):
    assert refusal(TEXT.replace("  seed:", f"  {key}: 1\n  seed:")).endswith(f"expected text as a key; found {key}")


def test_a_key_that_stands_twice_is_refused_with_both_lines():
    message = refusal(TEXT + "training: {steps: 600}\n")
    assert message == "example.yaml:10: `training` stands here and in line 9; keep one of them"
    assert "`depth` stands here and in line 6" in refusal(TEXT.replace("  seed:", "  depth: [2]\n  seed:"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TEXT.replace("[1, 0.1]", "[1, 0.1"), "example.yaml:6: not valid YAML"),
        (TEXT + "}", "example.yaml:10: not valid YAML"),
        (TEXT + "---\nname: another\n", "example.yaml:10: not valid YAML"),
        (TEXT + "? [a]\n: b\n", "example.yaml:10: not valid YAML"),
        (TEXT + "\0", "example.yaml:10: not valid YAML"),
        ("", "example.yaml: expected a mapping with the keys name, "),
        ("- 1\n", "example.yaml: expected a mapping with the keys name, "),
    ],
)
def test_text_that_is_no_study_at_all_is_answered_with_its_place(text, place):
    assert refusal(text).startswith(place)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"gone\.yaml: cannot be read: No such file"):
        load_study(tmp_path / "gone.yaml")
    with pytest.raises(StudyError, match=r"cannot be read: is a folder"):
        load_study(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="not a UTF-8 text file"):
        load_study(tmp_path / "binary.yaml")


# --- overrides ---


def test_settings_replace_the_files():
    study = parse_study(TEXT, overrides=["grid.beta=[5]", "grid.seed.count=2", "evaluation.steps={log_spaced: 4}"])
    assert study.grid.beta == [5.0]
    assert study.grid.seed == [0, 1]
    assert study.evaluation.steps == LogSpaced(log_spaced=4)
    assert study.grid.depth == [1, 3]


def test_the_last_of_two_settings_holds():
    assert parse_study(TEXT, overrides=["name=a", "name=b"]).name == "b"


def test_setting_one_budget_takes_the_place_of_the_other():
    training = parse_study(TEXT, overrides=["training.epochs=2"]).training
    assert (training.steps, training.epochs) == (None, 2)
    assert parse_study(TEXT, overrides=["training.epochs=2", "training.steps=7"]).training.steps == 7


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("grid.beta", "--set grid.beta: expected KEY.KEY=VALUE"),
        ("=1", "--set =1: expected KEY.KEY=VALUE"),
        ("grid..beta=1", "--set grid..beta=1: expected KEY.KEY=VALUE"),
        ("grid.beta=[1", "--set grid.beta=[1:1: not valid YAML"),
        ("grid.beta=[1,1]", "--set: grid.beta: 1 stands in the list more than once"),
        ("grid.bta=[1]", "--set: grid.bta: unknown key; allowed: split, beta"),
        ("grid=5", "--set: grid: input should be a valid dictionary"),
        ("training={steps: 1, epochs: 1}", "--set: training: give exactly one of"),
    ],
)
def test_a_mistake_in_a_setting_is_answered_as_such(setting, answer):
    assert refusal(TEXT, setting).startswith(answer)


@pytest.mark.parametrize(
    "setting", ["grid.split=[standard]", "training.steps=null", "dataset.size=0", "dataset.path=x"]
)
def test_no_line_of_the_file_is_blamed_for_a_setting(setting):
    assert refusal(TEXT, setting).startswith("--set")


# --- what a study means ---


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "0.001", "+1e-3", "10.0e-4"])
def test_a_number_with_an_exponent_is_a_number(text):
    study = parse_study(TEXT, overrides=[f"training.learning_rate={text}", f"grid.beta=[{text}]"])
    assert study.training.learning_rate == 1e-3
    assert study.grid.beta == [1e-3]


def test_a_count_of_seeds_is_the_seeds_from_zero():
    assert parse_study(TEXT).grid.seed == [0, 1, 2]
    assert parse_study(TEXT, overrides=["grid.seed=[4, 2]"]).grid.seed == [4, 2]


@pytest.mark.parametrize("spelling", ["'holdout(7,9)'", "{holdout: [9, 7]}", "'holdout( 9 , 7 )'"])
def test_all_spellings_of_a_holdout_are_one_split(spelling):
    study = parse_study(TEXT.replace("tetrominoes", "mnist"), overrides=[f"grid.split=[{spelling}]"])
    assert study.grid.split == ["holdout(7,9)"]


def test_cells_are_the_product_of_the_grid_in_its_order():
    study = parse_study(TEXT)
    points = [(c.split, c.beta, c.depth, c.train_size, c.seed) for c in study.cells.values()]
    assert points == [
        (split, beta, depth, train_size, seed)
        for split in ("checkerboard", "random")
        for beta in (1.0, 0.1)
        for depth in (1, 3)
        for train_size in (100, 1000)
        for seed in (0, 1, 2)
    ]
    assert study.n_cells == len(study.cells) == 48
    assert all(cell.id == cell_id for cell_id, cell in study.cells.items())


@pytest.mark.slow
def test_a_hundred_thousand_cells_can_be_made(tmp_path):
    """In a process of its own, where no annotations are checked."""
    path = tmp_path / "large.yaml"
    path.write_text(TEXT.replace("count: 3", "count: 6250"))
    program = f"from rdstudy.study import load_study; s = load_study({str(path)!r}); print(s.n_cells, len(s.cells))"
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["100000", "100000"]


def test_steps_are_the_same_for_every_data_size_and_epochs_are_not():
    def training(**given: float) -> Training:
        return Training.model_validate(given)

    by_steps, by_epochs = training(steps=500), training(epochs=2.5, batch_size=64)
    assert by_steps.steps_for(100) == by_steps.steps_for(10**6) == 500
    assert by_epochs.steps_for(100) == 4  # 250 examples in batches of 64
    assert by_epochs.steps_for(1000) == 40
    assert by_epochs.steps_for(1) == 1
    study = parse_study(TEXT, overrides=["training={epochs: 1, batch_size: 10}"])
    assert {(c.train_size, c.steps) for c in study.cells.values()} == {(100, 10), (1000, 100)}


def test_steps_can_be_an_axis_so_that_more_data_is_not_always_fewer_epochs():
    study = parse_study(TEXT, overrides=["grid.steps=[500, 5000]"])
    assert study.n_cells == 2 * parse_study(TEXT).n_cells
    assert {(cell.train_size, cell.steps) for cell in study.cells.values()} == {
        (100, 500),
        (100, 5000),
        (1000, 500),
        (1000, 5000),  # as many epochs as 500 steps of 100 examples
    }


@pytest.mark.parametrize("final", [1, 2, 7, 1000, 160_000])
def test_log_spaced_steps_rise_to_the_final_one(final):
    steps = Evaluation.model_validate({"steps": {"log_spaced": 12}}).steps_of(final)
    assert steps[-1] == final
    assert steps[0] >= 1
    assert list(steps) == sorted(set(steps))
    assert len(steps) == 12 or final < 1000
    if final == 160_000:
        ratios = [b / a for a, b in pairwise(steps)]
        assert max(ratios) < 1.25 * final ** (1 / 12)


def test_listed_steps_are_kept_as_far_as_training_goes():
    evaluation = Evaluation.model_validate({"steps": [900, 10, 100]})
    assert evaluation.steps_of(500) == (10, 100, 500)
    assert evaluation.steps_of(100) == (10, 100)


# --- a cell's identity ---

OTHERWISE = {
    "likelihood": "other",
    "architecture": "other",
    "beta_warmup_steps": 5,
    "dataset": "mnist",
    "data_seed": 1,
    "validation_size": 5,
    "dataset_size": 500,
    "test_size": 10,
    "split": "standard",
    "train_size": 41,
    "depth": 2,
    "width": 10,
    "latent_dim": 4,
    "prior": "another",
    "beta": 1.0000001,
    "seed": 1,
    "steps": 101,
    "batch_size": 11,
    "learning_rate": 2e-3,
    "optimizer": "sgd",
    "precision": "bfloat16",
    "numerics": 1,
}


def test_every_field_of_a_cell_is_in_its_id(make_cell):
    assert OTHERWISE.keys() == {field.name for field in dataclasses.fields(Cell)}
    ids = {make_cell().id, *(make_cell(**{name: value}).id for name, value in OTHERWISE.items())}
    assert len(ids) == len(OTHERWISE) + 1


def test_cells_share_their_streams_if_they_differ_only_in_what_is_compared_within_a_seed(make_cell):
    same = {name for name, value in OTHERWISE.items() if make_cell(**{name: value}).stream_id == make_cell().stream_id}
    assert same == {name for name in OTHERWISE if name != "numerics" and AXES[name].paired}
    assert make_cell(numerics=1).stream_id == make_cell(numerics=1).id


@pytest.mark.parametrize(
    "setting",
    [
        "dataset.seed=1",
        "dataset.size=1000",
        "dataset.test_size=10",
        "dataset.validation_size=10",
        "grid.data_seed=[1]",
        "training.steps=501",
        "training.batch_size=64",
        "training.learning_rate=1e-4",
        "training.optimizer=sgd",
        "training.precision=bfloat16",
        "grid.width=[64]",
        "grid.latent_dim=[2]",
    ],
)
def test_what_determines_the_result_changes_every_id(setting):
    assert not parse_study(TEXT).cells.keys() & parse_study(TEXT, overrides=[setting]).cells.keys()


@pytest.mark.parametrize(
    "setting",
    [
        "name=another",
        "question=Why?",
        "evaluation={steps: [1, 2], num_images: 0}",
        "resources={pack_size: 3, device: cpu, cpus_per_pack: 2, gpus_per_pack: 0.5, memory_per_pack_gib: 2}",
        "resources={checkpoint_seconds: 1, save_models: false, max_retries: 0}",
        "dataset={name: tetrominoes, root: elsewhere, download: true}",
        "grid.prior=[standard_normal]",
    ],
)
def test_what_does_not_determine_the_result_changes_no_id(setting):
    assert list(parse_study(TEXT).cells) == list(parse_study(TEXT, overrides=[setting]).cells)


def test_where_images_lie_is_not_in_an_id():
    text = TEXT.replace("{name: tetrominoes}", "{name: images, path: a.npz}").replace("checkerboard, ", "")
    assert parse_study(text).cells.keys() == parse_study(text, overrides=["dataset.path=b.npz"]).cells.keys()


def test_the_same_cell_in_two_studies_has_the_same_id():
    small = parse_study(TEXT, overrides=["name=small", "grid.beta=[0.1]", "grid.seed=[2]"])
    same_by_epochs = parse_study(TEXT, overrides=["training={epochs: 64}", "grid.train_size=[1000]"])
    assert small.cells.keys() < parse_study(TEXT).cells.keys()
    assert same_by_epochs.cells.keys() <= parse_study(TEXT).cells.keys()


def test_the_id_of_a_cell_is_the_same_for_ever(make_cell):
    """Whoever changes it on purpose raises `NUMERICS`: finished cells are then trained again."""
    assert make_cell().id == "a0dae08342461db4"
    assert make_cell().stream_id == "d94fb5fcb9acbad4"
    assert make_cell(numerics=1).id == "effb1f67f9050625"


# --- schema ---

SCHEMA = Draft202012Validator(study_schema())


def as_yaml_1_2(text: str) -> object:
    """As editors read it: in YAML 1.2, `1e-3` is a number."""
    return yaml.safe_load(re.sub(r"\b(\d+)e(-?\d+)\b", lambda m: repr(float(m[0])), text))


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(study_schema())


@pytest.mark.parametrize("name", packaged_studies())
def test_packaged_studies_are_read_and_pass_the_schema(name):
    path = packaged_studies()[name]
    SCHEMA.validate(as_yaml_1_2(path.read_text()))
    study = load_study(path)
    committed = {
        "reference": "tetrominoes",
        "reference_digits": "digits",
        "reference_mnist": "mnist",
        "priors": "priors",
    }
    assert study.name == (f"reference/{committed[name]}" if name in committed else name)
    assert len(study.cells) == study.n_cells


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("beta:", "betas:"),
        ("[1, 0.1]", "[]"),
        ("[1, 0.1]", "[-1]"),
        ("{count: 3}", "{count: 0}"),
        ("{count: 3}", "{n: 3}"),
        ("{name: tetrominoes}", "{name: tetromino}"),
        ("{steps: 500}", "{steps: 0}"),
        ("name: example", "name: a//b"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(right, wrong):
    assert SCHEMA.is_valid(as_yaml_1_2(TEXT))
    assert not SCHEMA.is_valid(as_yaml_1_2(TEXT.replace(right, wrong)))
    refusal(TEXT.replace(right, wrong))


@pytest.mark.parametrize("split", ["[random]", "[cropped(0.5)]", "[{cropped: 0.5}]"])
def test_the_schema_accepts_every_spelling_of_a_split(split):
    text = TEXT.replace("[checkerboard, random]", split)
    SCHEMA.validate(as_yaml_1_2(text))
    parse_study(text)
