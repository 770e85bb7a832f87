"""Two studies beside each other."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rdstudy.analysis import frontier
from rdstudy.errors import UserError
from rdstudy.report.comparison import Compared, compare_folders, differences, differing_columns, welch, write_comparison
from rdstudy.report.figures import two_studies
from tests.analysis.synthetic import Planted, flat, study_table

BETAS = (1.0, 0.1)


def _study(name: str, gap: float, **changes: Any) -> Compared:
    table = study_table([Planted(flat(gap), depth=d) for d in (1, 3)], betas=BETAS, seeds=4, nll=False, mi=False)
    return Compared.of(name, table.assign(**changes))


def test_welch_is_that_of_scipy():
    generator = np.random.default_rng(1)
    x, y = generator.normal(0, 1, 5), generator.normal(1, 3, 4)
    wanted = stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.95)
    assert welch(x, y) == pytest.approx((y.mean() - x.mean(), wanted.low, wanted.high))
    assert np.isnan(welch(x[:1], y)[1:]).all()


def test_a_planted_difference_of_the_test_distortion_is_found_at_every_common_point():
    a, b = _study("a", 3.0), _study("b", 5.0)
    assert differing_columns(a, b) == {}
    found = differences(a, b, {})
    assert len(found) == 2 * 2 * len(BETAS)
    test = found[found["population"] == "test"]
    assert test["distortion_nats"].to_numpy() == pytest.approx(2.0)
    assert (test["distortion_low"] < 2.0).all()
    assert (test["distortion_high"] > 2.0).all()


def test_studies_that_differ_in_one_setting_are_matched_by_the_others(tmp_path):
    a, b = _study("a", 3.0), _study("b", 5.0, prior="vampprior")
    differing = differing_columns(a, b)
    assert differing == {"prior": ("standard_normal", "vampprior")}
    assert len(differences(a, b, differing)) == 2 * 2 * len(BETAS)
    page = write_comparison(a, b, tmp_path)[0].read_text(encoding="utf-8")
    assert "standard_normal in a, vampprior in b" in page


def test_studies_without_a_common_setting_have_a_page_and_no_differences(tmp_path):
    a = Compared.of("a", study_table([Planted(depth=1), Planted(depth=2)], betas=BETAS, seeds=2, nll=False, mi=False))
    b = Compared.of("b", study_table([Planted(depth=3), Planted(depth=4)], betas=BETAS, seeds=2, nll=False, mi=False))
    paths = write_comparison(a, b, tmp_path)
    assert all(path.exists() for path in paths)
    assert "no setting and beta in common" in paths[0].read_text(encoding="utf-8")
    assert pd.read_csv(paths[-1]).empty


def test_two_folders_are_compared_by_name_and_one_without_cells_is_refused(tmp_path):
    for k, name in enumerate(("one", "two")):
        table = study_table([Planted(flat(3.0 + k))], betas=BETAS, seeds=3, nll=False, mi=False)
        (tmp_path / name / "measurements").mkdir(parents=True)
        table.to_parquet(tmp_path / name / "measurements" / "pack-0.parquet")
        (tmp_path / name / "study.json").write_text(json.dumps({"name": f"study {name}"}))
    paths = compare_folders(tmp_path / "one", tmp_path / "two", tmp_path / "out")
    assert "study one and study two" in paths[0].read_text(encoding="utf-8")
    with pytest.raises(UserError, match="no cell has finished"):
        Compared.of("empty", study_table([Planted()], betas=BETAS, seeds=1).head(0))


def test_a_point_that_lies_outside_the_panel_is_named_at_its_edge():
    made = study_table([Planted()], betas=np.geomspace(5, 0.1, 12).tolist(), seeds=1, nll=False, mi=False)
    far = made.assign(rate_nats=made["rate_nats"].where(made["beta"] > made["beta"].min(), 9_000.0))
    curves = {name: frontier(table) for name, table in (("near", made), ("far", far))}
    axes = two_studies(curves).axes[0]
    assert axes.get_xlim()[1] < 9_000
    assert {text.get_text() for text in axes.texts} >= {"\u25b6 9,000"}
