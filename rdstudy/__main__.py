"""`python -m rdstudy` is the `rdstudy` command."""

from rdstudy.cli import main

main()
