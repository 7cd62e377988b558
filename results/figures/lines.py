"""mIoU after each step (the paper's Fig. 4), and the spread over class orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from issbench.results.definitions import AVERAGE, definition
from issbench.results.figures.canvas import row_of_panels, shared_legend, tidy, write_notes
from issbench.results.figures.palette import styles
from issbench.results.figures.panels import Panel, label, panels
from issbench.results.grid import Grid, measured_grid
from issbench.results.runs import Run
from issbench.results.table import mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def steps(runs: Sequence[Run]) -> Figure:
    """mIoU (%) of the classes learned so far after each step: a line for each method, the mean over seeds, with a
    band of one sample standard deviation; a panel for each scenario, setting, order and recipe."""
    found, notes = panels(runs)
    drawn = styles(label(run) for panel in found for run in panel.runs)
    figure, axes = row_of_panels(len(found), 4.2, 3.2)
    for axis, panel in zip(axes, found, strict=True):
        grid = measured_grid(definition("steps"), panel.runs)
        _draw_steps(axis, grid, drawn)
        axis.set(title=panel.title, xlabel="step", ylabel="mIoU (%) of the classes so far")
        tidy(axis)
        notes += _doubts(grid)
    shared_legend(figure, axes)
    bands = any(len({run.experiment["seed"] for run in panel.runs}) > 1 for panel in found)
    write_notes(figure, ["Bands: ± sample standard deviation over seeds."] * bands + notes)
    return figure


def _draw_steps(axis: Axes, grid: Grid, drawn: dict) -> None:
    numbers = np.array([int(head[-1].rpartition(" ")[2]) for head in grid.heads])
    for row in grid.rows:
        cells = [grid.cells.get((row, head)) for head in grid.heads]
        known = [i for i, cell in enumerate(cells) if cell is not None and cell.value is not None]
        if not known:
            continue
        x, y = numbers[known], np.array([cells[i].value for i in known])
        deviation = np.array([cells[i].std or 0.0 for i in known])
        style = drawn[row[0]]
        look = {"color": style.color, "marker": style.marker, "linestyle": style.dashes}
        axis.plot(x, y, label=row[0], linewidth=1.4, markersize=5, **look)
        if deviation.any():
            axis.fill_between(x, y - deviation, y + deviation, color=style.color, alpha=0.15, linewidth=0)
    axis.set_xticks(numbers[:: max(1, len(numbers) // 11)])
    axis.set_ylim(bottom=0)


def _doubts(grid: Grid) -> list[str]:
    """Why a point is missing, where the grid knows."""
    return [f"{row[0]}: {cell.footnote}." for (row, _), cell in grid.cells.items() if cell.footnote]


def class_order(runs: Sequence[Run]) -> Figure:
    """mIoU (%) over all classes after the last step, by method: a box over the class orders (quartiles, whiskers to
    the extremes, a diamond at the mean), each order's mean over seeds a point with its name. A letter stands for a
    long name."""
    found, notes = panels(runs, "order")
    names = _short(run.order for panel in found for run in panel.runs)
    figure, axes = row_of_panels(len(found), 4.6, 3.4, columns=2)
    drawn = styles(label(run) for panel in found for run in panel.runs)
    for axis, panel in zip(axes, found, strict=True):
        notes += _draw_orders(axis, panel, drawn, names)
        axis.set(title=panel.title, ylabel="mIoU (%) of all classes")
        tidy(axis, "y")
    told = ", ".join(f"{short} {name}" for name, short in sorted(names.items()) if short != name)
    legend = [f"Orders: {told}."] * bool(told)
    write_notes(figure, ["Boxes: quartiles over class orders; whiskers: extremes; diamond: mean.", *legend, *notes])
    return figure


def _short(orders: Iterable[str]) -> dict[str, str]:
    """Orders with the names that fit beside a point: `B` is B, `random:0` is a."""
    known = sorted({*orders})
    long = [name for name in known if len(name) > 1]
    return {name: mark(long.index(name)) if name in long else name for name in known}


def _draw_orders(axis: Axes, panel: Panel, drawn: dict, short: dict[str, str]) -> list[str]:
    grid = measured_grid(definition("class-order"), panel.runs)
    heads = [head for head in grid.heads if head[-1] != AVERAGE]
    notes, names, values = _doubts(grid), [], []
    for row in grid.rows:
        cells = {head[-1]: grid.cells.get((row, head)) for head in heads}
        known = {order: cell.value for order, cell in cells.items() if cell and cell.value is not None}
        if not known:
            continue
        position = len(names)
        names.append(row[0] if len(known) == len(heads) else f"{row[0]}\n({len(known)} of {len(heads)})")
        values.append(list(known.values()))
        for place, (order, value) in enumerate(sorted(known.items(), key=lambda pair: pair[1])):
            x = position + 0.3 + 0.09 * (place % 3)  # side by side, so that close ones can be read
            axis.plot(position, value, ".", color=drawn[row[0]].color, markersize=4, zorder=3)
            axis.text(x, value, short[order], fontsize=6.5, color="0.3", va="center", ha="center", clip_on=True)
    boxes = axis.boxplot(values, positions=range(len(names)), widths=0.42, whis=(0, 100), showmeans=True,
                         patch_artist=True, medianprops={"color": "black"},
                         meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white",
                                    "markeredgecolor": "black"})  # fmt: skip
    for box, name in zip(boxes["boxes"], names, strict=True):
        box.set(facecolor=drawn[name.partition("\n")[0]].color, alpha=0.35)
    axis.set_xticks(range(len(names)), names, fontsize=8, rotation=30 if len(names) > 5 else 0)
    axis.set_xlim(-0.5, len(names) - 0.4)
    return notes
