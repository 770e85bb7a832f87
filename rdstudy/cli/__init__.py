"""The command line: parses, calls, prints.

Exit codes: 0 all cells are finished; 1 some failed, or the run had to stop; 2 a mistake to mend (nothing was
started); 130 interrupted (the same command goes on).
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
from rdstudy.cli.cells import ls, show
from rdstudy.cli.clusters import doctor, submit
from rdstudy.cli.exit_codes import INTERRUPTED, MISTAKE
from rdstudy.cli.export import export
from rdstudy.cli.init import columns, data, init, schema, studies_copy, studies_list
from rdstudy.cli.plan import plan
from rdstudy.cli.remeasure import remeasure
from rdstudy.cli.report import report
from rdstudy.cli.run import run
from rdstudy.cli.status import status
from rdstudy.cli.terminal import console_for
from rdstudy.cli.verify import verify
from rdstudy.errors import UserError

app = typer.Typer(
    help="Rate-distortion studies of variational autoencoders: plan, run, look.",
    epilog="Exit codes: 0 all cells finished; 1 some failed; 2 a mistake to mend; 130 interrupted, run again to go on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (
    init,
    plan,
    run,
    remeasure,
    status,
    ls,
    show,
    report,
    verify,
    export,
    submit,
    doctor,
    data,
    schema,
    columns,
):
    app.command()(_command)
studies = typer.Typer(help="The studies that come with rdstudy.", no_args_is_help=True, rich_markup_mode=None)
studies.command("list")(studies_list)
studies.command("copy")(studies_copy)
app.add_typer(studies, name="studies")


def _version(wanted: bool | None) -> None:
    if wanted:
        print(f"rdstudy {rdstudy.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
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
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends at once
        raise KeyboardInterrupt

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character that the terminal lacks is no reason to end
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    stderr = console_for(stderr=True)
    try:
        app(args=arguments, prog_name="rdstudy")
    except BaseException as error:
        # An interrupt comes out as whatever the library it struck made of it.
        if interrupted:
            again = shlex.join(["rdstudy", *arguments])
            kept = "what is finished is in the table, what is begun in its last checkpoint"
            stderr.print(f"rdstudy: interrupted; {kept}. To go on: {again}", soft_wrap=True)
            sys.exit(INTERRUPTED)
        if not isinstance(error, UserError):
            raise
        stderr.print(Text(f"rdstudy: {error}", style="red"), soft_wrap=True)
        sys.exit(MISTAKE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # of a notebook, say, in which this was called
