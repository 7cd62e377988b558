"""The CSV that PLOP's and RCIL's code writes: `results/DATE_DATASET_TASK_NAME.csv`, IoU per step and class."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from issbench.results.record import Score
from issbench.results.runs import RecordError

_TOLERANCE = 1e-4


def read_plop(path: Path, channels_per_step: Sequence[int]) -> dict[int, list[Score]]:
    """IoU (%) of each step in a CSV of PLOP's or RCIL's code, one line per step, without a head:

    the step's number; the IoU (0 … 1) of each class in learning order, the background first, `x` for a class
    not yet learned, `X` for one absent from the test images; and their mean. `channels_per_step`: channels of the
    classifier after each step, with that of the background. Raises RecordError for another kind of file, one that
    does not fit the scenario, or whose mean is not that of its classes.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path} cannot be read as CSV: {error}") from None
    if not lines:
        raise RecordError(f"{path} is empty; pass the CSV that PLOP or RCIL wrote")
    steps: dict[int, list[Score]] = {}
    for number, row in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        if any(";" in cell for cell in row):
            raise RecordError(f"{place}: it has semicolons between values; write commas, and points in numbers")
        first = row[0].strip()
        step = int(first) if re.fullmatch(r"[0-9]{1,6}", first) else -1
        if not 0 <= step < len(channels_per_step):
            raise RecordError(
                f"{place}: it begins with {row[0][:40]!r}, but the scenario has the steps 0 to "
                f"{len(channels_per_step) - 1}; is it a per-step CSV of PLOP or RCIL, and --scenario right?"
            )
        if step in steps:
            raise RecordError(
                f"{place}: step {step} again; the code appends to its file, so keep the lines of one run"
            )
        steps[step] = _plop_scores(row[1:], channels_per_step[step], channels_per_step[-1], place)
    return dict(sorted(steps.items()))


def _plop_scores(cells: list[str], channels: int, total: int, place: str) -> list[Score]:
    """The IoU (%) of the first `channels` cells; the others must be `x`, and the last is the mean."""
    if len(cells) != total + 1:
        raise RecordError(
            f"{place}: {len(cells)} values after the step; the scenario needs {total} classes (with the "
            "background) and their mean; is --scenario right?"
        )
    *classes, mean = (cell.strip() for cell in cells)
    learned = next((i for i, cell in enumerate(classes) if cell == "x"), total)
    if learned != channels or set(classes[learned:]) - {"x"}:
        raise RecordError(
            f"{place}: {learned} classes have been learned, where the scenario has {channels}; is --scenario right?"
        )
    shares = [None if cell == "X" else _share(cell, place) for cell in classes[:learned]]
    printed, known = _share(mean, place), [share for share in shares if share is not None]
    # PLOP's --ignore_test_bg leaves the background out of the mean, not out of the columns.
    means = [math.fsum(part) / len(part) for part in (known, known[1:]) if part]
    if not any(math.isclose(printed, mean, abs_tol=_TOLERANCE) for mean in means):
        raise RecordError(
            f"{place}: its last value, {printed:.4f}, is not the mean of its classes; the file is damaged"
        )
    return [None if share is None else 100 * share for share in shares]


def _share(cell: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise RecordError(f"{place}: {cell!r} is not an IoU between 0 and 1")
    return value
