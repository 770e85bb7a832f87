import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rdstudy.report.export.runs import runs_of
from rdstudy.storage.parts import to_arrow, write_part
from rdstudy.study import parse_study
from tests.command import contents, refused
from tests.conftest import STUDY
from tests.made import WHEN, WHY, make_results, rows_of


@pytest.fixture
def study(tmp_path):
    """One cell that is ok, one that failed, two that are missing."""
    study = parse_study(STUDY % "images.npz")
    one, other, *_ = study.cells
    make_results(tmp_path / "r", study, {one: "ok", other: "failed"})
    return study


def test_csv_has_a_row_per_cell_and_a_row_per_value(command, study):
    ended = command("export", "r", "out", "--format", "csv")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("out: 2 cells of tiny, as csv\n")
    cells = pd.read_csv("out/cells.csv")
    assert cells["cell_id"].tolist() == list(study.cells)[:2]
    assert cells["status"].tolist() == ["ok", "failed"]
    assert cells["test_distortion_nats"][0] == pytest.approx(200 / 130 + 2)
    assert cells["message"][1] == WHY["failed"]
    curves = pd.read_csv("out/curves.csv").query("name == 'distortion_nats' and population == 'train'")
    assert curves["step"].tolist() == [40, 64, 100, 130]
    assert curves["value"].tolist() == pytest.approx([200 / step + 1 for step in (40, 64, 100, 130)])


@pytest.mark.parametrize("to", ["csv", "tensorboard"])
def test_each_entry_of_a_list_is_a_value_of_its_own(command, study, tmp_path, to):
    cell = next(iter(study.cells.values()))
    rows = rows_of(study, cell, latent_rates_nats=[0.5, 0.0, 2.0])
    write_part(tmp_path / "r" / "measurements" / "pack7.parquet", to_arrow(rows))
    assert command("export", "r", "out", "--format", to).code == 0
    [run] = [run for run in runs_of(study.cells, tmp_path / "r") if run.points]
    assert [run.final[f"test/latent_rates_nats.{k}"] for k in range(3)] == [0.5, 0.0, 2.0]
    if to == "csv":
        assert pd.read_csv("out/cells.csv")["test_latent_rates_nats.2"][0] == 2.0


def test_tensorboard_reads_the_curves_and_the_settings(command, study, tmp_path):
    assert command("export", "r", "tb", "--format", "tensorboard").code == 0
    one, other, *_ = study.cells
    folders = sorted(path.name for path in (tmp_path / "tb").iterdir())
    assert folders == sorted([f"beta=1,seed=0,{one[:8]}", f"beta=1,seed=1,{other[:8]}"])
    read = EventAccumulator(str(tmp_path / "tb" / f"beta=1,seed=0,{one[:8]}")).Reload()
    points = read.Scalars("test/distortion_nats")
    assert [point.step for point in points] == [40, 64, 100, 130]
    assert [point.value for point in points] == pytest.approx([200 / step + 2 for step in (40, 64, 100, 130)])
    assert points[0].wall_time == WHEN.timestamp()
    assert read.Scalars("final/test/rate_nats")[-1].value == pytest.approx(10)
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = read.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["beta"].number_value == 1
    assert settings["split"].string_value == "random"


@pytest.mark.filterwarnings("default")  # those between MLflow and SQLAlchemy are theirs
def test_mlflow_reads_the_curves_and_the_settings(command, study, tmp_path, monkeypatch):
    assert command("export", "r", "ml", "--format", "mlflow").code == 0
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'ml' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    by_status = {run.data.tags["rdstudy.status"]: run for run in runs}
    assert by_status.keys() == {"ok", "failed"}
    run = by_status["ok"]
    assert (run.info.status, run.data.params["beta"]) == ("FINISHED", "1.0")
    history = client.get_metric_history(run.info.run_id, "test/distortion_nats")
    assert [(point.step, point.value) for point in sorted(history, key=lambda point: point.step)] == [
        (step, pytest.approx(200 / step + 2)) for step in (40, 64, 100, 130)
    ]
    assert by_status["failed"].data.tags["rdstudy.message"] == WHY["failed"]


def test_an_export_that_cannot_be_leaves_nothing(command, study, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    make_results(tmp_path / "none", study, {})
    before = contents(tmp_path)
    refused(command("export", "r", "x", "--format", "wandb"), "--format wandb: expected tensorboard, mlflow, csv")
    refused(command("export", "r", "full", "--format", "csv"), "full is there already and is not an empty folder")
    refused(command("export", "none", "x", "--format", "csv"), "no cell is in the table yet")
    with monkeypatch.context() as absent:
        absent.setattr("rdstudy.report.export.mlflow.find_spec", lambda name: None)
        refused(
            command("export", "r", "x", "--format", "mlflow"),
            "needs mlflow, sqlalchemy, alembic: pip install 'rdstudy[",
        )

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(pd.DataFrame, "to_csv", fail)
        refused(command("export", "r", "x", "--format", "csv"), "the disk is full")
    assert contents(tmp_path) == before


def test_an_empty_folder_may_be_exported_into(command, study, tmp_path):
    (tmp_path / "empty").mkdir()
    assert command("export", "r", "empty", "--format", "csv").code == 0
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["cells.csv", "curves.csv"]
