"""Which runs of several methods may be compared, and what the comparison says, as a table with sentences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from issbench.errors import did_you_mean
from issbench.results.bootstrap import Interval, paired_interval
from issbench.results.comparable import comparable_sets, leaking, not_made_alike, question
from issbench.results.runs import RecordError, Run
from issbench.results.significance import friedman_test, wilcoxon_test
from issbench.results.table import MISSING, Table, text_table


@dataclass(frozen=True)
class MatchedRuns:
    """Runs that differ in nothing but the method: one for each method, in the order asked for. A cell of a test."""

    runs: tuple[Run, ...]

    @property
    def facts(self) -> tuple[str, str, str, str]:
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


def compare(runs: Sequence[Run], methods: Sequence[str], group: str = "all") -> Table:
    """Methods are named as records have them. Two: differences of mIoU (%) with their intervals, cell by cell.
    More: their mean ranks.

    The notes say in words what is significant. Raises RecordError where there is nothing to compare.
    """
    cells, notes = match(runs, methods)
    known = [cell for cell in cells if None not in cell.scores(group)]
    if len(known) < len(cells):
        notes.append(f"Left out: {len(cells) - len(known)} cells in which group {group} has no mIoU.")
    if not known:
        raise RecordError(f"no runs of {' and '.join(methods)} can be compared. {' '.join(notes)}")
    repeated = len({cell.facts for cell in known}) < len(known)
    if repeated:
        notes.append("Several runs of one cell differ in recipe or data: no test is made over all of them.")
    table = _pairs if len(methods) == 2 else _ranks
    return table(known, methods, group, notes, repeated)


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


def _pairs(cells: list[MatchedRuns], methods: Sequence[str], group: str, notes: list[str], repeated: bool) -> Table:
    a, b = methods
    rows, intervals, scores, errors = [], [], [], []
    for cell in cells:
        one, other = cell.scores(group)
        assert one is not None and other is not None  # `compare` leaves the others out
        scores.append((one, other))
        try:
            found = paired_interval(cell.runs[0], cell.runs[1], group)
            intervals.append(found)
            interval_cells = [f"{found.low:+.2f} to {found.high:+.2f}", _verdict(found, a, b)]
        except RecordError as error:
            errors.append(str(error))
            interval_cells = [MISSING, MISSING]
        which = [cell.runs[0].name[-8:]] if repeated else []
        rows.append([*cell.facts, *which, f"{one:.2f}", f"{other:.2f}", f"{one - other:+.2f}", *interval_cells])
    header = ["scenario", "setting", "order", "seed", *(["run"] if repeated else []), a, b]
    header += ["difference", "95% interval", "better"]
    if errors:
        notes.append(f"No interval for {len(errors)} of {len(cells)} cells, such as: {errors[0]}.")
    claims = [_over_images(intervals, a, b)] if intervals else []
    if not repeated:
        claims += [_over_cells(scores, a, b), *_over_seeds(cells, scores), *_dependence(cells)]
    return text_table(f"{a} − {b}: mIoU (%) of {group} after the last step", header, rows, [*claims, *notes])


def _verdict(found: Interval, a: str, b: str) -> str:
    return (a if found.low > 0 else b) if found.significant else "neither"


def _over_images(intervals: list[Interval], a: str, b: str) -> str:
    if len(intervals) == 1:
        start = intervals[0].sentence(a, b)
    else:
        wins, losses = sum(i.low > 0 for i in intervals), sum(i.high < 0 for i in intervals)
        start = (
            f"On {wins} of {len(intervals)} cells {a} is better than {b} (the interval of the difference excludes "
            f"0), on {losses} it is worse, on {len(intervals) - wins - losses} the interval includes 0."
        )
    resamples = intervals[0].resamples
    return (
        f"{start} Intervals: paired bootstrap over test images, {resamples} resamples; they do not hold what "
        "another seed would change."
    )


def _over_cells(scores: list[tuple[float, float]], a: str, b: str) -> str:
    one, other = zip(*scores, strict=True)
    return wilcoxon_test(one, other).sentence(a, b)


def _over_seeds(cells: list[MatchedRuns], scores: list[tuple[float, float]]) -> list[str]:
    """Mean difference of each scenario, setting and order that has several seeds."""
    places: dict[tuple[str, ...], list[float]] = {}
    for cell, (one, other) in zip(cells, scores, strict=True):
        places.setdefault(cell.facts[:3], []).append(one - other)
    return [
        f"{', '.join(place)}: {mean(differences):+.2f} ± {stdev(differences):.2f} points (mean and sample standard "
        f"deviation over {len(differences)} seeds)."
        for place, differences in places.items()
        if len(differences) > 1
    ]


def _dependence(cells: list[MatchedRuns]) -> list[str]:
    """A caution where cells repeat a scenario."""
    scenarios = {cell.facts[0] for cell in cells}
    if len(scenarios) == len(cells):
        return []
    return [
        f"The {len(cells)} cells come from {len(scenarios)} scenario{'s' * (len(scenarios) > 1)}; seeds and orders "
        "of one scenario are no independent data sets, so a p-value is smaller than other scenarios would give."
    ]


def _ranks(cells: list[MatchedRuns], methods: Sequence[str], group: str, notes: list[str], repeated: bool) -> Table:
    scores = np.array([cell.scores(group) for cell in cells], float)
    if repeated or len(cells) < 2:
        why = "several runs of one cell differ in recipe or data" if repeated else "all share only 1 cell"
        raise RecordError(
            f"no ranks of {', '.join(methods)}: {why}; the test takes 2 cells or more. {' '.join(notes)}"
        )
    found = friedman_test(methods, scores)
    means = dict(zip(methods, scores.T.tolist(), strict=True))
    rows = [
        [name, f"{rank:.2f}", f"{mean(means[name]):.2f}"]
        for name, rank in zip(found.methods, found.ranks, strict=True)
    ]
    title = f"Mean ranks by mIoU (%) of {group} after the last step, {len(cells)} cells"
    claims = [found.sentence(), *_dependence(cells), *notes]
    return text_table(title, ["method", "mean rank", "mean mIoU"], rows, claims)
