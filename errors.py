"""Errors that a user can mend: the command line shows the message alone and ends with the exit code."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """The base of all errors whose message names the thing, the place and the remedy. Others are bugs."""

    exit_code = 1


class UsageError(UserError, ValueError):
    """A wrong request: an unknown name, an option that does not exist, a directory that is not there."""

    exit_code = 2


class RunError(UserError, RuntimeError):
    """The request was right, but it failed: a loss that is not a number, weights that could not be downloaded."""


class Interrupted(UserError, RuntimeError):
    """Stopped by a signal, by default Ctrl-C."""

    def __init__(self, message: str, number: int = signal.SIGINT):
        super().__init__(message, number)  # as they are, so that another process gets the same error
        self.exit_code = 128 + number

    def __str__(self) -> str:
        return str(self.args[0])


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", cutoff: float = 0.5) -> str:
    """The nearest known names as a question; if none is near, `otherwise`, or else all known names."""
    names = list(known)
    close = get_close_matches(name, names, n=3, cutoff=cutoff)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return otherwise or f"known: {', '.join(names) or 'none'}"


def reason_of(error: BaseException) -> str:
    """What to tell of an error in one line: the message of a user's error, the type and message of a bug."""
    if isinstance(error, OSError) and error.filename and not isinstance(error, UserError):
        return f"{error.filename}: {error.strerror}"
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
