"""What the command line says of errors, and what it does where output cannot be written."""

import os
import sys

import pytest
from rich.text import Text

from rdstudy.cli.boundary import MAX_MESSAGE, flushed, mend_environment, message_of, printable
from rdstudy.cli.exit_codes import BROKEN_PIPE, INVALID_INPUT
from rdstudy.cli.terminal import Rows, console_for
from rdstudy.errors import UserError
from tests.command import refused


def test_a_file_error_of_any_command_is_one_message():
    assert message_of(OSError(28, "No space left on device", "/there/x")) == "/there/x: No space left on device"
    assert message_of(PermissionError(13, "Permission denied")) == "reading or writing failed: Permission denied"
    assert "out of memory" in str(message_of(MemoryError()))
    assert message_of(ZeroDivisionError()) is None


def test_a_long_message_keeps_its_beginning_and_its_end():
    said = message_of(UserError("begin " + "x" * 5000 + " end"))
    assert said is not None
    assert len(said) <= MAX_MESSAGE
    assert said.startswith("begin ")
    assert said.endswith(" end")


def test_control_characters_are_written_as_escapes():
    assert printable("a\x1b[31mb\x07c\u202ed\x9be\nf\tü😀") == "a\\x1b[31mb\\x07c\\u202ed\\x9be\nf\tü😀"


def test_no_control_character_reaches_the_terminal(capsys):
    console = console_for()
    console.print("a\x1b]0;x\x07")
    console.print(Text("b\x1b[2J"))
    table = Rows("c\x1b[1m", left=("c",))
    table.add("d\x9b")
    console.print(table)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\x9b" not in out
    assert out.startswith("a\\x1b]0;x")


@pytest.mark.parametrize("value", ["0", "²", "-1", "x", "9" * 50])
def test_a_terminal_size_that_is_no_number_is_left_out(monkeypatch, value):
    monkeypatch.setenv("COLUMNS", value)
    mend_environment()
    assert "COLUMNS" not in os.environ
    assert console_for().width > 0


def test_output_on_a_full_disk_is_said(monkeypatch, capfd):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        print("something")
        assert flushed(0) == INVALID_INPUT
        monkeypatch.undo()
    assert "the output cannot be written: No space left" in capfd.readouterr().err


def test_a_closed_pipe_ends_as_the_shell_expects(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        print("something")
        assert flushed(0) == BROKEN_PIPE
        monkeypatch.undo()


def test_a_closed_standard_output_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    mend_environment()
    print("something")
    sys.stdout.close()


@pytest.mark.parametrize("results", ["", " ", "a\0b", "s3:/bucket/x", "n" * 300, "~nobody-of-this-name/x"])
def test_what_names_no_results_is_refused(command, study_file, results):
    ended = command("run", study_file, "--no-ray", f"--results={results}")
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert len(ended.err) < 500


def test_a_home_folder_is_expanded(monkeypatch, tmp_path):
    from rdstudy.storage.paths import storage_path

    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage_path("~/there") == tmp_path / "there"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("resources.cpus_per_pack=1000", "a pack takes 1,000 CPUs, and this machine gives this process"),
        ("resources.gpus_per_pack=64", "a pack takes 64 GPUs, and this machine has"),
    ],
)
def test_a_pack_that_fits_nowhere_is_refused_at_once(command, study_file, setting, words):
    for arguments in (("plan", study_file), ("run", study_file), ("run", study_file, "--no-ray")):
        refused(command(*arguments, "--set", setting, "--results", "there"), words)
    assert not os.path.exists("there")


def test_a_setting_that_finished_cells_do_not_have_is_refused(tmp_path, command, make_study):
    from rdstudy.storage.schema import OK
    from tests.made import make_results

    study = make_study()
    make_results(tmp_path / "there", study, dict.fromkeys(study.cells, OK))
    for name in ("remeasure", "verify"):
        refused(command(name, "there", "--set", "training.steps=51"), "only evaluation, resources, dataset.path")
