"""Which runs of several methods may be compared: those that differ in nothing but the method."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from issbench.errors import did_you_mean
from issbench.results.comparable import comparable_sets, leaking, not_made_alike, question
from issbench.results.runs import RecordError, Run
from issbench.results.units import Facts


@dataclass(frozen=True)
class MatchedRuns:
    """Runs that differ in nothing but the method: one for each method, in the order asked for. A cell of a test."""

    runs: tuple[Run, ...]

    @property
    def facts(self) -> Facts:
        """Scenario, setting with the fraction of images where it is not 1, order and seed."""
        run = self.runs[0]
        classes = f" ({', '.join(run.experiment['classes'])})" if run.experiment["classes"] else ""
        return run.scenario + classes, run.condition, run.order, str(run.seed)

    def scores(self, group: str) -> list[float | None]:
        """mIoU (%) of a group after the last step, for each method."""
        found = []
        for run in self.runs:
            scores = run.last["metrics"]["miou"] | run.last["metrics"]["groups"]
            if group not in scores:
                raise RecordError(f"{run.name} has no group {group!r}; it has {', '.join(scores)}")
            found.append(scores[group])
        return found


def mixed(cells: Sequence[MatchedRuns]) -> bool:
    """Whether cells of one scenario, setting and order differ in recipe, data or protocol: they are then no
    repetitions of each other, and nothing may be averaged over them."""
    own = [run for cell in cells for run in cell.runs if not run.imported]
    several = len(comparable_sets(own)) > len({question(run) for run in own})
    return several or len({cell.facts for cell in cells}) < len(cells)


def known_scores(cells: Sequence[MatchedRuns], group: str) -> list[tuple[MatchedRuns, list[float]]]:
    """The cells in which each method has an mIoU (%) of the group, with these."""
    found = [(cell, [score for score in cell.scores(group) if score is not None]) for cell in cells]
    return [(cell, scores) for cell, scores in found if len(scores) == len(cell.runs)]


def match(runs: Sequence[Run], methods: Sequence[str]) -> tuple[list[MatchedRuns], list[str]]:
    """The cells that all methods have, and notes on what is left out or was not made alike.

    Raises RecordError for an unknown method.
    """
    if len(set(methods)) < max(2, len(methods)):
        raise RecordError(f"compare takes two methods or more, each once; got {', '.join(methods)}")
    there = sorted({run.spec for run in runs})
    for method in methods:
        if method not in there:
            hint = did_you_mean(method, there, f"it has {', '.join(there) or 'none'}", cutoff=0.6)
            raise RecordError(f"no run of {method} in the run store; {hint}")
    asked = [run for run in runs if run.spec in methods]
    places: dict[tuple[Hashable, int], list[Run]] = {}
    for run in asked:
        if run.complete:
            places.setdefault((question(run), run.seed), []).append(run)
    notes = [f"Left out, {run.unfinished}: {run.name}." for run in asked if not run.complete]
    cells = []
    for members in places.values():
        found, why = _cells(members, methods)
        cells += found
        if why:
            notes.append(f"Left out, {why}: {', '.join(run.name for run in members)}.")
    compared = [run for cell in cells for run in cell.runs]
    notes += filter(None, (leaking(compared), not_made_alike(compared)))
    return sorted(cells, key=lambda cell: (*cell.facts[:3], cell.runs[0].seed)), notes


def _cells(members: list[Run], methods: Sequence[str]) -> tuple[list[MatchedRuns], str]:
    """Cells of one scenario, order and seed, one for each recipe and data; or why there is none."""
    lacking = [method for method in methods if all(run.spec != method for run in members)]
    if lacking:
        return [], f"no run of {', '.join(lacking)} beside"
    cells = []
    for chosen in comparable_sets(members):
        fitting = {run.spec: run for run in chosen}
        # Order A of VOC is the natural one: two runs with the same steps are one.
        if any(run.last["key"] != fitting[run.spec].last["key"] for run in chosen):
            return [], "several runs of one method"
        if len(fitting) == len(methods):
            cells.append(MatchedRuns(tuple(fitting[method] for method in methods)))
    return cells, "" if cells else "trained by different recipes, or on different data"
