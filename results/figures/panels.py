"""The panels of a figure: sets of runs that may stand together, and what each is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from issbench.results.comparable import comparable_sets, leaking, not_made_alike, told_apart
from issbench.results.definitions import SCENARIOS, setting_rank
from issbench.results.figures.canvas import FigureError
from issbench.results.make_tables import paper_order
from issbench.results.runs import Run


@dataclass(frozen=True)
class Panel:
    """Finished runs that differ in method and seed (and what the figure varies) alone, as the paper lists them."""

    title: str
    runs: tuple[Run, ...]


def panels(runs: Sequence[Run], *varies: str) -> tuple[list[Panel], list[str]]:
    """The panels of finished runs, and notes on runs that are left out or were not made alike. FigureError where
    none is finished."""
    finished = sorted((run for run in runs if run.complete), key=paper_order)
    notes = [
        f"{run.label}, {_title(run, ())}, seed {run.seed}: {run.unfinished}; left out."
        for run in runs
        if not run.complete
    ]
    if not finished:
        raise FigureError(
            f"no finished run to draw{': ' if notes else ''}{' '.join(notes[:3])}; `bench run` makes some"
        )
    sets = sorted(comparable_sets(finished, *varies), key=_paper_place)
    titles = [_title(members[0], varies) for members in sets]
    found = [
        Panel(f"{title}\n{difference}" if difference else title, tuple(members))
        for title, difference, members in zip(titles, told_apart(titles, sets), sets, strict=True)
    ]
    return found, [*notes, *filter(None, (leaking(finished), not_made_alike(finished)))]


def spread_note(drawn: str, found: Iterable[Panel]) -> str:
    """What the `drawn` ("Bars") of means over seeds are, and over how many seeds."""
    seeds = {(place, run.label, run.seed) for place, panel in enumerate(found) for run in panel.runs}
    counts = sorted({*Counter(each[:2] for each in seeds).values()})
    if counts == [1]:
        return f"One seed each: no {drawn.lower()}, and what another seed would change is not known."
    number = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    alone = f" A method of one seed has no {drawn.lower()}." * (counts[0] == 1)
    return f"{drawn}: ± sample standard deviation over seeds, of which a method has {number}.{alone}"


def _paper_place(runs: Sequence[Run]) -> tuple[int, str, tuple[int, str], str]:
    """Sorts panels as the paper has its scenarios and settings, others after them."""
    run = runs[0]
    split = run.scenario.rpartition("_")[2]
    rank = SCENARIOS.index(split) if split in SCENARIOS else len(SCENARIOS)
    return rank, run.scenario, setting_rank(run.setting), run.order


def _title(run: Run, varies: Sequence[str]) -> str:
    """Scenario, setting, and what is not as usual: a fraction of the images, an order."""
    parts = [run.place]
    parts += [f"order {run.order}"] if run.order not in ("natural", "A") and "order" not in varies else []
    return ", ".join(parts)
