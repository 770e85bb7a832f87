"""The command line: parses, calls, prints.

Exit codes: 0 all cells finished; 1 some failed or the run stopped early; 2 invalid input, nothing was started; 130
interrupted, the same command resumes.
"""

from __future__ import annotations

import io
import shlex
import signal
import sys
from typing import Annotated

import typer
from rich.text import Text

import rdstudy
from rdstudy.cli.boundary import close_output, flushed, mend_environment, message_of
from rdstudy.cli.cells import ls, show
from rdstudy.cli.clean import clean
from rdstudy.cli.clusters import doctor, submit
from rdstudy.cli.exit_codes import BROKEN_PIPE, INTERRUPTED, INVALID_INPUT
from rdstudy.cli.export import export
from rdstudy.cli.fit_prior import fit_prior
from rdstudy.cli.init import columns, data, examples_copy, examples_list, init, schema
from rdstudy.cli.plan import plan
from rdstudy.cli.remeasure import remeasure
from rdstudy.cli.renamed import refuse_old_names
from rdstudy.cli.report import report
from rdstudy.cli.run import run
from rdstudy.cli.status import status
from rdstudy.cli.terminal import console_for
from rdstudy.cli.verify import verify

app = typer.Typer(
    help="Rate-distortion studies of variational autoencoders: plan, run, report.",
    epilog="Exit codes: 0 all cells finished; 1 some failed; 2 invalid input; 130 interrupted, run again to resume.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (
    init,
    plan,
    run,
    remeasure,
    fit_prior,
    status,
    ls,
    show,
    report,
    verify,
    export,
    clean,
    submit,
    doctor,
    data,
    schema,
    columns,
):
    app.command()(_command)
examples = typer.Typer(help="Studies that come with rdstudy.", no_args_is_help=True, rich_markup_mode=None)
examples.command("list")(examples_list)
examples.command("copy")(examples_copy)
app.add_typer(examples, name="examples")


def _version(wanted: bool | None) -> None:
    if wanted:
        print(f"rdstudy {rdstudy.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = None,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """The `rdstudy` command."""
    arguments = sys.argv[1:] if arguments is None else arguments
    interrupted = False

    def interrupt(signum: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once
        raise KeyboardInterrupt

    mend_environment()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for characters that the terminal lacks
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    stderr = console_for(stderr=True)
    try:
        refuse_old_names(arguments)
        app(args=arguments, prog_name="rdstudy")
    except BaseException as error:
        # A library that is interrupted may raise an exception of its own in place of KeyboardInterrupt.
        if interrupted:
            again = shlex.join(["rdstudy", *arguments])
            kept = "finished cells are in the table, and unfinished packs resume from their last checkpoint, if any"
            stderr.print(f"rdstudy: interrupted; {kept}. Resume with: {again}", soft_wrap=True)
            sys.exit(INTERRUPTED)
        if isinstance(error, SystemExit):
            sys.exit(flushed(error.code))
        if isinstance(error, BrokenPipeError):
            close_output()
            sys.exit(BROKEN_PIPE)
        said = message_of(error)
        if said is None:
            raise
        stderr.print(Text(f"rdstudy: {said}", style="red"), soft_wrap=True)
        sys.exit(INVALID_INPUT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # for callers within Python, such as a notebook
