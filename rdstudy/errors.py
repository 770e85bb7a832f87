"""The exception for errors that the user can fix."""


class UserError(ValueError):
    """Invalid input: the message says what was found, what is allowed, and where. The CLI prints no traceback."""
