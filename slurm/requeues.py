"""When time limits lead nowhere.

A run may need any number of time limits, if each of them brings it further. One that is shorter than what the run
must do before the next checkpoint never does; its job is ended after a few instead of being requeued for ever.
Preemptions are not counted: another time limit would not help.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from issbench.bench.finished import Step
from issbench.files import read_json, write_json

MOST = 3
"""Time limits in a row that may bring nothing."""


def progress(out: Path, steps: Iterable[Step]) -> tuple[int, int]:
    """How far a run is: the steps and tests in the store, and the iteration of the checkpoint inside the next step
    (-1: it has none). Whoever computes the steps: a run may wait for another that trains one of them."""
    done = 0
    for key, evaluation in steps:
        folder = out / "steps" / key
        if not folder.is_dir():
            return done, _iteration(folder.with_name(f"{key}.checkpoint"))
        done += 1 + (folder / f"{evaluation}.json").is_file()
    return done, -1


def fruitless_limits(file: Path, further: bool, timed_out: bool) -> int:
    """How many time limits in a row have not brought a job further, this one included. `file` keeps the number from
    one requeue to the next."""
    try:
        before = int(read_json(file)["fruitless"])
    except (OSError, ValueError, KeyError, TypeError):
        before = 0
    number = 0 if further else before + timed_out
    write_json(file, {"fruitless": number})
    return number


def _iteration(checkpoint: Path) -> int:
    """The iteration in the second line, where a checkpoint has its plain values."""
    try:
        with checkpoint.open("rb") as file:
            file.readline()
            return int(json.loads(file.readline())["iteration"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
