"""IoU of each class after each step as tables with coloured cells: as figures they would be most of the page."""

from __future__ import annotations

from collections.abc import Sequence

from issbench.results.comparable import data_names
from issbench.results.report.markup import Html, joined, tag
from issbench.results.runs import Run

_DARK_BELOW = 55
"""IoU (%) up to which the colour is so dark that it takes white letters."""


def heat_tables(runs: Sequence[Run]) -> Html:
    """A table for each method, of one of its runs."""
    chosen = one_of_each(runs)
    data = data_names(chosen)
    tables = [_table(run, data.get(run.name, "")) for run in chosen]
    note = (
        "IoU (%) of each class after each step, of one run of each method. Empty: not yet "
        "learned, or without a labelled pixel in the test images."
    )
    return joined(tag("p", note), tag("div", *tables, class_="heats"))


def one_of_each(runs: Sequence[Run]) -> list[Run]:
    """The first run of each method, a finished one where there is one."""
    found: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: not run.complete):
        found.setdefault(run.spec, run)
    return [run for run in runs if found[run.spec] is run]


def _table(run: Run, data: str) -> Html:
    steps = run.steps
    title = ", ".join(filter(None, [run.label, f"seed {run.seed}", data, "unfinished" * (not run.complete)]))
    heads = tag("tr", tag("th", "step", scope="col"), *(tag("th", str(s["step"]), scope="col") for s in steps))
    rows = [
        tag("tr", tag("th", name, scope="row"), *(_cell(step["metrics"]["iou"], channel) for step in steps))
        for channel, name in enumerate(run.record["class_names"])
    ]
    table = tag("table", tag("caption", title), tag("thead", heads), tag("tbody", *rows), class_="heat")
    return tag("div", table, class_="scroll", role="region", tabindex="0", aria_label=title)


def _cell(iou: Sequence[float | None], channel: int) -> Html:
    value = iou[channel] if channel < len(iou) else None
    if value is None:
        return tag("td", class_="none")
    letters = "#fff" if value <= _DARK_BELOW else "#000"
    return tag("td", f"{value:.0f}", style=f"background:{_colour(value)};color:{letters}")


def _colour(value: float) -> str:
    """Cividis, as in the figure: readable for all, also in grey."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["cividis"](round(value) / 100))
