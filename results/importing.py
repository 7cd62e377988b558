"""Results of other code bases as records of runs, so that tables, figures and statistics show them beside ours."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from issbench.results.runs import KNOWN_FORMATS, RecordError, load_run

FORMATS = ("plop",)
"""`plop`: the CSV that PLOP and RCIL write (`results/DATE_DATASET_TASK_NAME.csv`)."""
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Layout:
    """What the file does not say: the scenario's steps, classes and groups, as the caller knows them."""

    classes_per_step: tuple[int, ...]
    channels_per_step: tuple[int, ...]
    """Channels of the classifier after each step, with that of the background."""
    class_names: list[str]
    group_spans: dict[str, dict[str, tuple[int, int]]]
    absent_is_zero: bool
    """Whether a class without an IoU counts 0 in the means."""


Scores = list[float | None]
"""IoU (%) of each channel; None for a class that the test images do not hold."""


def read_plop(path: Path, channels_per_step: Sequence[int]) -> dict[int, Scores]:
    """IoU (%) of each step in a CSV of PLOP's or RCIL's code, one line per step, without a head:

    the step's number; the IoU (0 … 1) of each class in learning order, the background first, `x` for a class
    not yet learned, `X` for one absent from the test images; and their mean. Raises RecordError for a file that
    is none, does not fit the scenario, or whose mean is not that of its classes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path} cannot be read as CSV: {error}") from None
    if not lines:
        raise RecordError(f"{path} is empty; pass the CSV that PLOP or RCIL wrote")
    steps: dict[int, Scores] = {}
    for number, row in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        step = int(row[0]) if row[0].strip().isdecimal() else -1
        if not 0 <= step < len(channels_per_step):
            raise RecordError(
                f"{place}: it begins with {row[0]!r}, but the scenario has the steps 0 to "
                f"{len(channels_per_step) - 1}; is it a per-step CSV of PLOP or RCIL, and --scenario right?"
            )
        if step in steps:
            raise RecordError(
                f"{place}: step {step} again; the code appends to its file, so keep the lines of one run"
            )
        steps[step] = _plop_scores(row[1:], channels_per_step[step], channels_per_step[-1], place)
    return dict(sorted(steps.items()))


def _plop_scores(cells: list[str], channels: int, total: int, place: str) -> Scores:
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
    told, known = _share(mean, place), [share for share in shares if share is not None]
    # PLOP's --ignore_test_bg leaves the background out of the mean, not out of the columns.
    means = [math.fsum(part) / len(part) for part in (known, known[1:]) if part]
    if not any(math.isclose(told, mean, abs_tol=_TOLERANCE) for mean in means):
        raise RecordError(
            f"{place}: its last value, {told:.4f}, is not the mean of its classes; the file is damaged"
        )
    return [None if share is None else 100 * share for share in shares]


def _share(cell: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise RecordError(f"{place}: {cell!r} is no IoU between 0 and 1")
    return value


def imported_record(
    steps: dict[int, Scores],
    layout: Layout,
    experiment: dict[str, Any],
    title: str,
    protocol: str,
    source: dict[str, str],
) -> dict[str, Any]:
    """A run's record from the IoU of its steps; what the file does not tell (recipe, training, counts) is None.

    `experiment` is as in records, `protocol` in words, `source` names the file (see `source_of`).
    """
    complete = list(steps) == list(range(len(layout.classes_per_step)))
    records = [_step(step, iou, layout) for step, iou in steps.items()]
    return {
        "format": KNOWN_FORMATS[-1],
        "source": source,
        "experiment": experiment,
        "title": title,
        "protocol": protocol,
        "class_names": layout.class_names,
        "group_spans": layout.group_spans,
        "classes_per_step": list(layout.classes_per_step),
        "num_steps": len(layout.classes_per_step),
        "complete": complete,
        "steps": records,
        **(_summary(records) if complete else {}),
    }


def _step(step: int, iou: Scores, layout: Layout) -> dict[str, Any]:
    def mean(span: tuple[int, int]) -> float | None:
        found = [0.0 if v is None and layout.absent_is_zero else v for v in iou[span[0] : span[1] + 1]]
        known = [value for value in found if value is not None]
        return math.fsum(known) / len(known) if known else None

    unknown = ("key", "pixel_accuracy", "counts", "evaluation", "test_images", "test_seconds", "recipe", "training")
    return {
        "step": step,
        "iou": iou,
        "miou": {name: mean(span) for name, span in layout.group_spans["named"].items()},
        "groups": {name: mean(span) for name, span in layout.group_spans["printed"].items()},
        **dict.fromkeys(unknown),
    }


def _summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over steps, and IoU of each class when first learned minus after the last step."""
    alls = [record["miou"]["all"] for record in records]
    last = records[-1]["iou"]
    first = [next(r["iou"][channel] for r in records if channel < len(r["iou"])) for channel in range(len(last))]
    lost = [None if a is None or b is None else a - b for a, b in zip(first, last, strict=True)]
    return {"mean_over_steps": None if None in alls else math.fsum(alls) / len(alls), "forgetting": lost}


def source_of(path: Path, format: str) -> dict[str, str]:
    """Names an imported file in a record, without its folders."""
    return {"format": format, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def save_imported(out: Path, record: dict[str, Any]) -> Path:
    """Write the record as a run of the store; returns its folder. The same file again changes nothing.

    Raises RecordError where another file was imported as the same experiment.
    """
    experiment = record["experiment"]
    identity = json.dumps({k: v for k, v in experiment.items() if k != "data"}, sort_keys=True)
    digest = hashlib.blake2b(identity.encode(), digest_size=4).hexdigest()
    method = re.sub(r"[^\w.+-]", "_", experiment["method"])
    name = f"{experiment['scenario']}-{experiment['setting']}-{method}-seed{experiment['seed']}-{digest}"
    folder = out / "runs" / name
    path = folder / "run.json"
    if path.exists():
        old = load_run(out, name).record["source"]
        if old != record["source"]:
            raise RecordError(
                f"{folder} is there already, from {(old or {}).get('file')}; pass another --method or --seed, "
                "or remove it"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".run.json.{os.getpid()}"
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise RecordError(f"{folder} cannot be written ({error.strerror}); pass another --out") from None
    return folder
