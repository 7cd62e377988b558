"""Which runs may share a panel of a figure, and what the panel is called."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from issbench.results.definitions import SCENARIOS, SETTINGS, Spec, method_row
from issbench.results.figures.canvas import FigureError
from issbench.results.runs import Run
from issbench.results.tables import paper_order


@dataclass(frozen=True)
class Panel:
    """Finished runs that differ in method and seed (and what the figure varies) alone, as the paper lists them."""

    title: str
    runs: tuple[Run, ...]


def label(run: Run) -> str:
    """The method as figures name it, with the options that the user gave."""
    return method_row(Spec.of(run))[0]


def panels(runs: Sequence[Run], *varies: str) -> tuple[list[Panel], list[str]]:
    """The panels of finished runs, and notes on runs that are left out. FigureError where none is finished.

    Runs of different recipe or protocol never share one. An imported run's recipe is unknown; it goes with every
    recipe of ours.
    """
    finished = sorted((run for run in runs if run.complete), key=paper_order)
    notes = [_unfinished(run) for run in runs if not run.complete]
    if not finished:
        raise FigureError(
            f"no finished run to draw{': ' if notes else ''}{' '.join(notes[:3])}; `bench run` makes some"
        )
    places: dict[str, list[Run]] = {}
    for run in finished:
        places.setdefault(json.dumps(_place(run, varies), sort_keys=True), []).append(run)
    sets = [members for place in sorted(places.values(), key=_paper_place) for members in _by_recipe(place)]
    titles = _titles([members[0] for members in map(_ours_first, sets)], varies)
    return [Panel(title, tuple(members)) for title, members in zip(titles, sets, strict=True)], notes


def _unfinished(run: Run) -> str:
    done = len(run.record["steps"])
    return (
        f"{label(run)}, {_title(run, ())}, seed {run.experiment['seed']}: unfinished, {done} steps done; left out."
    )


def _place(run: Run, varies: Sequence[str]) -> dict[str, Any]:
    left_out = ("method", "seed", "recipe", "data", *varies)
    facts = run.experiment | {"order": run.order}
    return {key: value for key, value in facts.items() if key not in left_out}


def _paper_place(runs: Sequence[Run]) -> tuple:
    """Sorts places as the paper has its scenarios and settings, others after them."""
    e = runs[0].experiment
    split = e["scenario"].rpartition("_")[2]
    rank = SCENARIOS.index(split) if split in SCENARIOS else len(SCENARIOS)
    return rank, e["scenario"], SETTINGS.index(e["setting"]), runs[0].order


def _recipe(run: Run) -> dict[str, Any] | None:
    """The recipe, with the arithmetic in which `precision=auto` ended."""
    return None if run.imported else run.experiment["recipe"] | {"precision": run.last["recipe"]["precision"]}


def _by_recipe(runs: Sequence[Run]) -> list[list[Run]]:
    recipes: list[dict[str, Any] | None] = []
    for run in runs:
        if not run.imported and _recipe(run) not in recipes:
            recipes.append(_recipe(run))
    return [[run for run in runs if run.imported or _recipe(run) == recipe] for recipe in recipes or [None]]


def _ours_first(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.imported)


def _titles(runs: Sequence[Run], varies: Sequence[str]) -> list[str]:
    """Scenario, setting and what is unusual; panels that would share a title also tell in what they differ."""
    short = [_title(run, varies) for run in runs]
    counts = Counter(short)
    return [
        title
        + (f"\n{_difference(run, [r for r, t in zip(runs, short, strict=True) if t == title])}")
        * (counts[title] > 1)
        for title, run in zip(short, runs, strict=True)
    ]


def _title(run: Run, varies: Sequence[str]) -> str:
    e = run.experiment
    parts = [e["scenario"], e["setting"]]
    parts += [f"order {run.order}"] if run.order not in ("natural", "A") and "order" not in varies else []
    return ", ".join(parts)


def _difference(run: Run, others: Sequence[Run]) -> str:
    def facts(of: Run) -> dict[str, Any]:
        classes = {"classes": ", ".join(of.experiment["classes"]) or "all"}
        return of.experiment["protocol"] | (_recipe(of) or {"recipe": "unknown"}) | classes

    mine, all_facts = facts(run), [facts(other) for other in others]
    told = [k for k in mine if len({json.dumps(other.get(k)) for other in all_facts}) > 1]
    return ", ".join(f"{key}={mine[key]}" for key in told[:4])
