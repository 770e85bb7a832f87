import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rdstudy
from rdstudy.execution import pack_run
from rdstudy.storage import StorageError, locked
from rdstudy.storage import stage as real_stage
from rdstudy.storage.paths import StoragePath
from rdstudy.storage.schema import columns_markdown
from rdstudy.study import study_schema
from rdstudy.training.trainer import PackTrainer
from tests.command import contents, refused, values

# --- plan, run, status ---


def test_a_study_is_planned_run_and_found_finished(command, study_file, tmp_path):
    before = contents(tmp_path)
    planned = command("plan", study_file)
    assert planned.code == 0
    assert "tiny: 4 cells, 0 finished, 4 missing (results/tiny)" in planned.out
    assert "time: about" in planned.out
    assert "storage: about" in planned.out
    assert contents(tmp_path) == before

    ran = command("run", study_file, "--no-ray")
    assert (ran.code, ran.err) == (0, "")
    assert "tiny: 4 cells, 4 finished, 0 missing" in ran.out
    assert "next: rdstudy report results/tiny" in ran.out
    assert len(rdstudy.load_measurements("results/tiny")) == 4 * 4 * 2

    before = contents(tmp_path)
    assert "nothing to train" in command("plan", study_file).out
    again = command("run", study_file, "--no-ray")
    assert (again.code, "all 4 cells are finished; nothing to train" in again.out) == (0, True)
    status = command("status", "results/tiny")
    assert (status.code, "4 finished, 0 missing" in status.out) == (0, True)
    assert contents(tmp_path) == before


def test_a_plan_on_a_busy_machine_says_that_others_slow_it(command, study_file):
    spin = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        time.sleep(0.5)  # until they spin
        planned = command("plan", study_file).out
    finally:
        for other in others:
            other.kill()
            other.wait()
    said = re.search(r"other programs take (\d+)% of this machine's CPU time now; without them about ", planned)
    assert said is not None
    assert 30 <= int(said[1]) <= 100


def test_an_extended_grid_trains_only_the_new_cells(command, study_file, tmp_path):
    command("run", study_file, "--no-ray", "--set", "grid.beta=[1]")
    before = values(tmp_path / "results" / "tiny")
    assert "4 cells, 2 finished, 2 missing" in command("plan", study_file).out
    ran = command("run", study_file, "--no-ray")
    assert "4 cells, 2 finished, 2 missing" in ran.out
    assert "2/2 cells" in ran.out
    assert "other settings" not in ran.out
    narrower = command("plan", study_file, "--set", "grid.beta=[0.5]").out
    assert "2 cells, 0 finished, 2 missing" in narrower
    assert "the folder also holds 4 finished cells with other settings" in narrower
    after = values(tmp_path / "results" / "tiny")
    pd.testing.assert_frame_equal(after[after["beta"] == 1].reset_index(drop=True), before)


def test_results_can_be_elsewhere_and_be_moved(command, study_file, tmp_path):
    command("run", study_file, "--no-ray", "--results", tmp_path / "here")
    assert not (tmp_path / "results").exists()
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert "nothing to train" in command("run", study_file, "--no-ray", "--results", tmp_path / "there").out
    assert command("status", tmp_path / "there").code == 0


def test_a_status_needs_neither_the_study_file_nor_its_data_nor_the_lock(command, study_file, images_file, tmp_path):
    command("run", study_file, "--no-ray", "--set", "grid.beta=[1]")
    study_file.unlink()
    images_file.unlink()
    with locked(tmp_path / "results" / "tiny"):
        assert "2 cells, 2 finished" in command("status", tmp_path / "results" / "tiny").out


def test_a_status_says_who_is_at_work(command, study_file, tmp_path):
    results = tmp_path / "results" / "tiny"
    command("run", study_file, "--no-ray", "--set", "grid.beta=[1]")
    assert "active run" not in command("status", results).out  # and nothing is left to be done
    with locked(results):
        assert f"active run: process {os.getpid()} of " in command("status", results).out
        assert json.loads(command("status", results, "--json").out)["active_run"]["pid"] == os.getpid()
    assert json.loads(command("status", results, "--json").out)["active_run"] is None


