"""Records: what a run leaves for tables and figures, as plain values."""

from __future__ import annotations

from typing import Any

from issbench.bench.engine.evaluation import forgetting, metrics
from issbench.bench.engine.plan import Plan, StepPlan
from issbench.scenarios.groups import channel_names, class_groups

FORMAT = 2
"""Raised when the meaning of a record changes; readers refuse what they do not know. results/schema.json says what
a record holds. 2 added `source`, `group_spans`, and `evaluation` of each step."""


def step_record(plan: Plan, step: StepPlan, training: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """The record of a step: its metrics, and how it came about."""
    groups = class_groups(plan.scenario, plan.dataset, plan.experiment.protocol)
    return {
        "step": step.index,
        "key": step.key,
        **metrics(counts, groups, plan.experiment.protocol),
        "counts": {name: counts[name] for name in ("tp", "fp", "fn")},
        "evaluation": _evaluation(plan, step),
        "evaluations": {"confusion": _evaluation(plan, step)},
        "test_images": counts["images"],
        "test_seconds": counts["seconds"],
        "recipe": step.settings,
        "training": training,
    }


def _evaluation(plan: Plan, step: StepPlan) -> dict[str, str]:
    """Where the counts of single images lie, relative to the run store. Evaluations of one name have the same test
    images in the same order with the same labels, so that runs can be compared image by image."""
    name = plan.evaluation_name(step)
    return {"name": name, "images": f"steps/{step.key}/{name}.npz"}


def run_record(plan: Plan, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of a run after the steps carried out so far."""
    wanted = [step.index for step in plan.steps]
    done = [record["step"] for record in steps]
    complete = done == wanted
    return {
        "format": FORMAT,
        "source": None,
        "experiment": plan.experiment.describe(),
        "title": plan.method.title,
        "protocol": plan.experiment.protocol.summary(),
        "class_names": channel_names(plan.scenario, plan.dataset),
        "group_spans": class_groups(plan.scenario, plan.dataset, plan.experiment.protocol),
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
