"""Errors that a user can mend; the command line shows the message alone and ends with the exit code."""

from __future__ import annotations


class UsageError(ValueError):
    """A wrong command: an unknown option of the recipe, a backbone that does not exist."""

    exit_code = 2


class Interrupted(RuntimeError):
    """Stopped by Ctrl-C or SIGTERM."""

    exit_code = 130


class RunError(RuntimeError):
    """A run that failed: a loss that is no number, weights that cannot be had."""

    exit_code = 1
