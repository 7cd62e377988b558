"""mIoU after each step (the paper's Fig. 4), and the spread over class orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from issbench.results.definitions import AVERAGE, definition
from issbench.results.figures.canvas import row_of_panels, shared_legend, tidy, write_notes
from issbench.results.figures.palette import Look, looks
from issbench.results.figures.panels import Panel, panels, spread_note
from issbench.results.runs import Run
from issbench.results.table import mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from issbench.results.pivot import Pivot


_BOXES = (
    "Boxes: quartiles over class orders; line: median; whiskers: extremes; diamond: mean; dots: the orders, each "
    "the mean over its seeds, whose spread is not drawn."
)


def steps(runs: Sequence[Run]) -> Figure:
    """mIoU (%) of the classes learned so far after each step: a line for each method, the mean over seeds, with a
    band of one sample standard deviation; a panel for each scenario, setting, order and recipe."""
    from issbench.results.pivot import measured_pivot

    found, notes = panels(runs)
    drawn = looks(run for panel in found for run in panel.runs)
    figure, axes = row_of_panels(len(found), 4.2, 3.2)
    for axis, panel in zip(axes, found, strict=True):
        pivot = measured_pivot(definition("steps"), panel.runs)
        _draw_steps(axis, pivot, drawn)
        axis.set(title=panel.title, xlabel="step", ylabel="mIoU (%) of the classes so far")
        tidy(axis)
        notes += _doubts(pivot)
    shared_legend(figure, axes)
    write_notes(figure, [spread_note("Bands", found), *notes])
    return figure


def _draw_steps(axis: Axes, pivot: Pivot, drawn: dict[str, Look]) -> None:
    numbers = [int(head[-1].rpartition(" ")[2]) for head in pivot.heads]
    places = dict(zip(pivot.heads, numbers, strict=True))
    for row in pivot.rows:
        cells = pivot.cells[pivot.cells["row"].map(lambda of, row=row: of == row)].dropna(subset=["value"])
        if cells.empty:
            continue
        cells = cells.assign(step=cells["head"].map(places.__getitem__)).sort_values("step")
        x, y, deviation = cells["step"].to_numpy(), cells["value"].to_numpy(), cells["std"].fillna(0.0).to_numpy()
        look = drawn[row[0]]
        axis.plot(
            x, y, label=row[0], linewidth=1.4, markersize=5,
            color=look.colour, marker=look.marker, linestyle=look.dashes,
        )  # fmt: skip
        if deviation.any():
            axis.fill_between(x, y - deviation, y + deviation, color=look.colour, alpha=0.15, linewidth=0)
    axis.set_xticks(numbers[:: max(1, len(numbers) // 11)])
    axis.set_ylim(bottom=0)


def _doubts(pivot: Pivot) -> list[str]:
    """Why a point is missing, where the numbers tell."""
    doubtful = pivot.cells[pivot.cells["footnote"] != ""]
    return [f"{row[0]}: {footnote}." for row, footnote in zip(doubtful["row"], doubtful["footnote"], strict=True)]


def class_order(runs: Sequence[Run]) -> Figure:
    """mIoU (%) over all classes after the last step, by method: a box over the class orders (quartiles, whiskers to
    the extremes, a diamond at the mean), each order's mean over seeds a point with its name. A letter stands for a
    long name."""
    found, notes = panels(runs, "order")
    names = _short(run.order for panel in found for run in panel.runs)
    figure, axes = row_of_panels(len(found), 4.6, 3.4, columns=2)
    drawn = looks(run for panel in found for run in panel.runs)
    for axis, panel in zip(axes, found, strict=True):
        notes += _draw_orders(axis, panel, drawn, names)
        axis.set(title=panel.title, ylabel="mIoU (%) of all classes")
        tidy(axis, "y")
    long = ", ".join(f"{short} {name}" for name, short in sorted(names.items()) if short != name)
    legend = [f"Orders: {long}."] * bool(long)
    write_notes(figure, [_BOXES, *legend, *notes])
    return figure


def _short(orders: Iterable[str]) -> dict[str, str]:
    """Orders with the names that fit beside a point: `B` is B, `random:0` is a."""
    known = sorted({*orders})
    long = [name for name in known if len(name) > 1]
    return {name: mark(long.index(name)) if name in long else name for name in known}


def _draw_orders(axis: Axes, panel: Panel, drawn: dict[str, Look], short: dict[str, str]) -> list[str]:
    from issbench.results.pivot import measured_pivot

    pivot = measured_pivot(definition("class-order"), panel.runs)
    orders = [head for head in pivot.heads if head[-1] != AVERAGE]
    values: dict[str, dict[str, float]] = {}
    for row, head, value in pivot.cells.dropna(subset=["value"])[["row", "head", "value"]].itertuples(index=False):
        if head in orders:
            values.setdefault(row[0], {})[head[-1]] = value
    names = [row[0] for row in pivot.rows if row[0] in values]
    for position, name in enumerate(names):
        for place, (order, value) in enumerate(sorted(values[name].items(), key=lambda pair: pair[1])):
            x = position + 0.3 + 0.09 * (place % 3)  # side by side, so that close ones can be read
            axis.plot(position, value, ".", color=drawn[name].colour, markersize=4, zorder=3)
            axis.text(x, value, short[order], fontsize=6.5, color="0.3", va="center", ha="center", clip_on=True)
    boxes = axis.boxplot(
        [list(values[name].values()) for name in names], positions=range(len(names)), widths=0.42, whis=(0, 100),
        showmeans=True, patch_artist=True, medianprops={"color": "black"},
        meanprops={"marker": "D", "markersize": 4, "markerfacecolor": "white", "markeredgecolor": "black"},
    )  # fmt: skip
    for box, name in zip(boxes["boxes"], names, strict=True):
        box.set(facecolor=drawn[name].colour, alpha=0.35)
    labels = [
        name if len(values[name]) == len(orders) else f"{name}\n({len(values[name])} of {len(orders)})"
        for name in names
    ]
    axis.set_xticks(range(len(names)), labels, fontsize=8, rotation=30 if len(names) > 5 else 0)
    axis.set_xlim(-0.5, len(names) - 0.4)
    return _doubts(pivot)
