"""What is drawn of a dataset: a function of the draw's number and of the ids alone, so that neither the order of
the files nor the seed of an experiment changes which images a step has."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from issbench.scenarios.errors import ScenarioError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Share:
    """How many of a step's training images are used: a fraction in (0, 1], and which draw of them."""

    fraction: float = 1.0
    draw: int = 0

    def __str__(self) -> str:
        """In one spelling: `1`, `0.3`, or `0.3:7` for another draw than 0."""
        if self.fraction == 1:
            return "1"
        return f"{self.fraction}:{self.draw}" if self.draw else str(self.fraction)

    def of(self, ids: Sequence[str], held: np.ndarray) -> np.ndarray:
        """Which of some images (bool [images]) are used, from the classes that each holds (bool [images, classes]):
        the first in the order of the draw, and of each class the first that holds it, so that a class with images
        keeps one. A smaller share of the same draw is part of a larger one."""
        import numpy as np

        used = np.zeros(len(ids), bool)
        if not len(ids):
            return used
        order = np.argsort(drawn("images", self.draw, ids), kind="stable")
        used[order[: math.floor(self.fraction * len(ids) + 0.5)]] = True
        in_order = held[order]
        used[order[in_order.argmax(axis=0)[in_order.any(axis=0)]]] = True
        return used


ALL = Share()


def parse_share(text: str) -> Share:
    """The share of `0.3`, or of `0.3:7`; ScenarioError for anything else."""
    number, colon, draw = text.partition(":")
    try:
        fraction = float(number) if number.isascii() else math.nan
    except ValueError:
        fraction = math.nan
    if not 0 < fraction <= 1:
        raise ScenarioError(
            f"images {text!r}: give a fraction above 0 and at most 1, as in 0.3, or 0.3:7 for another draw"
        )
    return Share(fraction, parse_draw(draw, f"images {text!r}", "0.3:7") if colon else 0)


def parse_draw(text: str, place: str, example: str) -> int:
    """The number of a draw; ScenarioError for anything else."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ScenarioError(f"{place}: the draw must be a whole number of at most 18 digits, as in {example}")
    return int(text)


def drawn(purpose: str, draw: int, ids: Iterable[str]) -> np.ndarray:
    """A random number for each id, uint64 [ids]; another one for another purpose or draw."""
    import numpy as np  # late, like all that is slow to import: lists and help texts must not wait for it

    texts = (f"{purpose} {draw} {sample}".encode() for sample in ids)
    return np.array([int.from_bytes(blake2b(text, digest_size=8).digest(), "big") for text in texts], np.uint64)
