"""Whether a value that was read from JSON is of the type that it should be: files come from strangers, and a
checksum proves nothing of what they hold. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}
_LARGEST = 2**63

Fault = tuple[str, str]
"""Where in a value, and what is wrong there."""
Check = Callable[[Any], Fault | None]
"""Finds the first fault of a value. Thousands of values are sound for one that is not, so nothing is put into words
before there is a fault."""


def misfit(value: Any, kind: Any, place: str) -> str | None:
    """The first place at which a value is not of a type, and why, in a few words; None where it is.

    Types are those of JSON, lists and dictionaries of them, unions with None, TypedDicts and dataclasses, whose
    tuples are lists in JSON. `Any` is any of these. Numbers must be finite, and of a size that machines count with.
    """
    fault = _check_of(kind)(value)
    return None if fault is None else f"{place}{fault[0]} {fault[1]}"


@cache
def _check_of(kind: Any) -> Check:
    """The check of a type."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return _any
    if is_typeddict(kind) or is_dataclass(kind):
        return _fields(kind)
    if origin in (list, Sequence) or (origin is tuple and inner[-1] is ...):
        return _items(_check_of(inner[0]), _plain(inner[0]))
    if origin is tuple:
        return _tuple([_check_of(each) for each in inner])
    if origin in (dict, Mapping):
        return _values(_check_of(inner[1]), _plain(inner[1]))
    if origin in (Union, UnionType):
        return _union([_check_of(each) for each in inner if each is not NoneType], _plain(kind))
    if origin is Literal:
        words = f"not one of {', '.join(map(str, inner))}"
        return lambda value: None if value in inner else ("", f"is {short(value)}, {words}")
    plain = _plain(kind)
    return lambda value: None if _is_plain(value, plain) else ("", f"is {short(value)}, not {_NAMES[kind]}")


def _any(value: Any) -> Fault | None:
    """Any value of JSON will do, but its numbers are finite."""
    if isinstance(value, dict | list):
        check = _values(_any, _NAMES) if isinstance(value, dict) else _items(_any, _NAMES)
        return check(value)
    return None if _is_plain(value, _NAMES) else ("", f"is {short(value)}, which no machine counts with")


def _fields(kind: Any) -> Check:
    """Of a TypedDict, or of a dataclass, which has no other fields."""
    hints = get_type_hints(kind, include_extras=True)
    # Where annotations are texts, Python itself takes NotRequired for required.
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    if is_dataclass(kind):
        optional = {f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING}
    elif not kind.__total__:
        optional = {*hints}
    types = {n: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for n, hint in hints.items()}
    checks, closed = {name: _check_of(each) for name, each in types.items()}, is_dataclass(kind)

    def check(value: Any) -> Fault | None:
        if not isinstance(value, dict):
            return "", "is not a table of values"
        if closed and (unknown := next((name for name in value if name not in checks), None)) is not None:
            return "", f"has {short(unknown)}, which is unknown"
        for name, each in checks.items():
            if name not in value:
                if name not in optional:
                    return "", f"lacks {name!r}"
            elif fault := each(value[name]):
                return f".{name}{fault[0]}", fault[1]
        return None

    return check


def _items(item: Check, plain: Container[type]) -> Check:
    """Of a list; `plain` are the plain types of its items."""

    def check(value: Any) -> Fault | None:
        if not isinstance(value, list):
            return "", "is not a list"
        for index, each in enumerate(value):
            if not _is_plain(each, plain) and (fault := item(each)):
                return f"[{index}]{fault[0]}", fault[1]
        return None

    return check


def _values(item: Check, plain: Container[type]) -> Check:
    """Of a dictionary; `plain` are the plain types of its values."""

    def check(value: Any) -> Fault | None:
        if not isinstance(value, dict):
            return "", "is not a table of values"
        for name, each in value.items():
            if not _is_plain(each, plain) and (fault := item(each)):
                return f".{name}{fault[0]}", fault[1]
        return None

    return check


def _tuple(items: Sequence[Check]) -> Check:
    """Of a list of so many items, each of its own type."""

    def check(value: Any) -> Fault | None:
        if not isinstance(value, list) or len(value) != len(items):
            return "", f"is not a list of {len(items)}"
        faults = ((index, item(each)) for index, (item, each) in enumerate(zip(items, value, strict=True)))
        return next(((f"[{index}]{fault[0]}", fault[1]) for index, fault in faults if fault), None)

    return check


def _union(members: Sequence[Check], plain: Container[type]) -> Check:
    """Of one of several types, `plain` among them. What is not null is what else it may be: its fault says most."""

    def check(value: Any) -> Fault | None:
        if _is_plain(value, plain):
            return None
        faults = [member(value) for member in members]
        return None if None in faults else faults[0]

    return check


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
