"""Commands and options that had another name: each is answered with the new one."""

from __future__ import annotations

from collections.abc import Sequence

from rdstudy.errors import UserError

COMMANDS = {"measure": "remeasure", "studies": "examples"}
OPTIONS = {
    ("run", "--inline"): "--no-ray",
    ("remeasure", "--inline"): "--no-ray",
    ("remeasure", "--draws"): "--mi-draws",
    ("remeasure", "--examples"): "--mi-examples",
    ("remeasure", "--importance-samples"): "--nll-draws",
    ("remeasure", "--importance-examples"): "--nll-examples",
    ("report", "--compare"): "--published",
    ("export", "--to"): "--format",
}


def refuse_old_names(arguments: Sequence[str]) -> None:
    """Check the words of a command line.

    Raises:
        UserError: a command or option has another name now; the message gives all new names of the line.
    """
    if not arguments:
        return
    command = COMMANDS.get(arguments[0], arguments[0])
    renamed = {arguments[0]: command} if command != arguments[0] else {}
    for word in arguments[1:]:
        option = word.partition("=")[0]
        if (command, option) in OPTIONS:
            renamed[option] = OPTIONS[command, option]
    if renamed:
        raise UserError("renamed: " + ", ".join(f"`{old}` is now `{new}`" for old, new in renamed.items()))
