"""What happens to single classes: how much each is forgotten (the paper's Fig. 8), and IoU over steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from issbench.results.comparable import data_names
from issbench.results.figures.canvas import FigureError, row_of_panels, shared_legend, tidy, write_notes
from issbench.results.figures.palette import Look, looks
from issbench.results.figures.panels import Panel, panels, spread_note
from issbench.results.runs import Run
from issbench.results.table import number_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_MOST_NUMBERS = 42
"""More classes than these get no numbers in their cells."""


def forgetting(runs: Sequence[Run]) -> Figure:
    """IoU of each class when first learned minus after the last step, in points: the mean over seeds with its
    sample standard deviation. Classes of the last step are left out, and with them what is trained in one step
    (Joint). With one panel the legend has each method's least and most. FigureError where nothing is left."""
    alone = [f"{name}: trained in one step, nothing to forget; left out." for name in _of_one_step(runs)]
    found, notes = panels([run for run in runs if run.early_channels or not run.complete])
    notes += alone
    drawn = looks(run for panel in found for run in panel.runs)
    classes = max(run.early_channels for panel in found for run in panel.runs)
    figure, axes = row_of_panels(len(found), max(4.6, 0.38 * classes + 1.2), 3.3, columns=1 if classes > 12 else 2)
    for axis, panel in zip(axes, found, strict=True):
        notes += _draw_forgetting(axis, panel, drawn, ranges=len(found) == 1)
        axis.set(title=panel.title, ylabel="IoU forgotten (points)")
        tidy(axis, "y")
    shared_legend(figure, axes)
    ranges = "In brackets: the lowest and the highest point of a method, the background included."
    write_notes(figure, [spread_note("Bars", found), *[ranges] * (len(found) == 1), *notes])
    return figure


def _of_one_step(runs: Sequence[Run]) -> list[str]:
    """The methods, by name, with a finished run of one step. FigureError where there is no other."""
    found = dict.fromkeys(run.label for run in runs if run.complete and not run.early_channels)
    if found and all(run.label in found for run in runs):
        raise FigureError(f"{', '.join(found)}: trained in one step, so nothing can have been forgotten")
    return list(found)


def _draw_forgetting(axis: Axes, panel: Panel, drawn: dict[str, Look], ranges: bool) -> list[str]:
    first, count, notes = panel.runs[0], max(run.early_channels for run in panel.runs), []
    names = first.record["class_names"][:count]
    methods = list(dict.fromkeys(run.label for run in panel.runs))
    for place, method in enumerate(methods):
        cells = _forgotten([run for run in panel.runs if run.label == method], count)
        notes += [f"{method}, {names[c]}: {note}." for c, note in enumerate(cells["footnote"]) if note]
        shift = 0.7 * ((place + 0.5) / len(methods) - 0.5)
        _draw_points(axis, method, cells.dropna(subset=["value"]), drawn[method], shift, ranges)
    axis.axhline(0, color="0.6", linewidth=0.8)
    if first.setting != "domain" and first.record["classes_per_step"][0] + 1 < count:
        edge = first.record["classes_per_step"][0] + 0.5
        axis.axvline(edge, color="0.4", linestyle=":", linewidth=1)
        for text, side in (("base classes ", "right"), (" later", "left")):
            axis.annotate(text, (edge, 1), xycoords=("data", "axes fraction"), ha=side, va="top", fontsize=7)
    axis.set_xticks(range(count), names, rotation=40, ha="right")
    axis.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axis.tick_params(axis="x", which="both", length=0)
    axis.grid(axis="x", which="minor", alpha=0.15)
    axis.set_xlim(-0.5, count - 0.5)
    return notes


def _forgotten(runs: Sequence[Run], count: int) -> pd.DataFrame:
    """The cells of the first `count` channels, one after the other, as the mean over seeds."""
    import pandas as pd

    from issbench.results.pivot import over_seeds

    numbers = [
        (("",), (channel,), run.seed, run.name, True, value)
        for run in runs
        for channel, value in enumerate((run.forgotten or [None] * count)[:count])
    ]
    frame = pd.DataFrame(numbers, columns=["row", "head", "seed", "run", "complete", "value"])
    cells = over_seeds(frame)
    return cells.assign(channel=[head[0] for head in cells["head"]])


def _draw_points(axis: Axes, method: str, cells: pd.DataFrame, look: Look, shift: float, ranges: bool) -> None:
    values, deviations = cells["value"].to_numpy(), cells["std"].fillna(0.0).to_numpy()
    name = method
    if ranges and len(values):
        name += f" ({number_text(values.min())} to {number_text(values.max())})"
    axis.errorbar(
        cells["channel"].to_numpy() + shift, values, yerr=deviations if deviations.any() else None, label=name,
        linestyle="none", color=look.colour, marker=look.marker, markersize=6, elinewidth=0.9, capsize=1.5,
    )  # fmt: skip


def class_steps(runs: Sequence[Run]) -> Figure:
    """IoU (%) of each class after each step, a heat map for each run. Grey: the class is not yet learned, or has no
    IoU. Takes unfinished runs, too, as far as they are. FigureError for runs without a class's IoU."""
    if not runs:
        raise FigureError("no run to draw; `bench run` makes some")
    rows = max(len(run.record["class_names"]) for run in runs)
    columns = max(len(run.steps) for run in runs)
    figure, axes = row_of_panels(len(runs), 2.0 + 0.42 * max(columns, 4), 1.1 + 0.19 * rows)
    data = data_names(runs)
    for axis, run in zip(axes, runs, strict=True):
        image = _draw_heat(axis, run, data.get(run.name, ""))
    figure.colorbar(image, ax=axes, label="IoU (%)", shrink=0.8).ax.tick_params(labelsize=8)
    write_notes(figure, ["One run each. Grey: not yet learned, or without a labelled pixel in the test images."])
    return figure


def _draw_heat(axis: Axes, run: Run, data: str) -> AxesImage:
    names, steps = run.record["class_names"], run.steps
    values = np.full((len(names), len(steps)), np.nan)
    for column, step in enumerate(steps):
        if "iou" not in step["metrics"]:
            raise FigureError(f"{run.name}: the records were read without single classes; load them in full")
        for row, value in enumerate(step["metrics"]["iou"]):
            values[row, column] = np.nan if value is None else value
    axis.set_facecolor("0.85")
    image = axis.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=100, aspect="auto")
    if len(names) <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                colour = "black" if value > 55 else "white"
                axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
    axis.set_yticks(range(len(names)), names, fontsize=7 if len(names) <= _MOST_NUMBERS else 5)
    axis.set_xticks(range(len(steps)), [str(step["step"]) for step in steps], fontsize=8)
    axis.set_xlabel("step", fontsize=9)
    title = [
        f"{run.label}, {run.scenario},\n{run.condition}",
        f"seed {run.seed}",
        data,
        "unfinished" * (not run.complete),
    ]
    axis.set_title(", ".join(filter(None, title)), fontsize=9)
    axis.tick_params(length=0)
    return image
