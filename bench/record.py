"""Records: what a run leaves for tables and figures, as plain values."""

from __future__ import annotations

from typing import Any

from bench.evaluation import forgetting, metrics
from bench.plan import Plan, StepPlan
from scenarios.groups import class_groups

FORMAT = 1
"""Raised when the meaning of a record changes; readers refuse what they do not know."""


def step_record(plan: Plan, step: StepPlan, training: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """The record of a step: its metrics, and how it came about."""
    groups = class_groups(plan.scenario, plan.dataset, plan.experiment.protocol)
    return {
        "step": step.index,
        "key": step.key,
        **metrics(counts, groups, plan.experiment.protocol),
        "counts": {name: counts[name] for name in ("tp", "fp", "fn")},
        "test_images": counts["images"],
        "test_seconds": counts["seconds"],
        "recipe": step.settings,
        "training": training,
    }


def run_record(plan: Plan, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of a run after the steps carried out so far."""
    wanted = [step.index for step in plan.steps]
    done = [record["step"] for record in steps]
    complete = done == wanted
    return {
        "format": FORMAT,
        "experiment": plan.experiment.describe(),
        "title": plan.method.title,
        "protocol": plan.experiment.protocol.summary(),
        "class_names": _channel_names(plan),
        "classes_per_step": [len(items) for items in plan.scenario.steps],
        "num_steps": len(plan.scenario.steps),
        "complete": complete,
        "steps": steps,
        **(_summary(plan, steps) if complete else {}),
    }


def _summary(plan: Plan, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What is known only at the end: mean over steps (None where some were skipped) and forgetting."""
    alls = [record["miou"]["all"] for record in steps]
    every = len(steps) == len(plan.scenario.steps) and None not in alls
    return {
        "mean_over_steps": sum(alls) / len(alls) if every else None,
        "forgetting": forgetting(_first_learned(plan, steps), [record["iou"] for record in steps]),
    }


def _first_learned(plan: Plan, steps: list[dict[str, Any]]) -> list[int]:
    """For each channel the position of the first record whose network has it."""
    sizes = [len(record["iou"]) for record in steps]
    return [next(i for i, size in enumerate(sizes) if channel < size) for channel in range(sizes[-1])]


def _channel_names(plan: Plan) -> list[str]:
    """Names of the classifier's channels, in learning order."""
    dataset = plan.dataset
    background = [] if dataset.background is None else [dataset.background]
    if plan.scenario.setting == "domain":
        return [*background, *dataset.classes]
    return [
        *(background or ["(not yet learned)"]),
        *(dataset.classes[label - 1] for label in plan.scenario.learned),
    ]
