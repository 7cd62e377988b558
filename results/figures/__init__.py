"""Figures: each function takes runs (and options) and returns a matplotlib Figure. Importing this loads no
matplotlib; calling one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from issbench.results.figures.canvas import SUFFIXES, FigureError, check_output, save_figure
from issbench.results.figures.classes import class_steps, forgetting
from issbench.results.figures.lines import class_order, steps
from issbench.results.figures.ranks import critical_difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: dict[str, Callable[..., Figure]] = {
    "steps": steps,
    "forgetting": forgetting,
    "class-order": class_order,
    "class-steps": class_steps,
    "critical-difference": critical_difference,
}
"""The figures that records alone suffice for, by name; each may be called with runs alone."""

__all__ = ["FIGURES", "SUFFIXES", "FigureError", "check_output", "save_figure"]
