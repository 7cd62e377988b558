"""What `bench compare` and the report print of several methods: tables of differences with intervals, and words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from issbench.results.claims import (
    MIXED,
    NOT_TOLD_APART,
    claims,
    interval_text,
    p_text,
    percent,
    points,
    scope,
    winner,
)
from issbench.results.comparison import Comparison, Resamples, best_first, comparison
from issbench.results.estimate import LEVEL, POWER
from issbench.results.matched import MatchedRuns, known_scores, match, mixed
from issbench.results.runs import RecordError, Run
from issbench.results.significance import holm, ranking
from issbench.results.table import MISSING, Table, text_table
from issbench.results.units import LEVELS, units

EQUIVALENCE = 0.5
"""Differences of up to so many points matter to no one, unless the user says otherwise."""
_MOST_NOTES = 6
_ORDER = "Methods stand in the order of their mean difference to each other one, over the cells that the two share."


def compare(
    runs: Sequence[Run], methods: Sequence[str], group: str = "all", equivalence: float = EQUIVALENCE
) -> Table:
    """Methods are named as records have them. Two: differences of mIoU (%) cell by cell, and what follows.
    More: the difference of each pair over the cells that the two have, with Holm's correction over all pairs.

    `equivalence`: differences up to it, in points, count as none in practice. Raises RecordError where there is
    nothing to compare.
    """
    if len(methods) == 2:
        return _two(runs, methods, group, equivalence)
    return _several(runs, methods, group, equivalence)


def _two(runs: Sequence[Run], methods: Sequence[str], group: str, equivalence: float) -> Table:
    a, b = methods
    pair, notes = comparison(runs, a, b, Resamples(group))
    if pair is None:
        raise RecordError(f"no runs of {a} and {b} can be compared. {' '.join(notes)}")
    rows, errors = [], []
    for cell, (one, other) in zip(pair.cells, pair.scores, strict=True):
        try:
            found = pair.on_images(cell)
            interval = f"{points(found.low)} to {points(found.high)}"
        except RecordError as error:
            errors.append(str(error))
            interval = MISSING
        which = [cell.runs[0].name[-8:]] if pair.mixed else []
        rows.append([*cell.facts, *which, f"{one:.2f}", f"{other:.2f}", points(one - other), interval])
    header = ["scenario", "setting", "order", "seed", *(["run"] if pair.mixed else []), a, b]
    header += ["difference", "95% of images"]
    said = claims(pair, equivalence)
    if len(errors) < len(rows):
        said.append(
            "95% of images: of these two networks on other images (paired bootstrap); no other seed is in it."
        )
    if errors:
        notes.append(f"No interval over images for {len(errors)} of {len(rows)} cells, such as: {errors[0]}.")
    return text_table(f"{a} − {b}: mIoU (%) of {group} after the last step", header, rows, [*said, *notes])


def _several(runs: Sequence[Run], methods: Sequence[str], group: str, equivalence: float) -> Table:
    shared, notes = match(runs, methods)
    resamples = Resamples(group)
    found = {pair: comparison(runs, *pair, resamples) for pair in combinations(methods, 2)}
    order = best_first(methods, [pair for pair, _ in found.values() if pair])
    pairs = [pair.led_by(order) for pair, _ in found.values() if pair]
    if not pairs:
        raise RecordError(f"no runs of {' and '.join(methods)} can be compared. {' '.join(notes)}")
    pairs.sort(key=lambda pair: (order.index(pair.a), order.index(pair.b)))
    tested = [pair for pair in pairs if pair.estimate]
    corrected = iter(holm([pair.estimate.p for pair in tested if pair.estimate]))
    rows = [
        _row(pair, next(corrected), len(tested), equivalence) if pair.estimate else _bare(pair) for pair in pairs
    ]
    said = [*_what_is_said(tested), *_ranks(shared, methods, group), _ORDER]
    said += [f"{a} and {b} share no cell. {' '.join(why)}" for (a, b), (pair, why) in found.items() if not pair]
    said += [f"{pair.a} − {pair.b}: not tested. {MIXED}" for pair in pairs if pair.mixed]
    notes = [note.replace("Left out,", "Left out of what all share,", 1) for note in notes]
    notes = [*notes[:_MOST_NOTES], *[f"{len(notes) - _MOST_NOTES} more such notes."] * (len(notes) > _MOST_NOTES)]
    header = ["methods", "over", "difference", "95% interval", "p (Holm)", "better", "detectable"]
    header += [f"> {equivalence:g} / within / worse", "new seed"]
    title = f"Differences of mIoU (%) of {group} after the last step"
    return text_table(title, header, rows, [*said, *notes])


def _row(pair: Comparison, p: float, tested: int, equivalence: float) -> list[str]:
    """A pair that is tested; `p` is corrected for all of the `tested` ones."""
    found = pair.estimate
    assert found is not None
    if pair.identical:
        return [*_bare(pair)[:5], "identical", *[MISSING] * 3]
    decided = winner(pair, p) or NOT_TOLD_APART
    chances = " / ".join(map(percent, found.chances(equivalence)))
    new_seed = MISSING if pair.new_seed is None else percent(pair.new_seed)
    numbers = [interval_text(found), p_text(p).removeprefix("p ").removeprefix("= "), decided]
    return [*_bare(pair)[:3], *numbers, f"{found.detectable(LEVEL / tested):.2f}", chances, new_seed]


def _bare(pair: Comparison) -> list[str]:
    """A pair of which nothing but the difference is known, and not that of cells that are no repetitions."""
    difference = MISSING if pair.mixed else points(pair.difference)
    return [f"{pair.a} − {pair.b}", pair.over, difference, *[MISSING] * 6]


def _what_is_said(tested: Sequence[Comparison]) -> list[str]:
    """The test, its correction, and what a claim is about; or why there is none."""
    if not tested:
        return ["No two methods share several seeds, orders, settings or scenarios: all is about networks alone."]
    scopes = list(dict.fromkeys(scope(pair) for pair in tested))
    about = scopes[0] if len(scopes) == 1 else "on others of what stands under `over`"
    return [
        f"better: {about}. Paired t test (over seeds: with the choice of test images, where these were counted one "
        f"by one), Holm's correction for {len(tested)} pairs, level {LEVEL:.0%}: the chance that any method is "
        f"called better and is not, is at most {LEVEL:.0%}. Intervals and probabilities are not corrected.",
        f"detectable: the true difference that is found with {POWER:.0%} power or more after the correction, if "
        "the spread is as here. new seed: the probability that the first is above the second on a new seed.",
    ]


def _ranks(shared: Sequence[MatchedRuns], methods: Sequence[str], group: str) -> list[str]:
    """Means and mean ranks over the cells that all methods have."""
    known = known_scores(shared, group)
    if not known or mixed([cell for cell, _ in known]):
        return ["No cells that all share, made alike: no means and no ranks."]
    found = units({cell.facts: np.array(scores) for cell, scores in known})
    means = dict(zip(methods, found.values.mean(axis=0), strict=True))
    if len(found) < 2:
        listed = ", ".join(
            f"{name} {value:.2f}" for name, value in sorted(means.items(), key=lambda pair: -pair[1])
        )
        return [f"Over the one {LEVELS[found.level]} that all share: {listed}."]
    ranked = ranking(methods, found.values)
    each = zip(ranked.methods, ranked.ranks, strict=True)
    listed = ", ".join(f"{name} {means[name]:.2f} (mean rank {place:.2f})" for name, place in each)
    return [
        f"Over the {found.over} that all share: {listed}. Friedman test of equal ranks, {ranked.how}: "
        f"{p_text(ranked.p)}. A mean rank depends on who else takes part."
    ]
