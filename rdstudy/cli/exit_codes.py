"""Exit codes of the commands."""

OK, FAILED, INVALID_INPUT, INTERRUPTED = 0, 1, 2, 130
BROKEN_PIPE = 141
"""As the shell gives it for a program that a closed pipe ends: 128 + SIGPIPE."""
