"""What happens to single classes: how much each is forgotten (the paper's Fig. 8), and IoU over steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from issbench.results.figures.canvas import FigureError, row_of_panels, shared_legend, tidy, write_notes
from issbench.results.figures.palette import Style, styles
from issbench.results.figures.panels import Panel, label, panels
from issbench.results.grid import pooled
from issbench.results.runs import Run
from issbench.results.table import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NUMBERS = 42
"""More classes than these get no numbers in their cells."""


def forgetting(runs: Sequence[Run]) -> Figure:
    """IoU of each class when first learned minus after the last step, in points: the mean over seeds with its
    sample standard deviation. Classes of the last step are left out. With one panel the legend has each method's
    least and most."""
    found, notes = panels(runs)
    drawn = styles(label(run) for panel in found for run in panel.runs)
    classes = max(_early(panel.runs[0]) for panel in found)
    figure, axes = row_of_panels(len(found), max(4.6, 0.38 * classes + 1.2), 3.3, columns=1 if classes > 12 else 2)
    for axis, panel in zip(axes, found, strict=True):
        notes += _draw_forgetting(axis, panel, drawn, ranges=len(found) == 1)
        axis.set(title=panel.title, ylabel="IoU forgotten (points)")
        tidy(axis, "y")
    shared_legend(figure, axes)
    write_notes(figure, notes)
    return figure


def _early(run: Run) -> int:
    """How many channels have had time to be forgotten: all but those of the last step."""
    sizes, channels = run.record["classes_per_step"], len(run.record["class_names"])
    return channels if run.experiment["setting"] == "domain" or len(sizes) == 1 else channels - sizes[-1]


def _draw_forgetting(axis: Axes, panel: Panel, drawn: dict[str, Style], ranges: bool) -> list[str]:
    first, count, notes = panel.runs[0], _early(panel.runs[0]), []
    methods = list(dict.fromkeys(map(label, panel.runs)))
    for place, method in enumerate(methods):
        members = [run for run in panel.runs if label(run) == method]
        lost = [run.record.get("forgetting") or [None] * count for run in members]
        cells = [pooled([(r, own[c]) for r, own in zip(members, lost, strict=True)]) for c in range(count)]
        notes += [f"{method}, {first.record['class_names'][c]}: {cell.footnote}."
                  for c, cell in enumerate(cells) if cell.footnote]  # fmt: skip
        shift = 0.7 * ((place + 0.5) / len(methods) - 0.5)
        _draw_points(axis, method, cells, drawn[method], shift, ranges)
    axis.axhline(0, color="0.6", linewidth=0.8)
    if first.experiment["setting"] != "domain" and first.record["classes_per_step"][0] + 1 < count:
        edge = first.record["classes_per_step"][0] + 0.5
        axis.axvline(edge, color="0.4", linestyle=":", linewidth=1)
        axis.annotate(
            "base classes ", (edge, 1), xycoords=("data", "axes fraction"), ha="right", va="top", fontsize=7
        )
        axis.annotate(" later", (edge, 1), xycoords=("data", "axes fraction"), ha="left", va="top", fontsize=7)
    axis.set_xticks(range(count), first.record["class_names"][:count], rotation=40, ha="right")
    axis.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axis.tick_params(axis="x", which="both", length=0)
    axis.grid(axis="x", which="minor", alpha=0.15)
    axis.set_xlim(-0.5, count - 0.5)
    return notes


def _draw_points(axis: Axes, method: str, cells: Sequence[Cell], style: Style, shift: float, ranges: bool) -> None:
    known = [c for c, cell in enumerate(cells) if cell.value is not None]
    values = [cells[c].value for c in known]
    extremes = f"{min(values):.1f} to {max(values):.1f}".replace("-", "−") if values else ""
    name = f"{method} ({extremes})" if ranges and values else method
    deviations = [cells[c].std or 0.0 for c in known]
    axis.errorbar(
        np.array(known) + shift, values, yerr=deviations if any(deviations) else None, label=name, linestyle="none",
        color=style.color, marker=style.marker, markersize=6, elinewidth=0.9, capsize=1.5,
    )  # fmt: skip


def class_steps(runs: Sequence[Run]) -> Figure:
    """IoU (%) of each class after each step, a heat map for each run. Grey: the class is not yet learned, or has no
    IoU. Takes unfinished runs, too, as far as they are. FigureError for runs without a class's IoU."""
    if not runs:
        raise FigureError("no run to draw; `bench run` makes some")
    rows = max(len(run.record["class_names"]) for run in runs)
    columns = max(len(run.record["steps"]) for run in runs)
    figure, axes = row_of_panels(len(runs), 2.0 + 0.42 * max(columns, 4), 1.1 + 0.19 * rows)
    for axis, run in zip(axes, runs, strict=True):
        image = _draw_heat(axis, run)
    figure.colorbar(image, ax=axes, label="IoU (%)", shrink=0.8).ax.tick_params(labelsize=8)
    write_notes(figure, ["Grey: not yet learned, or neither labelled nor predicted in the test images."])
    return figure


def _draw_heat(axis: Axes, run: Run) -> object:
    names, steps = run.record["class_names"], run.record["steps"]
    values = np.full((len(names), len(steps)), np.nan)
    for column, step in enumerate(steps):
        if "iou" not in step:
            raise FigureError(f"{run.name}: the records were read without single classes; load them in full")
        for row, value in enumerate(step["iou"]):
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
    e = run.experiment
    unfinished = "" if run.complete else ", unfinished"
    axis.set_title(f"{label(run)}, {e['scenario']},\n{e['setting']}, seed {e['seed']}{unfinished}", fontsize=9)
    axis.tick_params(length=0)
    return image
