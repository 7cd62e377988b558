"""From runs to job arrays: which jobs there are, and which wait for which. Plain values, no Slurm.

A first step that several runs share is one job; the runs wait for it. Slurm is called once for each array, so there
are few: the runs of a first step that very many need are an array; those of the others come in waves, where wave j
holds the j-th run of each of them, at the index of its first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Need:
    """A run to submit, by its position, and the first step that is missing (None: it is in the store)."""

    run: int
    first: str | None
    queued: str | None = None
    """The job of an earlier submission that trains the first step."""


@dataclass(frozen=True)
class After:
    """What the jobs of an array wait for, in Slurm's words."""

    how: Literal["afterok", "aftercorr", "afterany"]
    on: int | str
    """The position of an array before this one, or a job of another submission."""
    index: int | None = None
    """One job of that array."""


@dataclass(frozen=True)
class Array:
    """Jobs that are submitted together: `runs` are positions; `firsts` train just the first steps of these runs."""

    firsts: bool
    runs: tuple[int, ...]
    after: tuple[After, ...] = ()
    at_once: int | None = None
    """How many of them may run at once."""


def lay_out(needs: Sequence[Need], max_size: int, max_parallel: int | None = None) -> list[Array]:
    """The arrays, each after those that it waits for; those of first steps come first. No array has more than
    `max_size` jobs, and no more than `max_parallel` jobs of all of them run at once."""
    shared, alone, queued = _sorted_out(needs)
    # Whatever the numbers, this makes at most about 2·√runs arrays.
    own = min(range(len(shared) + 1), key=lambda count: count + (len(shared[count]) if count < len(shared) else 0))
    waves, own_arrays = shared[own:], shared[:own]
    chunks = list(_chunks(range(len(shared)), max_size))
    ordered = [*waves, *own_arrays]  # the groups of the waves first, so that each has the index of its first step
    arrays = [Array(True, tuple(ordered[group][0] for group in chunk)) for chunk in chunks]
    for position, chunk in enumerate(chunks):
        arrays += _in_waves([ordered[group] for group in chunk if group < len(waves)], position)
        for index, group in enumerate(chunk):
            if group >= len(waves):
                after = (After("afterok", position, index),)
                arrays += [Array(False, part, after) for part in _chunks(ordered[group], max_size)]
    arrays += [Array(False, part) for part in _chunks(alone, max_size)]
    # Not `afterok`: one that fails would end the runs of all others. A run trains the step that is missing.
    others = tuple(After("afterany", job) for job in sorted({need.queued for need in queued if need.queued}))
    arrays += [Array(False, part, others) for part in _chunks([need.run for need in queued], max_size)]
    return arrays if max_parallel is None else _limited(arrays, max_parallel)


def shared_first_steps(needs: Sequence[Need]) -> list[list[int]]:
    """The runs of each missing first step that several runs need, most runs first."""
    return _sorted_out(needs)[0]


def _sorted_out(needs: Sequence[Need]) -> tuple[list[list[int]], list[int], list[Need]]:
    """Groups of runs that share a missing first step, most runs first; runs that wait for nothing; runs whose first
    step is queued already."""
    groups: dict[str, list[int]] = {}
    alone, queued = [], []
    for need in needs:
        if need.queued is not None:
            queued.append(need)
        elif need.first is None:
            alone.append(need.run)
        else:
            groups.setdefault(need.first, []).append(need.run)
    alone += [runs[0] for runs in groups.values() if len(runs) == 1]
    shared = sorted((runs for runs in groups.values() if len(runs) > 1), key=len, reverse=True)
    return shared, sorted(alone), queued


def _in_waves(groups: Sequence[Sequence[int]], position: int) -> Iterator[Array]:
    """Wave after wave of the groups, of which none is longer than the one before it."""
    for wave in range(len(groups[0]) if groups else 0):
        runs = tuple(group[wave] for group in groups if wave < len(group))
        # A single job is no array for Slurm, so it has no index that could correspond.
        after = After("aftercorr", position) if len(runs) > 1 else After("afterok", position, 0)
        yield Array(False, runs, (after,))


def _limited(arrays: list[Array], limit: int) -> list[Array]:
    """The same arrays in lanes that share the limit: in a lane one array follows the other."""
    firsts = [array for array in arrays if array.firsts]
    chained = [
        replace(
            array, at_once=min(limit, len(array.runs)), after=(After("afterany", number - 1),) if number else ()
        )
        for number, array in enumerate(firsts)
    ]
    before = (After("afterany", len(firsts) - 1),) if firsts else ()
    runs = arrays[len(firsts) :]
    lanes = min(limit, len(runs))
    for number, array in enumerate(runs):
        share = limit // lanes + (number % lanes < limit % lanes)
        lane = (After("afterany", len(firsts) + number - lanes),) if number >= lanes else ()
        chained.append(replace(array, at_once=share, after=(*array.after, *before, *lane)))
    return chained


def _chunks(items: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(items), size):
        yield tuple(items[start : start + size])
