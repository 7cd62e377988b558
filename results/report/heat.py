"""IoU of each class after each step as tables with coloured cells: as figures they would be most of the page."""

from __future__ import annotations

from collections.abc import Sequence

from issbench.results.figures.panels import label
from issbench.results.report.markup import Html, joined, tag
from issbench.results.runs import Run

_DARK_BELOW = 55
"""IoU (%) up to which the colour is so dark that it takes white letters."""


def heat_tables(runs: Sequence[Run]) -> Html:
    """A table for each method, of one of its runs."""
    note = "IoU (%) of each class after each step, of one run of each method. Empty: not yet learned, or no IoU."
    return joined(tag("p", note), tag("div", *(_table(run) for run in one_of_each(runs)), class_="heats"))


def one_of_each(runs: Sequence[Run]) -> list[Run]:
    """The first run of each method, a finished one where there is one."""
    found: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: not run.complete):
        found.setdefault(run.experiment["method"], run)
    return [run for run in runs if found[run.experiment["method"]] is run]


def _table(run: Run) -> Html:
    steps = run.record["steps"]
    title = f"{label(run)}, seed {run.experiment['seed']}{'' if run.complete else ', unfinished'}"
    heads = tag("tr", tag("th", "step", scope="col"), *(tag("th", str(s["step"]), scope="col") for s in steps))
    rows = [
        tag("tr", tag("th", name, scope="row"), *(_cell(step["iou"], channel) for step in steps))
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
