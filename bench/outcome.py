"""What became of a run or of a job, as one small file: `outcome.json`. Needs no torch.

Whoever works writes it: the engine in the folder of a run, a job beside its logs. So no program has to read
another's log to know why something failed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from issbench.files import read_json, write_json
from issbench.wellformed import misfit

State = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """The state, and for `failed` the reason in one line."""

    state: State
    reason: str = ""
    time: float = 0.0
    """When it was written, in seconds since 1970."""


def write_outcome(path: Path, state: State, reason: str = "") -> None:
    """Write the outcome whole or not at all."""
    write_json(path, asdict(Outcome(state, reason, time.time())))


def read_outcome(path: Path) -> Outcome | None:
    """The outcome in a file; None where there is none that can be read."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return None
    return Outcome(**found) if misfit(found, Outcome, path.name) is None else None
