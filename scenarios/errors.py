"""Errors that a user can mend. Each carries the exit code with which the command line ends."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScenarioError(ValueError):
    """A wrong request: an unknown name, an order that is no permutation, a directory that is not there."""

    exit_code = 2


class DataError(RuntimeError):
    """The request was right, the data are broken: an unreadable image, a label out of range."""

    exit_code = 1


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ScenarioError:
    """The error for a name that does not exist, with the nearest known names as the remedy."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
    return ScenarioError(f"unknown {kind} {name!r}; {hint}")
