"""Where the command line meets the terminal: what is said of an error, and output that cannot be written."""

from __future__ import annotations

import os
import re
import sys

from rdstudy.cli.exit_codes import BROKEN_PIPE, INVALID_INPUT
from rdstudy.errors import Findings, UserError

MAX_MESSAGE = 390
"""Characters of a message; of a longer one the middle is left out."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with control characters, which could change the terminal, written as escapes."""
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def message_of(error: BaseException) -> str | None:
    """What to say of an error that the user can fix, in at most `MAX_MESSAGE` characters; None of a bug."""
    if isinstance(error, UserError):
        said = str(error)
    elif isinstance(error, OSError) and error.errno is not None:
        names = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        said = f"{names}: {error.strerror}" if names else f"reading or writing failed: {error.strerror}"
    elif isinstance(error, MemoryError):
        said = "out of memory: give it more, or a smaller study (dataset.size, grid.width, resources.pack_size)"
    else:
        return None
    said = printable(said.strip())
    if len(said) <= MAX_MESSAGE or isinstance(error, Findings):
        return said
    return f"{said[: MAX_MESSAGE * 2 // 3]} ... {said[-MAX_MESSAGE // 3 + 8 :]}"


def mend_environment() -> None:
    """Leave out a terminal size that is no number, and give closed standard streams a place to write to."""
    for name in ("COLUMNS", "LINES"):
        value = os.environ.get(name, "")
        if value and not (value.isascii() and value.isdigit() and 0 < int(value[:9]) < 10**5):
            del os.environ[name]
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (until the process ends)


def close_output() -> None:
    """Let what is still buffered for a closed pipe go nowhere, instead of failing when Python ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # standard output is no file, as in a notebook
        return


def flushed(code: int | str | None) -> int | str | None:
    """The exit code after all output is written; another one if it cannot be."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        close_output()
        return BROKEN_PIPE
    except OSError as error:
        close_output()
        print(f"rdstudy: the output cannot be written: {error.strerror}", file=sys.stderr)
        return code or INVALID_INPUT
    return code
