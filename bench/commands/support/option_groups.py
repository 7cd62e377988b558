"""Groups of options: dataclasses whose fields several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of its groups of options: of each parameter whose type is a dataclass, which it
    takes as one value. The fields stand where the parameter stands."""
    own = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {name: each.annotation for name, each in own.items() if is_dataclass(each.annotation)}
    fields = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}

    def call(**given: Any) -> None:
        made = {name: group(**{each: given.pop(each) for each in fields[name]}) for name, group in groups.items()}
        command(**given, **made)

    parameters = [each for name in own for each in (fields[name].values() if name in groups else [own[name]])]
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    call.__dict__["__signature__"] = inspect.Signature(keyword)
    call.__name__, call.__doc__ = command.__name__, command.__doc__
    return call
