"""`rdstudy ls` and `show`: every cell, how it stands and what it gave."""

import json
import re
from typing import Any

import pytest
from PIL import Image

from rdstudy.storage.parts import to_arrow, write_part
from rdstudy.study import parse_study
from tests.command import contents, refused
from tests.conftest import STUDY
from tests.made import WHY, make_results, make_sheet, rows_of


@pytest.fixture(scope="module")
def study():
    return parse_study(STUDY % "images.npz")


@pytest.fixture
def ids(study):
    """One cell for each status that a grid's cells may have."""
    return dict(zip(("ok", "diverged", "failed", "missing"), study.cells, strict=True))


@pytest.fixture
def results(tmp_path, study, ids):
    return make_results(tmp_path / "r", study, {ids[status]: status for status in ("ok", "diverged", "failed")})


def listed(command, *arguments):
    ended = command("ls", "r", *arguments, "--json")
    assert (ended.code, ended.err) == (0, "")
    return [cell["cell_id"] for cell in json.loads(ended.out)["cells"]]


def test_every_cell_is_listed_with_its_status_what_varies_and_its_final_values(command, results, study, ids):
    ended = command("ls", "r")
    assert (ended.code, ended.err) == (0, "")
    title, heading, *lines, _, following = ended.out.splitlines()
    assert title == "tiny: 4 of 4 cells: 1 ok, 1 diverged, 1 failed, 1 missing"
    assert " ".join(heading.split()) == "cell status beta seed D train D test R train R test"
    assert [line.split() for line in lines] == [
        [ids["ok"], "ok", "1", "0", "2.5", "3.5", "10.0", "10.0"],
        [ids["diverged"], "diverged", "1", "1", "-", "-", "-", "-"],
        [ids["failed"], "failed", "0.1", "0", "-", "-", "-", "-"],
        [ids["missing"], "missing", "0.1", "1", "-", "-", "-", "-"],
    ]
    assert following == f"next: rdstudy show r {ids['ok']}"


def test_cells_are_chosen_by_what_they_are_and_by_how_they_stand(command, results, ids):
    ok, diverged, failed, missing = ids.values()
    assert listed(command, "--where", "beta=0.1") == [failed, missing]
    assert listed(command, "--where", "beta=0.1", "--where", "beta=1", "--where", "seed=1") == [diverged, missing]
    assert listed(command, "--where", "beta<=0.1") == [failed, missing]
    assert listed(command, "--where", "beta > 0.1") == [ok, diverged]
    assert listed(command, "--where", "seed!=0", "--where", "split=random") == [diverged, missing]
    assert listed(command, "--where", "test_distortion_nats<100") == [ok]
    assert listed(command, "--status", "failed", "--status", "missing") == [failed, missing]
    assert listed(command, "--sort", "-seed") == [diverged, missing, ok, failed]
    assert listed(command, "--sort", "beta") == [failed, missing, ok, diverged]
    assert listed(command, "--sort", "-test_distortion_nats")[0] == ok
    assert listed(command, "--where", "beta<0.1") == []
    assert "tiny: 0 of 4 cells\n" in command("ls", "r", "--where", "beta<0.1").out


def test_a_mistake_in_a_list_says_what_is_allowed(command, results, tmp_path):
    refused(command("ls", "r", "--where", "bta=1"), "--where bta: there is no such column; allowed:", "did you mean")
    refused(command("ls", "r", "--where", "beta"), "--where beta: expected KEY=VALUE")
    refused(command("ls", "r", "--where", "beta=small"), "beta is a number; found 'small'")
    refused(command("ls", "r", "--where", "split<random"), "split is a word; allowed are = and !=")
    refused(command("ls", "r", "--where", "beta=0.2"), "no cell of this study has it; its beta is 0.1, 1")
    refused(command("ls", "r", "--status", "lost"), "allowed: ok, diverged, failed, stopped, missing")
    refused(command("ls", "r", "--sort", "betta"), "--sort betta: there is no such column")
    refused(command("ls", tmp_path), "not a results folder")


def test_a_long_list_ends_with_how_many_more_there_are(command, tmp_path):
    study = parse_study(STUDY % "images.npz", overrides=["grid.seed={count: 500}"])
    make_results(tmp_path / "many", study, dict.fromkeys(list(study.cells)[:10], "ok"))
    ended = command("ls", "many", "--sort", "seed")
    assert "10 ok" in ended.out
    assert "and 960 more: --all" in ended.out
    assert len(ended.out.splitlines()) == 45
    assert len(command("ls", "many", "--limit", "3").out.splitlines()) == 8
    assert len(command("ls", "many", "--all").out.splitlines()) == 1_004


