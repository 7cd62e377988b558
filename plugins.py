"""Classes by name: those of this package, and those that other packages add under an entry-point group. Needs no
torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from issbench.errors import UsageError, reason_of


@cache
def added(group: str) -> Mapping[str, str]:
    """What installed packages declare under a group: `module:Class` by name."""
    return {point.name: point.value for point in entry_points(group=group)}


def registered(group: str, built_in: Mapping[str, str]) -> dict[str, str]:
    """`module:Class` by name: the built-in ones first. No other package can take the place of one."""
    return {**built_in, **{name: value for name, value in added(group).items() if name not in built_in}}


def load_class(what: str, name: str, value: str, base: type) -> type[Any]:
    """The class `module:Class`, registered as `name`. UsageError where it cannot be imported, is not a `base`, or
    calls itself otherwise."""
    module, _, attribute = value.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # a module of another package may fail in any way
        raise UsageError(
            f"{what} {name} cannot be loaded from {value} ({reason_of(error)}); repair or remove the package that "
            "declares it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)) or getattr(found, "name", None) != name:
        raise UsageError(
            f"{what} {name}: {value} is not a {base.__module__}.{base.__name__} with name = {name!r}; correct the "
            "package that declares it"
        )
    return found
