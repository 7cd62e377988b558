"""What was seen of trainings (`--diagnose`), as numbers that figures and the report show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import mean, stdev

from issbench.results.record import Diagnosis
from issbench.results.runs import Run
from issbench.results.table import Cell, Head, Table


def diagnosed(runs: Iterable[Run]) -> list[Run]:
    """The runs of which something was seen."""
    return [run for run in runs if any(True for _ in looks(run))]


def looks(run: Run) -> Iterator[tuple[int, float, Diagnosis]]:
    """All that was seen of a run, in order: the step, how much of its training was over (0 … 1), what was seen."""
    for step in run.steps:
        training = step["training"]
        for each in training.get("diagnosis", []) if training else []:
            yield step["step"], each["epoch"] / max(1, len(training["history"]) if training else 1), each


def precision(seen: Diagnosis) -> list[float | None]:
    """Of the pixels that get an old class as their pseudo-label, how many are of it: in %, for each class."""
    pixels = seen["pseudo_labels"]
    return _percent(pixels["right"], pixels["given"]) if pixels else []


def coverage(seen: Diagnosis) -> list[float | None]:
    """Of the pixels of an old class that are labelled as background, how many get it as their pseudo-label: in %,
    for each class."""
    pixels = seen["pseudo_labels"]
    return _percent(pixels["right"], pixels["hidden"]) if pixels else []


def _percent(parts: Sequence[int], wholes: Sequence[int]) -> list[float | None]:
    return [100 * part / whole if whole else None for part, whole in zip(parts, wholes, strict=True)]


def _mean(values: Iterable[float | None]) -> float | None:
    """Over the classes that have a number."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


MEASURES: dict[str, Callable[[Diagnosis], float | None]] = {
    "precision of pseudo-labels (%)": lambda seen: _mean(precision(seen)),
    "coverage of pseudo-labels (%)": lambda seen: _mean(coverage(seen)),
    "largest probability": lambda seen: seen["confidence"],
    "entropy / maximum": lambda seen: seen["entropy"],
}
"""Numbers in which methods are compared, by name; those of classes are means over the old classes that have one."""

PARTS: dict[str, Callable[[Diagnosis], Mapping[str, float | None]]] = {
    "mean |G|": lambda seen: seen["gradients"],
    "share of the loss (%)": lambda seen: shares(seen["losses"]),
    "share of the logits' gradient (%)": lambda seen: shares(seen["logit_gradients"]),
}
"""Numbers of one method's groups of classes, and of its terms, by name."""


def shares(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """How much each value has of the sum of all, by their sizes; in %. None where that is not known."""
    whole = sum(abs(value) for value in values.values() if value is not None)
    known = whole and None not in values.values()
    return {
        name: 100 * abs(value) / whole if known and value is not None else None for name, value in values.items()
    }


def class_table(runs: Sequence[Run], title: str) -> Table:
    """Precision and coverage (%) of the pseudo-labels for each old class, when the last step that was looked at
    ends: the mean over seeds. The runs differ in method and seed alone."""
    methods: dict[str, list[Diagnosis]] = {}
    for run in runs:
        methods.setdefault(run.label, []).append([*looks(run)][-1][-1])
    kinds = {"precision": precision, "coverage": coverage}
    heads: list[Head] = [("class",), *((method, kind) for method in methods for kind in kinds)]
    columns = [[kind(seen) for seen in found] for found in methods.values() for kind in kinds.values()]
    count = max((len(seeds) for column in columns for seeds in column), default=0)
    names = runs[0].record["class_names"][1 : count + 1]
    cells = [[Cell(text=name), *(_over_seeds(column, row) for column in columns)] for row, name in enumerate(names)]
    seeds = ", ".join(f"{method} {len(found)}" for method, found in methods.items())
    note = (
        "At the end of the last step, on some of its training images; mean ± sample standard deviation over seeds "
        f"({seeds})."
    )
    return Table(f"Pseudo-labels of old classes (%), {title}", heads, cells, [note])


def _over_seeds(column: Sequence[Sequence[float | None]], row: int) -> Cell:
    """The mean of a class over seeds; missing where one has no number, since a mean over the rest would mislead."""
    values = [seed[row] if row < len(seed) else None for seed in column]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Cell()
    return Cell(mean(known), stdev(known) if len(known) > 1 else None)
