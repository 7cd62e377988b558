"""What a method declares: its names, its options, how tables and figures show it. Read without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from issbench.methods.interface.numbers import Range

FACTS = ("title", "table_order", "colour", "marker", "dashes", "cite")
"""Class attributes about one method and no other: a class that derives from it does not inherit them."""


class SourceText(str):
    """The source text of a default that is not a literal: its value is known only where the class is imported."""

    __slots__ = ()


@dataclass(frozen=True)
class Option:
    """An option of a method: a field of the dataclass `Options`.

    `kind` is bool, int, float, str or a Literal. It is None where the annotation is anything else; a value that the
    user gives then stays text. `default` is the published value, or a SourceText. `within`: the range of a number
    whose annotation names one.
    """

    name: str
    kind: Any
    default: Any
    within: Range | None = None


@dataclass(frozen=True)
class MethodInfo:
    """A method or part as its source declares it."""

    name: str
    module: str
    class_name: str
    summary: str
    """The first line of its docstring."""
    options: tuple[Option, ...]
    source: Path
    part: bool = False
    """Whether it is a part, to be put on top of a method."""
    parts: tuple[str, ...] = ()
    """The parts that it is made of, in the order of their hooks."""
    not_composable_because: str = ""
    """Why no part can be put on top of it; empty if parts can."""
    published: Mapping[str, Mapping[str, Any]] | None = field(default_factory=dict)
    """Settings that differ from the defaults, by dataset name; None where the source has no literal for them."""
    title: str = ""
    """The name in tables."""
    table_order: int | None = None
    """The place in tables; None: after those that have one."""
    colour: str = ""
    """`#RRGGBB` in figures; empty, like `marker` and `dashes` (matplotlib's): chosen freely."""
    marker: str = ""
    dashes: str = ""
    cite: str = ""
    """Key in `results/references.bib`; those of a combination are separated by commas."""
    upper_bound: bool = False
    """Whether it trains on all data, so that it does not compete for the best result."""
