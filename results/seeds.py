"""Which seeds the numbers of a table rest on, and which methods these seeds do not tell from the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb
from statistics import fmean

from issbench.results.definitions import AVERAGE, Definition, RowName
from issbench.results.estimate import LEVEL, estimate
from issbench.results.pivot import Pivot
from issbench.results.table import Head

_RANGE = 4
"""From so many seeds in a row on, first and last are named."""

Seeds = tuple[int, ...]


def with_seeds_told(pivot: Pivot) -> tuple[Pivot, str]:
    """With a footnote on what rests on other seeds than most: at the row where all its cells do, else at the cell.
    And in words what ± is, and over which seeds."""
    known = pivot.cells[(pivot.cells["count"] > 0) & pivot.cells["value"].notna()]
    places = {place for place in zip(known["row"], known["head"], strict=True) if place in pivot.numbers}
    seeds: dict[tuple[RowName, Head], Seeds] = {place: tuple(sorted(pivot.numbers[place])) for place in places}
    if not seeds:
        return pivot, ""
    counts = Counter(seeds.values())
    usual = max(counts, key=lambda found: (counts[found], len(found), found))
    rows = dict(pivot.rows)
    for row, facts in rows.items():
        found = {of for (name, _), of in seeds.items() if name == row}
        if len(found) == 1 and usual not in found:
            rows[row] = replace(facts, remark="; ".join(filter(None, [facts.remark, _words(*found)])))
            seeds = {place: of for place, of in seeds.items() if place[0] != row}
    unusual = {place: _words(of) for place, of in seeds.items() if of != usual}
    pairs = zip(pivot.cells["row"], pivot.cells["head"], pivot.cells["footnote"], strict=True)
    cells = pivot.cells.assign(footnote=[note or unusual.get((row, head), "") for row, head, note in pairs])
    return replace(pivot, cells=cells, rows=rows), _spread(usual, len(counts) > 1)


def _spread(usual: Seeds, several: bool) -> str:
    where = " where no footnote says otherwise" * several
    if len(usual) > 1:
        return f"mean ± sample standard deviation over {_words(usual)}{where}"
    if several:
        return f"one seed ({usual[0]}){where}; else mean ± sample standard deviation over seeds"
    return f"one seed ({usual[0]}): what another would change is not known"


def _words(seeds: Seeds) -> str:
    """`3 seeds (0, 1, 4)`."""
    in_a_row = len(seeds) >= _RANGE and seeds[-1] - seeds[0] == len(seeds) - 1
    names = f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))
    return f"{len(seeds)} seed{'s' * (len(seeds) > 1)} ({names})"


def within_noise(pivot: Pivot, definition: Definition) -> tuple[Pivot, str]:
    """With all marked that the seeds do not tell from the best of a column: where the t interval of the difference
    to it, paired by seed, holds 0. And in words what is marked.

    The intervals of a column hold together with 95 %: the level is Bonferroni's over all pairs, since the best was
    chosen by the same numbers. Of a row that shares fewer than two seeds with the best nothing is known. Where that
    is so of all, nothing is marked.
    """
    competing = [row for row, facts in pivot.rows.items() if not facts.bound]
    marked: dict[Head, set[RowName]] = {}
    unknown: set[RowName] = set()
    for head in pivot.heads:
        values = {row: found for row in competing if (found := _by_seed(pivot, row, head))}
        if len(values) < 2:
            continue
        best = (min if definition.lower else max)(values, key=lambda row: fmean(values[row].values()))
        apart = {row: _differences(found, values[best]) for row, found in values.items() if row != best}
        unknown |= {row for row, differences in apart.items() if len(differences) < 2}
        told = {row: differences for row, differences in apart.items() if len(differences) > 1}
        if told:
            pairs = comb(len(told) + 1, 2)
            marked[head] = {best, *(row for row, differences in told.items() if _holds_zero(differences, pairs))}
    names = [_name(row, definition.stubs) for row in competing if row in unknown]
    return replace(pivot, marked=marked), _explained(names, bool(marked))


def _name(row: RowName, stubs: Sequence[str]) -> str:
    """The name of a row; of check marks, what they stand under."""
    return row[0] if len(row) == 1 else "+".join(stub for stub, mark in zip(stubs, row, strict=True) if mark)


def _by_seed(pivot: Pivot, row: RowName, head: Head) -> dict[int, float]:
    """What each seed gives in a cell; of an average over orders, each seed that has all of them."""
    if head[-1] != AVERAGE:
        return {seed: value for seed, value in pivot.numbers.get((row, head), {}).items() if value is not None}
    orders = [_by_seed(pivot, row, other) for other in pivot.heads if other[:2] == head[:2] and other != head]
    return {seed: fmean(order[seed] for order in orders) for seed in set.intersection(*map(set, orders))}


def _differences(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    return [one[seed] - other[seed] for seed in one if seed in other]


def _holds_zero(differences: Sequence[float], intervals: int) -> bool:
    """Whether the t interval of the mean of two differences or more holds 0, up to rounding; so wide that so many
    intervals hold together with 95 %."""
    low, high = estimate(differences).interval(1 - LEVEL / intervals)
    return low <= 0 <= high


def _explained(unknown: Sequence[str], any_marked: bool) -> str:
    names = ", ".join(unknown)
    lacking = f" Of {names} nothing can be said where fewer than two seeds are shared with the best." * bool(names)
    if not any_marked:
        return f"Nothing is marked: the noise of a number shows from two seeds on.{lacking}"
    return (
        "Marked: the best of a column, and all whose difference to it, paired by seed, has a t interval that holds "
        "0 (95 % for all pairs of a column together, Bonferroni): these seeds do not tell them apart, which does "
        f"not make them equal.{lacking}"
    )
