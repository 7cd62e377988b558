"""Where the training of a run is: one small file in its folder, which `bench status` reads. Needs no torch."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from issbench.files import read_json, write_json
from issbench.wellformed import misfit

FILE = "progress.json"
_FRESH = 120.0
"""Seconds after its last sign of life for which a training is considered alive."""
_LATEST = 1e11
"""No time is later, in seconds."""


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
    host: str = ""
    pid: int = 0
    """The process that trains, and its machine."""
    rate: float | None = None
    """Images a second in this step; None if not yet known, as are the following."""
    loss: float | None = None
    """The mean of the last epoch of this step, all terms together."""
    left_of_all: float | None = None
    """Seconds to the end of all runs of the command."""

    @property
    def alive(self) -> bool:
        """Whether the training gave a sign of life just now; where its process can be asked for, whether that still
        is there."""
        if time.time() - self.updated >= _FRESH:
            return False
        if self.host != socket.gethostname() or self.pid < 1:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # another user's
            pass
        return True


def write_position(folder: Path, position: Position) -> None:
    """Replace the file in the folder of a run."""
    write_json(folder / FILE, asdict(position))


def read_position(folder: Path) -> Position | None:
    """Where the run of this folder is, or was when it was stopped; None before its first training and after its
    last."""
    try:
        found = read_json(folder / FILE)
    except (OSError, ValueError):
        return None
    if misfit(found, Position, FILE):  # it may be of another version
        return None
    position = Position(**found)
    times = (position.left or 0, position.left_of_all or 0, abs(position.updated))
    return position if max(times) < _LATEST else None
