"""Exit codes of the commands."""

OK, FAILED, INVALID_INPUT, INTERRUPTED = 0, 1, 2, 130
