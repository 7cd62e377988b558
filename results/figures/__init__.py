"""Figures: each function takes runs (and options) and returns a matplotlib Figure. Importing this loads neither
numpy nor matplotlib; calling one does."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from issbench.results.figures.canvas import SUFFIXES, FigureError, check_output, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FUNCTIONS = {
    "steps": ("lines", "steps"),
    "forgetting": ("classes", "forgetting"),
    "class-order": ("lines", "class_order"),
    "class-steps": ("classes", "class_steps"),
    "critical-difference": ("ranks", "critical_difference"),
    "diagnosis": ("diagnosis", "diagnosis"),
    "terms": ("diagnosis", "terms"),
}


def _late(module: str, function: str) -> Callable[..., Figure]:
    """The function of a module of this folder, which is imported when it is called."""

    def draw(*runs: Any, **options: Any) -> Figure:
        figure: Figure = getattr(import_module(f"{__name__}.{module}"), function)(*runs, **options)
        return figure

    return draw


FIGURES: dict[str, Callable[..., Figure]] = {name: _late(*where) for name, where in _FUNCTIONS.items()}
"""The figures that records alone suffice for, by name; each may be called with runs alone."""

__all__ = ["FIGURES", "SUFFIXES", "FigureError", "check_output", "save_figure"]
