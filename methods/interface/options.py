"""Options of a method from their text on the command line: `lambda1=0.5`, `sg=off`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from issbench.errors import UsageError, did_you_mean


class OptionError(UsageError):
    """An option that does not exist, or a value that it does not take."""


_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def parse_options(
    method: str, options: type, values: Mapping[str, Any], published: Mapping[str, Any] | None = None
) -> Any:
    """An instance of the dataclass `options`: its defaults, over them `published`, over them `values` (text or
    typed). Raises OptionError for an unknown name or a value of the wrong type."""
    hints = get_type_hints(options)
    known = [field.name for field in dataclasses.fields(options)]
    parsed = dict(published or {})
    for name, value in values.items():
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join(known) or 'no options'}", cutoff=0.4)
            raise OptionError(f"method {method} has no option {name!r}; {hint}")
        parsed[name] = parse_value(f"{method}:{name}", hints[name], value)
    return options(**parsed)


def parse_value(where: str, kind: Any, value: Any) -> Any:
    """`value`, text or typed, as `kind`: bool (on/off), int, float, str or a Literal."""
    text = str(value).strip()
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise OptionError(f"{where}={text}: it takes {', '.join(get_args(kind))}")
        return text
    if kind is bool:
        if text.lower() not in _SWITCH:
            raise OptionError(f"{where}={text}: it takes on or off")
        return _SWITCH[text.lower()]
    try:
        return kind(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise OptionError(f"{where}={text}: it takes {wanted}") from None
