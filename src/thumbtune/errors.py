"""Errors that people read: one sentence that says what, where, and what to do."""


class ThumbtuneError(Exception):
    """Something failed for a reason that a person can mend. The command line prints it and exits with 1."""


class UsageError(ThumbtuneError):
    """The command or recipe itself is off. The command line prints it and exits with 2."""
