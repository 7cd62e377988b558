"""From runs to job arrays: which jobs there are, and what they wait for. Plain values, no Slurm.

    first steps that several runs share   [f f f] ──┐
    runs that need no job of another      [r r r r] │ afterany
    runs that need one of those steps               └─> [r r r r r r r]

An array longer than the cluster takes is divided. With a limit of jobs at once, each array also waits for the one
before it. A run whose first step failed ends at once; one whose first step is missing otherwise trains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Need:
    """A run to submit, by its position, and the key of its first step if that is missing in the store."""

    run: int
    first: str | None
    queued: str | None = None
    """The job of an earlier submission that trains the first step."""


@dataclass(frozen=True)
class Array:
    """Jobs that are submitted together: `runs` are positions; `firsts` train just the first steps of these runs."""

    firsts: bool
    runs: tuple[int, ...]
    after: tuple[int | str, ...] = ()
    """What must have ended before: arrays by their positions, and jobs of other submissions."""
    at_once: int | None = None
    """How many of them may run at once."""


def lay_out(needs: Sequence[Need], max_size: int, max_parallel: int | None = None) -> list[Array]:
    """The arrays, each after those that it waits for. None has more than `max_size` jobs, and no more than
    `max_parallel` jobs of all of them run at once."""
    groups = shared_first_steps(needs)
    waiting = {run for group in groups for run in group} | {need.run for need in needs if need.queued}
    arrays = [Array(True, part) for part in _parts((group[0] for group in groups), max_size)]
    after = (*range(len(arrays)), *sorted({need.queued for need in needs if need.queued}))
    arrays += [Array(False, part) for part in _parts((n.run for n in needs if n.run not in waiting), max_size)]
    arrays += [Array(False, part, after) for part in _parts((n.run for n in needs if n.run in waiting), max_size)]
    if max_parallel is None:
        return arrays
    return [
        replace(array, after=_unique(array.after, range(position)[-1:]), at_once=min(max_parallel, len(array.runs)))
        for position, array in enumerate(arrays)
    ]


def shared_first_steps(needs: Sequence[Need]) -> list[list[int]]:
    """The runs of each first step that several runs need and no job trains yet."""
    groups: dict[str, list[int]] = {}
    for need in needs:
        if need.first is not None and need.queued is None:
            groups.setdefault(need.first, []).append(need.run)
    return [group for group in groups.values() if len(group) > 1]


def _unique(*parts: Iterable[int | str]) -> tuple[int | str, ...]:
    return tuple(dict.fromkeys(item for part in parts for item in part))


def _parts(runs: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    rest = tuple(runs)
    while rest:
        yield rest[:size]
        rest = rest[size:]
