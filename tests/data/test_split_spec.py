import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.data.split_spec import SPLITS, SplitSpec, check_split, parse_split

NOTHING = st.none(), st.just(())
RATIO = st.floats(0, 1, exclude_min=True)
CLASSES = st.sets(st.integers(0, 10**9 - 1), min_size=1, max_size=5).map(sorted).map(tuple)
FIELDS = st.one_of(
    st.tuples(st.sampled_from(["random", "checkerboard", "standard"]), *NOTHING),
    st.tuples(st.just("cropped"), RATIO, st.just(())),
    st.tuples(st.just("holdout"), st.none(), CLASSES),
)


@given(FIELDS)
def test_a_split_is_read_back_from_its_own_spelling(fields):
    spec = SplitSpec(*fields)
    assert parse_split(str(spec)) == spec
    assert str(parse_split(str(spec))) == str(spec)


@given(FIELDS)
def test_a_mapping_means_the_same_as_the_text(fields):
    spec = SplitSpec(*fields)
    if spec.kind == "cropped":
        assert parse_split({"cropped": spec.ratio}) == spec
    elif spec.kind == "holdout":
        assert parse_split({"holdout": list(reversed(spec.classes))}) == spec
    else:
        assert parse_split({spec.kind: None}) == spec


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        ("  random ", "random"),
        ("cropped( .5 )", "cropped(0.5)"),
        ("cropped(1)", "cropped(1)"),
        ({"cropped": 1}, "cropped(1)"),
        ("cropped(1e-3)", "cropped(0.001)"),
        ("holdout(9, 7)", "holdout(7,9)"),
        ("holdout (9 7)", "holdout(7,9)"),
        ({"holdout": 7}, "holdout(7)"),
        (SplitSpec("standard"), "standard"),
    ],
)
def test_each_split_has_one_spelling(value, spelling):
    assert str(parse_split(value)) == spelling


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("holdout(7", "quote a split with a comma"),  # what YAML makes of [holdout(7,9)]
        ("9)", "quote a split with a comma"),
        ("ood", "'ood' is not a split"),
        ("", "not a known spelling"),
        ("Random", "not a known spelling"),
        ("random(3)", "takes no argument"),
        ("standard()", "takes no argument"),
        ("cropped", "takes one ratio, found 0"),
        ("cropped(0.1,0.2)", "takes one ratio, found 2"),
        ("cropped(0)", "above 0 and at most 1"),
        ("cropped(1.5)", "above 0 and at most 1"),
        ("cropped(nan)", "above 0 and at most 1"),
        ("cropped(half)", "the ratio is 'half'"),
        ({"cropped": True}, "the ratio is True"),
        ({"cropped": None}, "takes one ratio, found 0"),
        ("holdout()", "found none"),
        ("holdout(7,7)", "named more than once"),
        ("holdout(seven)", "class 'seven' is not an integer"),
        ("holdout(-1)", "class '-1' is not an integer"),
        ({"holdout": [True]}, "class True is not an integer"),
        ({"holdout": 10**9}, "class 1000000000 is not an integer"),
        ({"holdout": 1.5}, "class 1.5 is not an integer"),
        ({}, "has 0 keys"),
        ({"cropped": 0.5, "random": None}, "has 2 keys"),
        (0.5, "not float"),
        (None, "not NoneType"),
    ],
)
def test_an_impossible_split_is_refused_with_the_reason_and_what_is_allowed(value, complaint):
    with pytest.raises(ValueError, match=r"Allowed: random, checkerboard, cropped\(RATIO\)") as refusal:
        parse_split(value)
    assert complaint in str(refusal.value)
    assert repr(value) in str(refusal.value)


@pytest.mark.parametrize(
    ("dataset", "split"),
    [
        ("tetrominoes", "checkerboard"),
        ("tetrominoes", "cropped(0.1)"),
        ("mnist", "standard"),
        ("kmnist", "random"),
        ("cifar10", "holdout(3)"),
        ("images", "random"),
    ],
)
def test_data_sets_allow_the_splits_that_they_have_the_knowledge_for(dataset, split):
    assert str(check_split(split, dataset)) == split


@pytest.mark.parametrize(
    ("dataset", "split", "allowed"),
    [
        ("tetrominoes", "standard", r"allows random, checkerboard, cropped\(RATIO\)$"),
        ("mnist", "checkerboard", r"allows standard, random, holdout\(CLASSES\)$"),
        ("images", "holdout(1)", "allows random, standard$"),
        ("imagenet", "random", f"known are {', '.join(SPLITS)}$"),
    ],
)
def test_a_split_that_does_not_go_with_the_data_set_is_refused_with_those_that_do(dataset, split, allowed):
    with pytest.raises(ValueError, match=allowed):
        check_split(split, dataset)


def test_reading_a_split_needs_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import rdstudy.data.split_spec;"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names - {'rdstudy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
