"""The one exception for what the user can mend."""


class UserError(ValueError):
    """Says in its message what was found, what is needed, and what to do; the CLI prints it without a traceback."""
