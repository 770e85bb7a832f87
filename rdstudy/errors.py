"""The exceptions for errors that the user can fix."""


class UserError(ValueError):
    """Invalid input: the message says what was found, what is allowed, and where. The CLI prints no traceback."""


class Findings(UserError):
    """Several errors found at once, one a line: each is shown, however many there are."""
