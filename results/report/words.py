"""The statistics in words: all methods by mean rank, and the best against the second."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from issbench.results.compare import compare
from issbench.results.report.boxes import table_box
from issbench.results.report.markup import Html, joined, listing, tag
from issbench.results.runs import RecordError, Run


def statistics(places: dict[str, list[Run]]) -> Html:
    """What is significant on each scenario, and over all of them where there are several."""
    parts = [joined(tag("h3", title), _place(members)) for title, members in places.items()]
    if len(places) > 1:
        parts += [tag("h3", "All scenarios together"), _together(places)]
    return joined(*parts)


def shared(places: dict[str, list[Run]]) -> list[Run]:
    """The runs of the methods that are finished in each place: only these can be compared over all of them."""
    methods = set.intersection(*({*_scores(members)} for members in places.values()))
    return [run for members in places.values() for run in members if run.spec in methods]


def _together(places: dict[str, list[Run]]) -> Html:
    runs = shared(places)
    if len(_scores(runs)) < 2:
        return tag("p", "Fewer than two methods are finished on each scenario and setting: nothing to compare.")
    return _place(runs)


def _place(runs: Sequence[Run]) -> Html:
    scores = _scores(runs)
    parts = []
    if len(scores) > 2:
        parts.append(_comparison(runs, list(scores)))
    if len(scores) > 1:
        parts.append(_comparison(runs, list(scores)[:2]))
    return joined(*parts) if parts else tag("p", "Fewer than two methods are finished: nothing to compare.")


def _scores(runs: Sequence[Run]) -> dict[str, float]:
    """Mean mIoU of all classes after the last step by method, the best first; without upper bounds."""
    found: dict[str, list[float]] = {}
    for run in runs:
        score = run.last["metrics"]["groups"].get("all")
        if run.complete and score is not None and not run.method["upper_bound"]:
            found.setdefault(run.spec, []).append(score)
    means = {method: mean(values) for method, values in found.items()}
    return dict(sorted(means.items(), key=lambda pair: -pair[1]))


def _comparison(runs: Sequence[Run], methods: list[str]) -> Html:
    """The comparison, or why there is none."""
    try:
        return table_box(compare(runs, methods))
    except RecordError as error:
        names = f"{len(methods)} methods" if len(methods) > 2 else " against ".join(methods)
        return listing([f"No comparison of {names}: {error}"])
