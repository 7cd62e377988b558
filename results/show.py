"""One run in text: what it is, how it went step by step, IoU and forgetting per class."""

from __future__ import annotations

from typing import Any

from issbench.results.runs import Run
from issbench.results.table import MISSING, Table, text_table

UNKNOWN = "unknown"


def run_summary(run: Run) -> list[tuple[str, str]]:
    """Facts about a run as (name, value)."""
    experiment, steps = run.experiment, run.record["steps"]
    recipe = experiment["recipe"]
    return [
        ("run", run.name),
        ("folder", str(run.path)),
        ("method", experiment["method"]),
        ("scenario", f"{experiment['scenario']}, {experiment['setting']}, order {experiment['order']}"),
        ("classes", ", ".join(experiment["classes"]) or "all of the dataset"),
        ("seed", str(experiment["seed"])),
        ("recipe", ", ".join(f"{key}={value}" for key, value in recipe.items()) if recipe else UNKNOWN),
        ("evaluation", run.record["protocol"]),
        ("finished", "yes" if run.complete else f"no, {len(steps)} steps done"),
        *(_source(run) if run.imported else _training([step["training"] for step in steps])),
    ]


def _source(run: Run) -> list[tuple[str, str]]:
    source = run.record["source"]
    return [("imported", f"{source['file']} (format {source['format']}), trained and tested by other code")]


def _training(training: list[dict[str, Any]]) -> list[tuple[str, str]]:
    peaks = [t["peak_memory_bytes"] for t in training if t["peak_memory_bytes"] is not None]
    memory = f"{max(peaks) / 2**30:.2f} GiB" if peaks else UNKNOWN
    return [
        ("training time", f"{sum(t['seconds'] for t in training):.0f} s (shared steps included)"),
        ("peak memory", f"{memory} on {training[-1]['device']}"),
        ("versions", ", ".join(f"{name} {value}" for name, value in training[-1]["versions"].items())),
    ]


def step_table(run: Run) -> Table:
    """mIoU (%) of the groups after each step."""
    groups = list(run.last["groups"])
    rows = []
    for step in run.record["steps"]:
        training = step["training"] or {}
        rows.append(
            [
                str(step["step"]),
                *(_number(step["groups"].get(group)) for group in groups),
                _number(step["pixel_accuracy"]),
                str(training.get("train_images", MISSING)),
                f"{training['seconds']:.0f}" if training else MISSING,
                step["key"] or MISSING,
            ]
        )
    header = ["step", *groups, "pixel accuracy", "train images", "seconds", "key"]
    return text_table("mIoU (%) after each step", header, rows)


def class_table(run: Run) -> Table:
    """IoU (%) of each class after each step, and what was forgotten since it was first learned."""
    steps = run.record["steps"]
    lost = run.record.get("forgetting") or [None] * len(run.last["iou"])
    rows = [
        [
            name,
            *(_number(step["iou"][c] if c < len(step["iou"]) else None) for step in steps),
            _number(lost[c]),
        ]
        for c, name in enumerate(run.record["class_names"][: len(run.last["iou"])])
    ]
    return text_table("IoU (%) of each class", ["class", *(f"step {s['step']}" for s in steps), "forgotten"], rows)


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1f}"