def test_ctrl_c_ends_a_run_cleanly_and_the_status_shows_its_unfinished_packs(command, study_file, monkeypatch):
    def stop(self, until):
        if self.step >= 64:
            signal.raise_signal(signal.SIGINT)
        PackTrainer.advance(self, until)

    with monkeypatch.context() as stopped:
        stopped.setattr(pack_run, "PackTrainer", type("Stopping", (PackTrainer,), {"advance": stop}))
        ran = command("run", study_file, "--no-ray", "--set", "resources.checkpoint_seconds=1e-9")
    assert ran.code == 130
    assert ran.err.startswith("rdstudy: interrupted; ")
    assert "Resume with: rdstudy run" in ran.err
    status = command("status", "results/tiny")
    assert "4 cells, 0 finished, 4 missing" in status.out
    assert "No run is active. Resume with: rdstudy run STUDY" in status.out
    *_, seed, cells, step, last = status.out.split()
    assert (seed, cells, last) == ("seed=0", "4", "130")
    assert 64 <= int(step) < 130  # saved where the interrupt took effect
    assert command("run", study_file, "--no-ray").code == 0


def test_an_inline_run_does_without_ray(command, study_file, monkeypatch):
    for name in ("ray", "rdstudy.execution.ray_tune", "rdstudy.execution.ray_tune.executor"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises from now on
    assert command("run", study_file, "--no-ray").code == 0
    assert command("run", study_file, "--results", "small").code == 0
    with pytest.raises(ModuleNotFoundError):
        command("run", study_file, "--ray", "--results", "another")


def test_a_failed_cell_is_named_and_the_exit_code_is_one(command, study_file, tmp_path, monkeypatch):
    def fail(self, until):
        if any(cell.beta == 0.1 and cell.seed == 1 for cell in self.cells):
            raise ZeroDivisionError("a poisoned cell")
        PackTrainer.advance(self, until)

    with monkeypatch.context() as poison:
        poison.setattr(pack_run, "PackTrainer", type("Faulty", (PackTrainer,), {"advance": fail}))
        ran = command("run", study_file, "--no-ray", "--set", "resources.max_retries=0")
    assert ran.code == 1
    assert "4 cells, 3 finished, 1 missing, 1 failed" in ran.out
    assert "beta=0.1 seed=1): ZeroDivisionError: a poisoned cell" in ran.out
    assert "Traceback" not in ran.out + ran.err
    status = command("status", "results/tiny")
    assert status.code == 1
    assert "a poisoned cell" in status.out
    assert command("run", study_file, "--no-ray").code == 0
    assert command("status", "results/tiny").code == 0


def test_a_diverged_cell_is_named_and_counts_as_finished(command, study_file):
    settings = ("--set", "training.optimizer=sgd", "--set", "grid.beta=[1, 1e30]", "--set", "grid.seed=[0]")
    ran = command("run", study_file, "--no-ray", *settings)
    assert ran.code == 0
    assert "2 finished" in ran.out
    assert "beta=1e+30 seed=0): " in ran.out.partition("diverged: ")[2]


def test_a_disk_that_fills_up_during_a_run_loses_nothing(command, study_file, tmp_path, monkeypatch):
    staged: list[StoragePath] = []

    def stage(*arguments):
        if staged:
            raise StorageError("results/tiny/staging/x.parquet: writing failed: the disk is full: free some space")
        staged.append(real_stage(*arguments))
        return staged[0]

    with monkeypatch.context() as full:
        full.setattr(pack_run, "stage", stage)
        ran = command("run", study_file, "--no-ray", "--set", "resources.pack_size=2")
    assert ran.code == 1
    assert ran.err.startswith("rdstudy: stopped: ")
    assert "the disk is full" in ran.err
    assert "Traceback" not in ran.err
    assert "2 finished, 2 missing" in command("status", "results/tiny").out
    assert command("run", study_file, "--no-ray").code == 0
    command("run", study_file, "--no-ray", "--results", "undisturbed")
    pd.testing.assert_frame_equal(values(tmp_path / "results" / "tiny"), values(tmp_path / "undisturbed"))


# --- mistakes ---


@pytest.mark.parametrize("verb", [("plan",), ("run", "--no-ray"), ("data",)], ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("grid.bta=[1]", "grid.bta: unknown key; allowed: split, beta"),
        (
            "grid.train_size=[81]",
            "train_size=81, but split random of images (100 examples) has 80 training examples",
        ),
        ("dataset.test_size=21", "test_size=21, but split random of images"),
        ("dataset.path=gone.npz", "gone.npz does not exist"),
        ("dataset.path=garbage.npz", "garbage.npz cannot be read"),
        ("grid", "--set grid: expected KEY.KEY=VALUE"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_started(command, study_file, tmp_path, verb, setting, words):
    (tmp_path / "garbage.npz").write_bytes(b"not an archive")
    before = contents(tmp_path)
    name, *options = verb
    refused(command(name, study_file, *options, "--set", setting), words)
    assert contents(tmp_path) == before


def test_a_study_file_with_a_mistake_is_answered_with_its_line(command, study_file):
    study_file.write_text(study_file.read_text().replace("depth: [1]", "dept: [1]"))
    refused(
        command("run", study_file, "--no-ray"),
        f"{study_file}:6: grid.dept: unknown key",
        "did you mean `depth`?",
    )
    refused(command("run", "gone.yaml", "--no-ray"), "gone.yaml: cannot be read: No such file")


@pytest.mark.parametrize("verb", [("plan",), ("run", "--no-ray"), ("data",)], ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    ("before", "after", "setting", "words"),
    [
        ("train_size: [40]", "train_size: [40, 81]", "grid.train_size.1", "train_size=81, but split random of images"),
        ("split: [random]", "split: [checkerboard]", "", "split 'checkerboard' is not allowed for data set images"),
        ("images.npz", "gone.npz", "dataset.path", "gone.npz does not exist"),
    ],
)
def test_a_setting_that_does_not_suit_the_data_is_answered_with_its_line(
    command, study_file, verb, before, after, setting, words
):
    text = study_file.read_text()
    assert text.count(before) == 1
    study_file.write_text(text.replace(before, after))
    line = 1 + text[: text.index(before)].count("\n")
    name, *options = verb
    refused(command(name, study_file, *options), f"{study_file}:{line}: {setting}", words)


def test_a_device_that_is_not_there_is_a_mistake(command, study_file):
    device = "mps" if torch.cuda.is_available() else "cuda"
    refused(
        command("run", study_file, "--no-ray", "--set", f"resources.device={device}"),
        "resources.device",
        device,
    )


def test_too_little_memory_is_a_mistake(command, study_file):
    for verb in (("plan",), ("run", "--no-ray")):
        name, *options = verb
        refused(
            command(name, study_file, *options, "--set", "resources.memory_per_pack_gib=1e-6"),
            "raise resources.memory_per_pack_gib",
        )


def test_a_folder_that_cannot_be_written_is_a_mistake(command, study_file, tmp_path):
    (tmp_path / "file").write_text("")
    refused(
        command("run", study_file, "--no-ray", "--results", tmp_path / "file" / "results"),
        "file/results: making the folder failed: a file is in the place of a folder",
    )


def test_a_part_that_is_not_parquet_is_a_mistake_that_names_it(command, study_file, tmp_path):
    command("run", study_file, "--no-ray", "--set", "grid.beta=[1]")
    part = tmp_path / "results" / "tiny" / "measurements" / "notes.parquet"
    part.write_text("not Parquet")
    before = contents(tmp_path)
    for verb in (("plan", study_file), ("run", study_file, "--no-ray"), ("status", "results/tiny")):
        refused(command(*verb), "notes.parquet: not a part of the table")
    assert contents(tmp_path) == before
    part.unlink()
    assert command("run", study_file, "--no-ray").code == 0


def test_changed_data_is_a_mistake(command, study_file, images_file):
    command("run", study_file, "--no-ray", "--set", "grid.beta=[1]")
    with np.load(images_file) as file:
        images = 255 - file["images"]
    np.savez(images_file, images=images)
    refused(command("run", study_file, "--no-ray"), "was made from other data")


def test_a_second_run_is_a_mistake_that_names_the_first(command, study_file, tmp_path):
    with locked(tmp_path / "results" / "tiny"):
        refused(command("run", study_file, "--no-ray"), f"is being written by process {os.getpid()} ")


def test_a_folder_without_results_is_a_mistake(command, tmp_path):
    refused(command("status", tmp_path), "not a results folder: it has no study.json")
    (tmp_path / "study.json").write_text("{}")
    refused(command("status", tmp_path), "study.json")


@pytest.mark.parametrize("arguments", [("fly",), ("run",), ("run", "x.yaml", "--fast")])
def test_a_misspelt_command_is_a_mistake(command, arguments):
    assert command(*arguments).code == 2


# --- the small commands ---


def test_schema_and_columns_are_the_ones_of_the_code(command):
    assert json.loads(command("schema").out) == study_schema()
    assert command("columns").out == columns_markdown()


def test_data_says_what_is_in_a_data_set(command, study_file, dataset):
    ended = command("data", study_file)
    assert ended.code == 0
    assert "images: 100 images of 3x5x1" in ended.out
    assert "split random: up to 80 for training, 20 for test" in ended.out
    assert f"fingerprint {dataset.fingerprint}" in ended.out


def test_packaged_studies_can_be_listed_and_copied_out_once(command, tmp_path):
    listed = command("examples", "list")
    assert "quickstart" in listed.out
    copied = command("examples", "copy", "quickstart", "--to", "mine")
    assert copied.out == "mine/quickstart.yaml\n"
    assert rdstudy.load_study(tmp_path / "mine" / "quickstart.yaml").name == "quickstart"
    refused(command("examples", "copy", "quickstart", "--to", "mine"), "exists already")
    refused(command("examples", "copy", "quickstrat"), "there is no packaged study 'quickstrat'", "quickstart")


def test_a_report_shows_the_curves_and_names_the_files_it_writes(command, study_file):
    command("run", study_file, "--no-ray")
    ended = command("report", "results/tiny")
    assert ended.code == 0
    title, heading, one, other, *lines, _, _ = ended.out.splitlines()
    footnotes = [line for line in lines if line.startswith("?: ")]
    assert len(footnotes) == any(line.endswith("?") for line in (one, other))
    files = lines[len(footnotes) :]
    assert title == "on the test set, nats per example, mean over seeds:"
    assert heading.split() == ["beta", "seeds", "rate", "distortion", "-ELBO", "NLL"]
    table = rdstudy.load_measurements("results/tiny").query("is_final and population == 'test'")
    for line, beta in ((one, 1.0), (other, 0.1)):
        means = table[table["beta"] == beta][["rate_nats", "distortion_nats"]].mean()
        assert line.split()[:4] == [f"{beta:g}", "2", *(f"{mean:.1f}" for mean in means)]
    paths = [Path(line.partition(": ")[0]) for line in files]
    assert [path.name for path in paths] == ["index.html", "figures"]
    assert all(path.exists() for path in paths)
    refused(command("report", "results"), "not a results folder: it has no study.json")
    refused(command("report", "results/tiny", "--format", "pdf"), "unknown report format pdf")


def test_help_and_version_are_there(command):
    assert command("--version").out == f"rdstudy {rdstudy.__version__}\n"
    assert "130 interrupted" in " ".join(command("--help").out.split())
    for verb in ("plan", "run", "status", "report", "schema", "columns", "data", "examples"):
        assert command(verb, "--help").code == 0


# --- as a process ---


def test_a_terminated_run_ends_cleanly_and_says_how_to_go_on(study_file, tmp_path):
    settings = ["--set", "training.steps=100000000", "--set", "resources.checkpoint_seconds=0.01"]
    arguments = ["run", str(study_file), "--no-ray", "--results", "here", *settings]
    with subprocess.Popen(
        [sys.executable, "-m", "rdstudy", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("here/checkpoints/*/*.safetensors")) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Resume with: rdstudy run" in err
    assert "--results here" in err
    assert "Traceback" not in err
    with locked(tmp_path / "here"):
        pass


# --- old names ---


@pytest.mark.parametrize(
    ("arguments", "new"),
    [
        (("run", "x.yaml", "--inline"), ["--no-ray"]),
        (("measure", "r"), ["`measure` is now `remeasure`"]),
        (("measure", "r", "--draws=2", "--importance-examples", "all"), ["remeasure", "--mi-draws", "--nll-examples"]),
        (("remeasure", "r", "--examples", "9", "--importance-samples", "9"), ["--mi-examples", "--nll-draws"]),
        (("report", "r", "--compare", "x.csv"), ["--published"]),
        (("export", "r", "out", "--to", "csv"), ["--format"]),
        (("studies", "list"), ["`studies` is now `examples`"]),
    ],
)
def test_an_old_name_is_answered_with_the_new_one(command, arguments, new):
    refused(command(*arguments), *new)


def test_the_folder_of_init_and_of_a_copied_example_is_still_given_by_to(command, tmp_path):
    assert command("init", "mine", "--to", "here").code == 0
    assert command("examples", "copy", "quickstart", "--to", "here").code == 0
    assert {path.name for path in (tmp_path / "here").glob("*.yaml")} == {"mine.yaml", "quickstart.yaml"}


def test_minus_h_shows_the_help_of_every_command(command):
    groups = ((), ("examples",))
    for words in [*groups, ("run",), ("remeasure",), ("export",), ("examples", "copy")]:
        short, long = command(*words, "-h"), command(*words, "--help")
        assert (short.code, short.out) == (0, long.out)
        assert "Usage: rdstudy" in short.out
