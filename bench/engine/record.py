"""Records: what a run leaves for tables and figures, as plain values."""

from __future__ import annotations

from typing import Any

from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.metrics import Context, metrics_for, run_values, step_values
from issbench.scenarios.groups import channel_names, class_groups

FORMAT = 2
"""Raised when the meaning of a record changes; readers refuse what they do not know. results/schema.json says what
a record holds. 2 added `source`, `group_spans`, and `evaluation` of each step."""


def step_record(plan: Plan, step: StepPlan, training: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """The record of a step: its metrics, and how it came about."""
    return {
        "step": step.index,
        "key": step.key,
        **step_values(metrics_for(()), {"confusion": counts}, _context(plan)),
        "counts": {name: counts[name] for name in ("tp", "fp", "fn")},
        "evaluation": _evaluation(plan, step),
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
        **(run_values(metrics_for(()), [{"metrics": step} for step in steps], _context(plan)) if complete else {}),
    }


def _context(plan: Plan) -> Context:
    protocol = plan.experiment.protocol
    groups = class_groups(plan.scenario, plan.dataset, protocol)
    return Context(groups, protocol.absent == "zero", len(plan.scenario.steps))
