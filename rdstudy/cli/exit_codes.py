"""Exit codes: what `rdstudy` says to the shell."""

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130
