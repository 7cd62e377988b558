"""Colours: of methods, for readers who cannot tell all colours apart, and of classes, VOC's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

IGNORE = 255

# Okabe & Ito, Color Universal Design (2008), without the yellow, which is too pale for a line on white.
_BLACK, _ORANGE, _SKY, _GREEN, _BLUE, _VERMILION, _PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
_GREY = "#7F7F7F"


@dataclass(frozen=True)
class Style:
    """How a method is drawn. No two methods of a figure share a marker, so that it is also told in grey."""

    color: str
    marker: str
    dashes: str


_KNOWN = {
    "FT": Style(_GREY, "x", ":"),
    "Joint": Style(_BLACK, "8", "--"),
    "EWC": Style(_PURPLE, "v", ":"),
    "LwF": Style(_SKY, "<", "--"),
    "LwF-MC": Style(_ORANGE, ">", "--"),
    "ILT": Style(_GREEN, "^", "--"),
    "MiB": Style(_ORANGE, "s", "-"),
    "SDR": Style(_PURPLE, "D", "-"),
    "PLOP": Style(_BLUE, "o", "-"),
    "RCIL": Style(_GREEN, "P", "-"),
    "GSC": Style(_VERMILION, "*", "-"),
}
"""The paper's methods look the same in every figure."""
_FREE_COLORS = (_SKY, _PURPLE, _GREEN, _ORANGE, _BLUE, _BLACK)
_FREE_MARKERS = ("h", "d", "X", "p", "1", "H", "2", "_", "|", "3", "4", "+")
_FREE_DASHES = ("-.", "--", "-", ":")


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each method's label: its own for one of the paper, else the next free one. After these are used
    up they repeat, with other dashes."""
    found, count = {}, 0
    pairs = list(product(_FREE_DASHES, range(len(_FREE_MARKERS))))
    for name in dict.fromkeys(names):
        if name in _KNOWN:
            found[name] = _KNOWN[name]
            continue
        dashes, place = pairs[count % len(pairs)]
        found[name] = Style(_FREE_COLORS[count % len(_FREE_COLORS)], _FREE_MARKERS[place], dashes)
        count += 1
    return found


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


def coloured(labels: np.ndarray) -> np.ndarray:
    """Labels [H, W] (0 … 255) as colours uint8 [H, W, 3]."""
    return class_colours()[labels]
