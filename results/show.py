"""One run in text: what it is, how it went step by step, IoU and forgetting per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from issbench.results.comparable import environment_facts, recipe_of
from issbench.results.record import Environment, Source
from issbench.results.runs import Run
from issbench.results.table import MISSING, Table, number_text, text_table

UNKNOWN = "unknown"
_STEPS = "Means over the classes learned so far: `all` is of more classes after each step."
_CLASSES = (
    f"{MISSING}: not yet learned, or without a labelled pixel in the test images. forgotten: IoU when first "
    "learned minus after the last step, in points; classes of the last step have had no time to be forgotten."
)


def run_summary(run: Run) -> list[tuple[str, str]]:
    """Facts about a run as (name, value)."""
    experiment, recipe = run.experiment, recipe_of(run)
    return [
        ("run", run.name),
        ("folder", str(run.path)),
        ("method", run.spec),
        ("options", _pairs(run.method["options"]) or "none"),
        ("scenario", f"{run.place}, order {experiment['order']}"),
        ("classes", ", ".join(experiment["classes"]) or "all of the dataset"),
        ("data", run.record["data"] or UNKNOWN),
        *(
            [("leak", f"{leaks} training images are test images, too")]
            if (leaks := run.record.get("leaks"))
            else []
        ),
        ("seed", str(run.seed)),
        ("recipe", _pairs(recipe) if recipe else UNKNOWN),
        ("evaluation", run.record["protocol"]),
        ("finished", "yes" if run.complete else f"no: {run.unfinished}"),
        *(_training(run) if run.record["source"] is None else _source(run.record["source"])),
    ]


def _leaks(number: int | None) -> list[tuple[str, str]]:
    return [("leak", f"{number} training images are test images, too")] if number else []


def _pairs(values: dict[str, Any]) -> str:
    """Settings as the command line takes them."""
    texts = {
        name: ("on" if value else "off") if isinstance(value, bool) else value for name, value in values.items()
    }
    return ", ".join(f"{name}={text}" for name, text in texts.items())


def _source(source: Source) -> list[tuple[str, str]]:
    return [("imported", f"{source['file']} (format {source['format']}), trained and tested by other code")]


def _training(run: Run) -> list[tuple[str, str]]:
    training = [step["training"] for step in run.steps if step["training"]]
    peaks = [t["peak_memory_bytes"] for t in training if t["peak_memory_bytes"] is not None]
    memory = f"{max(peaks) / 2**30:.2f} GiB" if peaks else UNKNOWN
    return [
        ("training time", f"{sum(t['seconds'] for t in training):.0f} s (shared steps included)"),
        ("peak memory", f"{memory} on {training[-1]['device']}"),
        *_environment(run.environments),
    ]


def _environment(environments: Sequence[Environment]) -> list[tuple[str, str]]:
    """Versions and machine of the last step; where steps differ in a fact, all of its values."""
    found: dict[str, dict[str, None]] = {}
    for environment in environments:
        for name, text in environment_facts(environment):
            found.setdefault(name, {})[text] = None
    versions = environments[-1]["versions"]
    texts_of = {name: " and ".join(texts) for name, texts in found.items()}
    rest = [(name, text) for name, text in texts_of.items() if name not in versions]
    return [("versions", ", ".join(f"{name} {texts_of[name]}" for name in versions)), *rest]


def step_table(run: Run) -> Table:
    """mIoU (%) of the groups after each step."""
    groups = list(run.last["metrics"]["groups"])
    rows = []
    for step in run.steps:
        training, metrics = step["training"], step["metrics"]
        rows.append(
            [
                str(step["step"]),
                *(_number(metrics["groups"].get(group)) for group in groups),
                _number(metrics.get("hiou")),
                _number(metrics.get("pixel_accuracy")),
                str(training["train_images"]) if training else MISSING,
                f"{training['seconds']:.0f}" if training else MISSING,
                step["key"] or MISSING,
            ]
        )
    header = ["step", *groups, "hIoU", "pixel accuracy", "train images", "seconds", "key"]
    return text_table("mIoU (%) after each step", header, rows, [_STEPS] * (run.setting != "domain"))


def class_table(run: Run) -> Table:
    """IoU (%) of each class after each step, and what was forgotten since it was first learned."""
    steps = [(step["step"], step["metrics"]["iou"]) for step in run.steps]
    channels = len(steps[-1][1])
    lost = run.forgotten or [None] * channels
    rows = [
        [name, *(_number(iou[c] if c < len(iou) else None) for _, iou in steps), _number(lost[c])]
        for c, name in enumerate(run.record["class_names"][:channels])
    ]
    header = ["class", *(f"step {s}" for s, _ in steps), "forgotten"]
    return text_table("IoU (%) of each class", header, rows, [_CLASSES])


def _number(value: float | None) -> str:
    return MISSING if value is None else number_text(value)
