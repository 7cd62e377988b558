"""Whether a value that was read from JSON is of the type that it should be: files come from strangers, and a
checksum proves nothing of what they hold. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}
_LARGEST = 2**63


def misfit(value: Any, kind: Any, place: str) -> str | None:
    """The first place at which a value is not of a type, and why, in a few words; None where it is.

    Types are those of JSON, lists and dictionaries of them, unions with None, TypedDicts and dataclasses, whose
    tuples are lists in JSON. `Any` is any of these. Numbers must be finite, and of a size that machines count with.
    """
    if _is_plain(value, _plain(kind)):  # most values of a record are, by the thousand
        return None
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return _misfit_of_any(value, place)
    if is_typeddict(kind) or is_dataclass(kind):
        return _misfit_of_fields(value, kind, place)
    if origin in (list, Sequence) or (origin is tuple and inner[-1] is ...):
        return _misfit_of_items(value, inner[0], place)
    if origin is tuple:
        if not isinstance(value, list) or len(value) != len(inner):
            return f"{place} is not a list of {len(inner)}"
        found = (misfit(*each, f"{place}[{index}]") for index, each in enumerate(zip(value, inner, strict=True)))
        return next(filter(None, found), None)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return f"{place} is not a table of values"
        plain = _plain(inner[1])
        if all(_is_plain(each, plain) for each in value.values()):
            return None
        found = (misfit(each, inner[1], f"{place}.{name}") for name, each in value.items())
        return next(filter(None, found), None)
    if origin in (Union, UnionType):
        # Null was looked for above. What else it may be, its fault says most.
        faults = [misfit(value, each, place) for each in inner if each is not NoneType]
        return None if None in faults else faults[0]
    if origin is Literal:
        return None if value in inner else f"{place} is {short(value)}, not one of {', '.join(map(str, inner))}"
    return f"{place} is {short(value)}, not {_NAMES[kind]}"


def _misfit_of_any(value: Any, place: str) -> str | None:
    """As a value of JSON is of any type: but its numbers are finite."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is not None:
        return next(filter(None, (_misfit_of_any(each, f"{place}.{name}") for name, each in pairs)), None)
    return None if _is_plain(value, _NAMES) else f"{place} is {short(value)}, which no machine counts with"


def _misfit_of_fields(value: Any, kind: Any, place: str) -> str | None:
    if not isinstance(value, dict):
        return f"{place} is not a table of values"
    unknown = [] if is_typeddict(kind) else [name for name in value if name not in _fields(kind)]
    if unknown:
        return f"{place} has {short(unknown[0])}, which is unknown"
    for name, (field, required) in _fields(kind).items():
        if name not in value:
            if required:
                return f"{place} lacks {name!r}"
            continue
        found = misfit(value[name], field, f"{place}.{name}")
        if found:
            return found
    return None


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The types of the fields of a TypedDict or a dataclass, and whether each must be there."""
    hints = get_type_hints(kind, include_extras=True)
    # Where annotations are texts, Python itself takes NotRequired for required.
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    if is_dataclass(kind):
        optional = {f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING}
    elif not kind.__total__:
        optional = {*hints}
    return {
        name: (get_args(hint)[0] if get_origin(hint) is NotRequired else hint, name not in optional)
        for name, hint in hints.items()
    }


def _misfit_of_items(value: Any, kind: Any, place: str) -> str | None:
    if not isinstance(value, list):
        return f"{place} is not a list"
    plain = _plain(kind)
    if all(_is_plain(item, plain) for item in value):
        return None
    found = (misfit(item, kind, f"{place}[{index}]") for index, item in enumerate(value))
    return next(filter(None, found), None)


@cache
def _plain(kind: Any) -> frozenset[type]:
    """The plain types that a type allows: a whole number is a number, too."""
    if get_origin(kind) in (Union, UnionType):
        return frozenset[type]().union(*map(_plain, get_args(kind)))
    return frozenset({int, float} if kind is float else {kind} & _NAMES.keys())


def _is_plain(value: Any, plain: Container[type]) -> bool:
    """Whether a value is of one of some plain types, and if it is a number, finite and of a size that a machine can
    count with."""
    kind = type(value)
    if kind not in plain:
        return False
    if kind is float:
        return math.isfinite(value)
    return kind is not int or abs(value) < _LARGEST


def short(value: object) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