def test_one_cell_shows_its_settings_curves_values_and_who_trained_it(command, results, ids):
    ended = command("show", "r", ids["ok"][:9])
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"cell {ids['ok']} of tiny: ok\n")
    assert "depth 1, width 9" in ended.out
    assert re.search(r"distortion, test +█▄▂▁ +7.0 +3.5\n", ended.out)
    assert "at 4 steps from 40 to 130" in ended.out
    assert re.search(r"distortion +2.54 ± 0.25 +3.54 ± 0.25\n", ended.out)
    assert "trained in pack pack7, 4 models at once, cpu, höst, 75 s, 2026-01-02 03:04 UTC" in ended.out
    document = json.loads(command("show", "r", ids["ok"], "--json").out)
    assert document["settings"]["beta"] == 1.0
    assert [point["step"] for point in document["curves"]] == [40, 40, 64, 64, 100, 100, 130, 130]
    final = {row["population"]: row for row in document["final"]}
    assert final["test"]["distortion_nats"] == pytest.approx(200 / 130 + 2)
    assert final["test"]["nll_nats"] is None
    assert document["provenance"]["finished_at"] == "2026-01-02T03:04:05+00:00"


def test_a_list_is_shown_as_bars_from_0_with_its_range_and_is_a_list_in_json(command, results, study, ids):
    rows = rows_of(study, study.cells[ids["ok"]], latent_rates_nats=[1.0, 0.0, 2.0])
    write_part(results / "measurements" / "pack7.parquet", to_arrow(rows))
    assert re.search(r"rate by dimension +▅▁█ 0.00 to 2.00 +▅▁█ 0.00 to 2.00\n", command("show", "r", ids["ok"]).out)
    final = json.loads(command("show", "r", ids["ok"], "--json").out)["final"]
    assert [row["latent_rates_nats"] for row in final] == [[1.0, 0.0, 2.0]] * 2


@pytest.mark.parametrize("status", ["diverged", "failed", "missing"])
def test_a_cell_without_values_says_why(command, results, ids, status):
    ended = command("show", "r", ids[status])
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"cell {ids[status]} of tiny: {status}\n")
    assert (WHY.get(status) or "") in ended.out
    assert json.loads(command("show", "r", ids[status], "--json").out)["message"] == WHY.get(status)


def test_every_evaluation_of_a_cell_is_shown(command, results, study, ids):
    better: dict[str, Any] = {
        "evaluation_id": "0a0b0c0d",
        "pack_id": None,
        "mi_nats": 1.5,
        "mi_se": 0.5,
        "seconds": None,
    }
    rows = [row for row in rows_of(study, study.cells[ids["ok"]], **better) if row.is_final]
    write_part(results / "measurements" / "again.parquet", to_arrow(rows))
    out = command("show", "r", ids["ok"]).out
    assert "final, evaluation 0a0b0c0d" in out
    assert re.search(r"mutual information +1.50 ± 0.50 +1.50 ± 0.50", out)
    assert "pack pack7" in out
    assert len(listed(command)) == 4


def test_a_cell_is_found_by_its_first_digits_if_they_are_its_own(command, results, ids):
    refused(command("show", "r", "zz"), "'zz': no cell's id begins with it")
    refused(command("show", "r", ""), "no cell's id begins with it")
    digits = {cell_id[0] for cell_id in ids.values()}
    if len(digits) < 4:
        shared = next(d for d in digits if sum(i.startswith(d) for i in ids.values()) > 1)
        refused(command("show", "r", shared), "cells' ids begin with it", "give more digits")


def test_a_cells_images_are_drawn_into_a_png(command, results, ids, tmp_path):
    make_sheet(results, ids["ok"])
    assert f"images: r/sheets/{ids['ok']}.npz" in command("show", "r", ids["ok"]).out
    ended = command("show", "r", ids["ok"], "--png", "cell.png")
    assert (ended.code, "cell.png: reconstructions and samples" in ended.out) == (0, True)
    with Image.open(tmp_path / "cell.png") as image:
        assert image.width > 300
    (results / "sheets" / f"{ids['diverged']}.npz").write_bytes(b"damaged")
    before = contents(tmp_path)
    refused(command("show", "r", ids["ok"], "--png", "cell.gif"), "expected a file name that ends in .png")
    refused(command("show", "r", ids["failed"], "--png", "x.png"), "has no stored images: it is failed")
    refused(command("show", "r", ids["diverged"], "--png", "x.png"), "is damaged")
    assert contents(tmp_path) == before
