"""The paper's own curves, read through the same analysis as ours."""

from pathlib import Path

import pytest

from rdstudy.analysis import frontier, published_curves, shapes
from rdstudy.errors import UserError

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "published_rd_curves.csv"
needs_curves = pytest.mark.skipif(not PUBLISHED.exists(), reason="shared/data/published_rd_curves.csv is not here")

HEADER = "network,split,order_high_to_low_beta,rate_nats,distortion_nats,star\n"


@needs_curves
@pytest.mark.parametrize(
    ("depth", "population", "shape", "least"),
    [
        (1, "test", "U-shaped", 77.7),
        (3, "test", "falling", 72.7),
        (1, "train", "falling", 55.6),
        (3, "train", "falling", 53.0),
    ],
)
def test_the_published_curves_have_the_published_shapes(depth, population, shape, least):
    found = shapes(published_curves(PUBLISHED))
    row = found[
        (found["depth"] == depth) & (found["population"] == population) & (found["criterion"] == "distortion_nats")
    ].iloc[0]
    assert row["shape_of_means"] == shape
    assert row["min_nats"] == least
    assert row["shape"] == "undecided"  # there is one curve and no replicate


@needs_curves
def test_the_shallow_test_curve_rises_by_9_nats_below_its_minimum_and_the_deep_one_falls_by_76():
    found = shapes(published_curves(PUBLISHED))
    test = found[(found["population"] == "test") & (found["criterion"] == "distortion_nats")].set_index("depth")
    assert test.loc[1, "rise_nats"] == pytest.approx(9.0, abs=0.01)
    assert test.loc[3, "fall_nats"] == pytest.approx(76.0, abs=0.01)
    assert test.loc[1, "min_beta"] == 0.9


@needs_curves
def test_the_star_is_at_beta_1_and_the_rate_rises_along_each_curve():
    points = frontier(published_curves(PUBLISHED))
    stars = points[points["beta"] == 1].set_index(["depth", "population"])["distortion_nats"]
    assert stars.to_dict() == {(1, "train"): 63.2, (1, "test"): 78.5, (3, "train"): 60.0, (3, "test"): 111.0}
    for _, curve in points.groupby(["depth", "population"]):
        assert curve["rate_nats"].is_monotonic_increasing


def test_curves_can_be_given_by_anyone(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(HEADER + "shallow,test,0,10,90,0\nshallow,test,1,20,80,1\nshallow,test,2,30,85,0\n")
    assert published_curves(path)["beta"].tolist() == [2.0, 1.0, 0.9]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "lacks the column"),
        (HEADER + "wide,test,0,10,90,1\n", "wide"),
        (HEADER + "deep,test,0,10,90,0\n", "0 stars"),
        (HEADER + "deep,test,0,10,90,1\ndeep,test,1,10,90,1\n", "2 stars"),
        (HEADER + "".join(f"deep,test,{k},1,1,{int(k == 9)}\n" for k in range(12)), "does not fit"),
    ],
)
def test_curves_that_cannot_be_read_are_refused_with_the_reason(tmp_path, text, says):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        published_curves(path)


def test_a_missing_file_is_refused_with_what_it_should_hold(tmp_path):
    with pytest.raises(UserError, match="order_high_to_low_beta"):
        published_curves(tmp_path / "nothing.csv")
