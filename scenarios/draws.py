"""What is drawn of a dataset: a function of the draw's number and of the ids alone, so that neither the order of
the files nor the seed of an experiment changes which images a step has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING

from issbench.scenarios.errors import ScenarioError

if TYPE_CHECKING:
    import numpy as np


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
