"""Grids of pictures: images, ground truth, and label maps in the classes' colours (the paper's Fig. 5, 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from issbench.results.figures.canvas import FigureError, named_legend
from issbench.results.figures.palette import IGNORE, class_colour, coloured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDEST = 12.0
_CELL = 1.25
_GAP, _HEAD, _STUB, _LINE = 0.05, 0.24, 0.26, 0.19
"""Inches: between cells, for the heads of columns, for the names of rows, for a line of the legend."""


@dataclass(frozen=True)
class PictureRow:
    """Pictures side by side: images uint8 [H, W, 3], or label maps [H, W]; None leaves a place empty."""

    cells: Sequence[np.ndarray | None]
    name: str = ""


def image_grid(rows: Sequence[PictureRow], heads: Sequence[str], names: Mapping[int, str]) -> Figure:
    """Rows of pictures under heads, with a legend of the labels that occur; ignored pixels are white.

    `names`: the classes' names by label. Raises FigureError where rows and heads do not fit.
    """
    from matplotlib.figure import Figure

    if not rows or any(len(row.cells) != len(heads) for row in rows):
        raise FigureError(f"a grid of {len(heads)} columns takes rows of as many pictures, and at least one row")
    legend = _legend(rows, names)
    cell = min(_CELL, _WIDEST / len(heads))
    heights = [cell * max(c.shape[0] / c.shape[1] for c in row.cells if c is not None) for row in rows]
    stub = _STUB * any(row.name for row in rows)
    width = stub + len(heads) * (cell + _GAP)
    columns = max(1, int(width / (0.42 + 0.072 * max((len(name) for name, _ in legend), default=1))))
    below = 0.1 + _LINE * ceil(len(legend) / columns)
    height = _HEAD + sum(heights) + _GAP * len(rows) + below
    figure = Figure(figsize=(width, height))
    top = height - _HEAD
    for row, tall in zip(rows, heights, strict=True):
        top -= tall
        for column, picture in enumerate(row.cells):
            place = (stub + column * (cell + _GAP)) / width, top / height, cell / width, tall / height
            _draw(figure, place, picture)
        if row.name:
            figure.text(stub * 0.5 / width, (top + tall / 2) / height, row.name, rotation=90, fontsize=8,
                        ha="center", va="center")  # fmt: skip
        top -= _GAP
    for column, head in enumerate(heads):
        middle = (stub + column * (cell + _GAP) + cell / 2) / width
        figure.text(middle, 1 - 0.75 * _HEAD / height, head, fontsize=8, ha="center", va="bottom")
    _draw_legend(figure, legend, columns, (top - 0.02) / height)
    return figure


def _draw(figure: Figure, place: tuple[float, float, float, float], picture: np.ndarray | None) -> None:
    axis = figure.add_axes(place)
    axis.set(xticks=[], yticks=[])
    if picture is None:
        axis.set_axis_off()
        return
    # Nearest: a mixture of two classes' colours would be a third class's.
    axis.imshow(coloured(picture) if picture.ndim == 2 else picture, interpolation="nearest")
    for spine in axis.spines.values():
        spine.set(linewidth=0.4, color="0.5")


def _legend(rows: Sequence[PictureRow], names: Mapping[int, str]) -> list[tuple[str, str]]:
    """Name and colour of each label that occurs, ignored pixels last."""
    maps = [cell for row in rows for cell in row.cells if cell is not None and cell.ndim == 2]
    labels = sorted({int(label) for each in maps for label in np.unique(each)})
    return [("ignored" if i == IGNORE else names.get(i, f"label {i}"), class_colour(i)) for i in labels]


def _draw_legend(figure: Figure, legend: Sequence[tuple[str, str]], columns: int, top: float) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=colour, edgecolor="0.5", linewidth=0.4) for _, colour in legend]
    look = {"fontsize": 7.5, "handlelength": 1.1, "handleheight": 1.1, "columnspacing": 1.0}
    if patches:
        names = (name for name, _ in legend)
        named_legend(figure, patches, names, loc="upper center", bbox_to_anchor=(0.5, top), ncols=columns, **look)


def legend_figure(names: Mapping[int, str]) -> Figure:
    """The classes' names beside their colours, and nothing else."""
    from matplotlib.figure import Figure

    columns = min(4, ceil(len(names) / 10))
    lines = ceil(len(names) / columns)
    figure = Figure(figsize=(columns * (0.6 + 0.08 * max(map(len, names.values()))), 0.15 + _LINE * lines))
    legend = [(name, class_colour(label)) for label, name in names.items()]
    _draw_legend(figure, legend, columns, 1.0)
    return figure
