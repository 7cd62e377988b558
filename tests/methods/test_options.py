"""Options from text: types, names, and the messages about wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from issbench.methods.interface.info import MethodInfo, Option, SourceText
from issbench.methods.interface.options import (
    OptionError,
    canonical_options,
    parse_value,
    resolved_options,
    spell,
)

DEFAULTS = {"switch": True, "count": 3, "weight": 0.5, "name": "a", "kind": "paper"}
KINDS = {"kind": Literal["paper", "released"]}
OPTIONS = tuple(Option(name, KINDS.get(name, type(value)), value) for name, value in DEFAULTS.items())
INFO = MethodInfo("m", "module", "M", "", OPTIONS, Path(), published={"small": {"weight": 0.1, "count": 5}})


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
        (Literal[1, 2], "2", 2),
        (None, "(1, 2)", "(1, 2)"),
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
        (float, "nan", "where=nan: it takes a finite number"),
        (float, "-inf", "where=-inf: it takes a finite number"),
        (float, "1e999", "where=1e999: it takes a finite number"),
        (int, "9" * 5000, f"where={'9' * 5000}: it takes a whole number"),
        (Literal["paper", "released"], "papers", "where=papers: it takes paper, released"),
    ],
)
def test_values_of_the_wrong_type(kind: Any, text: str, message: str) -> None:
    with pytest.raises(OptionError) as info:
        parse_value("where", kind, text)
    assert str(info.value) == message
    assert info.value.exit_code == 2


def test_defaults_then_published_then_given() -> None:
    assert resolved_options(INFO, "large", {}) == DEFAULTS
    assert resolved_options(INFO, "small", {}) == DEFAULTS | {"weight": 0.1, "count": 5}
    given = {"weight": "0.2", "switch": "off", "kind": "released"}
    resolved = resolved_options(INFO, "small", given)
    assert resolved == DEFAULTS | {"weight": 0.2, "count": 5, "switch": False, "kind": "released"}
    assert list(resolved) == list(DEFAULTS)
    assert INFO.published == {"small": {"weight": 0.1, "count": 5}}


@pytest.mark.parametrize(
    "dataset, given, canonical",
    [
        ("large", {}, {}),
        ("large", {"weight": ".5", "switch": "True", "count": " 3 ", "kind": "paper", "name": "a"}, {}),
        ("large", {"weight": ".30", "switch": "0"}, {"switch": "off", "weight": "0.3"}),
        ("large", {"weight": "3e-1"}, {"weight": "0.3"}),
        ("large", {"weight": "1", "count": "+5"}, {"count": "5", "weight": "1.0"}),
        ("small", {"weight": "0.1", "count": "5"}, {}),
        ("small", {"weight": "0.5", "count": "3"}, {"count": "3", "weight": "0.5"}),
        ("large", {"weight": "-0.0"}, {"weight": "0.0"}),
        ("large", {"kind": "released", "name": "b"}, {"kind": "released", "name": "b"}),
    ],
)
def test_equal_settings_in_other_spelling_are_one(
    dataset: str, given: dict[str, str], canonical: dict[str, str]
) -> None:
    found = canonical_options(INFO, dataset, given)
    assert found == canonical and list(found) == sorted(found)
    assert canonical_options(INFO, dataset, found) == found
    whole, short = (resolved_options(INFO, dataset, options) for options in (given, found))
    assert {name: spell(value) for name, value in whole.items()} == {
        name: spell(value) for name, value in short.items()
    }


def test_defaults_that_only_the_class_knows() -> None:
    option = Option("limit", int, SourceText("LIMIT"))
    info = replace(INFO, options=(*OPTIONS, option))
    assert resolved_options(info, "large", {}) == DEFAULTS
    assert resolved_options(info, "large", {"limit": "4"}) == DEFAULTS | {"limit": 4}
    assert canonical_options(info, "large", {"limit": "4"}) == {"limit": "4"}


@pytest.mark.parametrize("ask", [resolved_options, canonical_options])
def test_wrong_options(ask: Any) -> None:
    with pytest.raises(OptionError, match="method m has no option 'wieght'; did you mean weight") as info:
        ask(INFO, "large", {"wieght": "1"})
    assert info.value.exit_code == 2
    with pytest.raises(OptionError, match="it has switch, count, weight, name, kind"):
        ask(INFO, "large", {"zzz": "1"})
    with pytest.raises(OptionError, match="it has no options"):
        ask(replace(INFO, options=()), "large", {"zzz": "1"})
    with pytest.raises(OptionError, match=r"^m:switch=maybe: it takes on or off$"):
        ask(INFO, "large", {"switch": "maybe"})
    with pytest.raises(OptionError, match="`published` of method m cannot be read"):
        ask(replace(INFO, published=None), "large", {})
