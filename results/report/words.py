"""The statistics in words: each method against each other, the best against the second first."""

from __future__ import annotations

from collections.abc import Sequence

from issbench.results.compare import compare
from issbench.results.report.boxes import table_box
from issbench.results.report.markup import Html, joined, listing, tag
from issbench.results.runs import RecordError, Run

_EACH = "Each table is corrected for its own pairs of methods, not for the number of tables."


def statistics(places: dict[str, list[Run]]) -> Html:
    """What is said of methods on each scenario, and over all of them where there are several."""
    parts = [tag("p", _EACH)] * (len(places) > 1)
    parts += [joined(tag("h3", title), _place(members)) for title, members in places.items()]
    if len(places) > 1:
        parts += [tag("h3", "All scenarios together"), _together(places)]
    return joined(*parts)


def shared(places: dict[str, list[Run]]) -> list[Run]:
    """The runs of the methods that are finished in each place: only these can be compared over all of them."""
    methods = set.intersection(*({*_methods(members)} for members in places.values()))
    return [run for members in places.values() for run in members if run.spec in methods]


def _together(places: dict[str, list[Run]]) -> Html:
    runs = shared(places)
    if len(_methods(runs)) < 2:
        return tag("p", "Fewer than two methods are finished on each scenario and setting: nothing to compare.")
    return _place(runs)


def _place(runs: Sequence[Run]) -> Html:
    """The comparison, or why there is none."""
    methods = _methods(runs)
    if len(methods) < 2:
        return tag("p", "Fewer than two methods are finished: nothing to compare.")
    try:
        return table_box(compare(runs, methods))
    except RecordError as error:
        return listing([f"No comparison of {' and '.join(methods)}: {error}"])


def _methods(runs: Sequence[Run]) -> list[str]:
    """Methods with a finished run that has an mIoU of all classes; without upper bounds."""
    found = [run for run in runs if run.complete and run.last["metrics"]["groups"].get("all") is not None]
    return list(dict.fromkeys(run.spec for run in found if not run.method["upper_bound"]))
