"""Where the training of a run is: one small file in its folder, which `bench status` reads. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from issbench.files import read_json, write_json
from issbench.wellformed import misfit

FILE = "progress.json"


@dataclass(frozen=True)
class Position:
    """Where the training of a run is."""

    step: int
    last_step: int
    iteration: int
    """Of this step, as are the following."""
    iterations: int
    epoch: int
    epochs: int
    left: float | None
    """Seconds to the end of the step; None if not yet known."""
    updated: float
    """When this was so, in seconds since 1970."""


def write_position(folder: Path, position: Position) -> None:
    """Replace the file in the folder of a run."""
    write_json(folder / FILE, asdict(position))


def read_position(folder: Path) -> Position | None:
    """Where the run of this folder is, or was when it was stopped; None before its first training and after its
    last."""
    try:
        value = read_json(folder / FILE)
        return None if misfit(value, Position, FILE) else Position(**value)
    except (OSError, ValueError, TypeError):  # none, or one of another version
        return None
