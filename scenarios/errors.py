"""The errors of this room."""

from __future__ import annotations

from collections.abc import Iterable

from issbench.errors import UsageError, UserError, did_you_mean


class ScenarioError(UsageError):
    """A wrong request: an unknown name, an order that is not a permutation, a directory that is not there."""


class DataError(UserError, RuntimeError):
    """The request was right, the data are broken: an unreadable image, a label out of range."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ScenarioError:
    """The error for a name that does not exist, with the nearest known names as the remedy."""
    return ScenarioError(f"unknown {kind} {name!r}; {did_you_mean(name, known)}")
