"""Options of a method from their text on the command line: `lambda1=0.5`, `sg=off`. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal, get_args, get_origin

from issbench.errors import UsageError, did_you_mean
from issbench.methods.interface.info import MethodInfo, SourceText
from issbench.methods.interface.numbers import Range


class OptionError(UsageError):
    """An option that does not exist, or a value that it does not take."""


_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def resolved_options(info: MethodInfo, scenario: str, given: Mapping[str, str]) -> dict[str, Any]:
    """All options of a method, typed, by name: its defaults, over them those published for the dataset, those for
    the scenario, and those that the user gave. `Options(**resolved)` is the instance. A dataset's name stands for
    any scenario of it, the empty one for a dataset of which nothing is published.

    A default that is not a literal in the source is left out, and a value for an option of no known kind stays
    text. Raises OptionError for an unknown name or a value of the wrong type.
    """
    resolved = _usual(info, scenario)
    known = {option.name: option for option in info.options}
    for name, text in given.items():
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join(known) or 'no options'}", cutoff=0.4)
            raise OptionError(f"method {info.name} has no option {name!r}; {hint}")
        resolved[name] = parse_value(f"{info.name}:{name}", known[name].kind, text, known[name].within)
    return resolved


def canonical_options(info: MethodInfo, scenario: str, given: Mapping[str, str]) -> dict[str, str]:
    """Those of the given options that differ from what the method uses for the scenario anyway, by name in
    alphabetic order, each in one spelling: `lambda1=.30` is left out where 0.3 is the default, `SG=False` is
    `off`. Raises OptionError like `resolved_options`."""
    usual, resolved = _usual(info, scenario), resolved_options(info, scenario, given)
    texts = {name: spell(resolved[name]) for name in sorted(given)}
    return {name: text for name, text in texts.items() if name not in usual or text != spell(usual[name])}


def _usual(info: MethodInfo, scenario: str) -> dict[str, Any]:
    """The options of a user who gives none."""
    if info.published is None:
        raise OptionError(
            f"the settings in `published` of method {info.name} cannot be read from {info.source}; write them as a "
            "literal dictionary"
        )
    defaults = {o.name: o.default for o in info.options if not isinstance(o.default, SourceText)}
    for name in sorted(info.published):  # a dataset stands before its scenarios
        if f"{scenario}_".startswith(f"{name}_"):
            defaults |= info.published[name]
    return defaults


def spell(value: Any) -> str:
    """A value as the command line takes it, in one spelling: `on`, `0.3`, `released`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else repr(value)


def parse_value(where: str, kind: Any, value: Any, within: Range | None = None) -> Any:
    """`value`, text or typed, as `kind`: bool (on/off), int, float (finite, in the range `within`), str or a
    Literal; as text where `kind` is None. OptionError says what it takes; `where` is the option's name there."""
    text = str(value).strip()
    if kind is None or kind is str:
        return text
    if get_origin(kind) is Literal:
        accepted = {str(each): each for each in get_args(kind)}
        if text not in accepted:
            raise OptionError(f"{where}={text}: it takes {', '.join(accepted)}")
        return accepted[text]
    if kind is bool:
        if text.lower() not in _SWITCH:
            raise OptionError(f"{where}={text}: it takes on or off")
        return _SWITCH[text.lower()]
    return _number(where, kind, within, text)


def _number(where: str, kind: type, within: Range | None, text: str) -> Any:
    """A finite number of a range. The zero has one sign, so that it has one spelling."""
    wanted = {int: "a whole number", float: "a number"}[kind]
    try:
        number = kind(text)
    except ValueError:
        raise OptionError(f"{where}={text}: it takes {wanted}") from None
    if not isfinite(number):
        raise OptionError(f"{where}={text}: it takes a finite number")
    if within is not None and number not in within:
        raise OptionError(f"{where}={text}: it takes {wanted}, {within}")
    return number or kind(0)
