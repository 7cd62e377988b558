"""What repeats independently: seeds, class orders, settings, or scenarios. What lies within one is averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Facts = tuple[str, str, str, str]
"""Scenario, setting, class order and seed of a cell."""
Cells = Mapping[Facts, np.ndarray]
"""A cell is a value, or one for each method, of runs that differ in nothing but the method."""
LEVELS = ("scenario", "setting", "class order", "seed")


@dataclass(frozen=True, eq=False)
class Units:
    """Values `[units]` or `[units, methods]`, one for each scenario (or else setting, order, seed): means over the
    settings of a scenario, each of which is a mean over its orders, each a mean over its seeds."""

    level: int
    """The place in LEVELS of what the units differ in; a claim is about others of it."""
    fixed: tuple[str, ...]
    """What all units share: scenario, setting and order where the units are seeds."""
    names: tuple[str, ...]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def over(self) -> str:
        """The units in words: `8 seeds`."""
        return f"{len(self)} {LEVELS[self.level]}{'s' * (len(self) != 1)}"

    @property
    def place(self) -> str:
        """What all units share, in words: `voc_15-1, overlapped, order A`; empty for several scenarios."""
        return ", ".join([*self.fixed[:2], *(f"order {order}" for order in self.fixed[2:])])


def units(cells: Cells) -> Units:
    """The units of cells, of which there is at least one: seeds if there is one scenario, setting and order; else
    the outermost of these that differs, because what lies inside one scenario has that scenario in common."""
    facts = next(iter(cells))
    level = next((place for place in range(3) if len({each[place] for each in cells}) > 1), 3)
    groups = _by(cells, level)
    values = np.array([_mean(members, level + 1) for members in groups.values()])
    return Units(level, facts[:level], tuple(groups), values)


def inside(cells: Cells) -> Iterator[Units]:
    """The units within each unit that has several: orders or seeds of each scenario, with what they share."""
    outer = units(cells)
    for members in _by(cells, outer.level).values():
        if outer.level < 3 and len(members) > 1:
            yield units(members)


def places(cells: Cells) -> list[np.ndarray]:
    """The values over seeds of each scenario, setting and order: `[seeds]` or `[seeds, methods]`."""
    found: dict[tuple[str, ...], list[np.ndarray]] = {}
    for facts, value in cells.items():
        found.setdefault(facts[:3], []).append(value)
    return [np.array(values) for values in found.values()]


def _by(cells: Cells, level: int) -> dict[str, dict[Facts, np.ndarray]]:
    groups: dict[str, dict[Facts, np.ndarray]] = {}
    for facts, value in cells.items():
        groups.setdefault(facts[level], {})[facts] = value
    return groups


def _mean(cells: Cells, level: int) -> np.ndarray:
    """The mean of cells that agree above the level: of the means of what differs in it."""
    if level == len(LEVELS):
        return next(iter(cells.values()))
    return np.mean([_mean(members, level + 1) for members in _by(cells, level).values()], axis=0)
