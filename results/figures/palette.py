"""Colours: of methods, for readers who cannot tell all colours apart, and of classes, VOC's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from issbench.results.runs import Run

IGNORE = 255

# Okabe & Ito, Color Universal Design (2008), without the yellow, which is too pale for a line on white.
_FREE_COLOURS = ("#56B4E9", "#CC79A7", "#009E73", "#E69F00", "#0072B2", "#000000")
_FREE_MARKERS = ("h", "d", "X", "p", "1", "H", "2", "_", "|", "3", "4", "+")
_FREE_DASHES = ("-.", "--", "-", ":")


@dataclass(frozen=True)
class Look:
    """How a method is drawn. No two methods of a figure share a marker, which tells them apart in grey, too."""

    colour: str
    marker: str
    dashes: str


def looks(runs: Iterable[Run]) -> dict[str, Look]:
    """A look for each method by its label: that of its class where it has one and the method is as published, else
    the next free one. After these are used up they repeat, with other dashes."""
    methods = {run.label: run.method for run in runs}
    found, count = {}, 0
    for label, method in methods.items():
        # A variant, or a combination, would look as the method that it is made of.
        if method["colour"] and method["marker"] and label == method["title"] and "+" not in label:
            found[label] = Look(method["colour"], method["marker"], method["dashes"] or "-")
            continue
        found[label] = free_look(count)
        count += 1
    return found


def free_look(number: int) -> Look:
    """The look of number 0, 1, … of what has none of its own."""
    dashes, markers = divmod(number, len(_FREE_MARKERS))
    return Look(
        _FREE_COLOURS[number % len(_FREE_COLOURS)], _FREE_MARKERS[markers], _FREE_DASHES[dashes % len(_FREE_DASHES)]
    )


def class_colours() -> np.ndarray:
    """VOC's palette uint8 [256, 3]: bits 0, 3, 6 of the class make red's highest bits, 1, 4, 7 green's and 2, 5
    blue's (VOCdevkit's `VOClabelcolormap`). Ignored pixels are white, where VOC has its border cream."""
    classes = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((classes >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    colours[IGNORE] = 255
    return colours


def class_colour(label: int) -> str:
    """The colour of one class, as `#rrggbb`."""
    return "#" + "".join(f"{value:02x}" for value in class_colours()[label].tolist())


def coloured(labels: np.ndarray) -> np.ndarray:
    """Labels [H, W] (0 … 255) as colours uint8 [H, W, 3]."""
    return class_colours()[labels]
