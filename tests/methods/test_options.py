"""Options from text: types, names, and what is said about wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from issbench.methods.interface.options import OptionError, parse_options, parse_value
from issbench.methods.method import NoOptions


@dataclass(frozen=True, kw_only=True)
class Options:
    switch: bool = True
    count: int = 3
    weight: float = 0.5
    name: str = "a"
    kind: Literal["paper", "released"] = "paper"


@pytest.mark.parametrize(
    "kind, text, value",
    [
        (bool, "on", True),
        (bool, "Off", False),
        (bool, "true", True),
        (bool, "0", False),
        (bool, True, True),
        (bool, False, False),
        (int, "7", 7),
        (int, -2, -2),
        (float, "1e-3", 0.001),
        (float, 2, 2.0),
        (str, " some text ", "some text"),
        (Literal["paper", "released"], "released", "released"),
    ],
)
def test_values(kind: Any, text: Any, value: Any) -> None:
    found = parse_value("where", kind, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "kind, text, message",
    [
        (bool, "yes", "where=yes: it takes on or off"),
        (bool, "2", "where=2: it takes on or off"),
        (int, "1.5", "where=1.5: it takes a whole number"),
        (int, "", "where=: it takes a whole number"),
        (float, "much", "where=much: it takes a number"),
        (Literal["paper", "released"], "papers", "where=papers: it takes paper, released"),
    ],
)
def test_values_of_the_wrong_type(kind: Any, text: str, message: str) -> None:
    with pytest.raises(OptionError) as info:
        parse_value("where", kind, text)
    assert str(info.value) == message
    assert info.value.exit_code == 2


def test_defaults_then_published_then_given() -> None:
    assert parse_options("m", Options, {}) == Options()
    published = {"weight": 0.1, "count": 5}
    assert parse_options("m", Options, {}, published) == Options(weight=0.1, count=5)
    given = {"weight": "0.2", "switch": "off", "kind": "released"}
    assert parse_options("m", Options, given, published) == Options(
        weight=0.2, count=5, switch=False, kind="released"
    )
    assert published == {"weight": 0.1, "count": 5}


def test_unknown_option() -> None:
    with pytest.raises(OptionError, match="method m has no option 'wieght'; did you mean weight") as info:
        parse_options("m", Options, {"wieght": "1"})
    assert info.value.exit_code == 2
    with pytest.raises(OptionError, match="it has switch, count, weight, name, kind"):
        parse_options("m", Options, {"zzz": "1"})
    with pytest.raises(OptionError, match="it has no options"):
        parse_options("m", NoOptions, {"zzz": "1"})


def test_a_bad_value_names_its_method_and_option() -> None:
    with pytest.raises(OptionError, match=r"^m:switch=maybe: it takes on or off$"):
        parse_options("m", Options, {"switch": "maybe"})
