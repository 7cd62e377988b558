"""Makes the record of a run, which tables and figures read; `results/record.py` says what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.engine.stored import Evaluation
from issbench.bench.metrics import Context, run_values, step_values
from issbench.methods.interface.registry import method_info
from issbench.results.record import (
    FORMAT,
    Counts,
    ExemplarFacts,
    MethodFacts,
    Record,
    RunMetrics,
    StepMetrics,
    StepRecord,
    Training,
)
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.groups import channel_names, class_groups
from issbench.scenarios.memory import Memory


def step_record(plan: Plan, step: StepPlan, training: Training, tests: Mapping[str, Evaluation]) -> StepRecord:
    """The record of a step: its metrics, and how it came about. `tests` has the facts of each kind of counts."""
    counts = {kind: facts["counts"] for kind, facts in tests.items()}
    confusion = next(iter(tests.values()))
    return {
        "step": step.index,
        "key": step.key,
        "metrics": cast(StepMetrics, step_values(plan.metrics, counts, context_of(plan))),
        "counts": cast(Counts, confusion["counts"]),
        # Evaluations of one name have the same test images in the same order with the same labels, so that runs can
        # be compared image by image. Paths are relative to the run store.
        "evaluations": {
            kind: {"name": name, "images": f"steps/{step.key}/{name}.npz"}
            for kind, name in step.evaluations.items()
        },
        "test_images": confusion["images"],
        "test_seconds": sum(facts["seconds"] for facts in tests.values()),
        "recipe": step.recipe.of_step(),
        "training": training,
    }


def run_record(plan: Plan, steps: list[StepRecord]) -> Record:
    """The record of a run after the steps carried out so far."""
    experiment, context, leaks = plan.experiment, context_of(plan), len(plan.data.leaks)
    complete = [step["step"] for step in steps] == [step.index for step in plan.steps]
    record: Record = {
        "format": FORMAT,
        "source": None,
        "experiment": experiment.describe(),  # type: ignore[typeddict-item]
        "data": plan.data.identity(plan.scenario, experiment.protocol),
        "dataset_content": plan.data.content,
        "method": method_facts(plan),
        "protocol": experiment.protocol.summary(),
        "class_names": channel_names(plan.scenario, plan.dataset),
        "group_spans": {"named": context.groups["named"], "printed": context.groups["printed"]},
        "classes_per_step": [len(items) for items in plan.scenario.steps],
        "num_steps": len(plan.scenario.steps),
        "complete": complete,
        "steps": steps,
        "metrics": cast(RunMetrics, run_values(plan.metrics, steps, context)) if complete else {},
    }
    if leaks:
        record["leaks"] = leaks
    return record


def exemplar_facts(memory: Memory, dataset: Dataset) -> ExemplarFacts:
    """What a step saw again of earlier steps."""
    files = [path for sample in memory.ids for path in dataset.files(sample)]
    return {
        "images": [list(kept) for kept in zip(memory.ids, memory.steps, strict=True)],
        "bytes": sum(path.stat().st_size for path in files) if files else None,
    }


def method_facts(plan: Plan) -> MethodFacts:
    """The method as tables and figures show it, with all its options."""
    info = method_info(plan.experiment.method_name)
    return {
        "name": info.name,
        "title": plan.method.title,
        "options": plan.resolved,
        "parts": list(info.parts),
        "order": info.table_order,
        "colour": info.colour,
        "marker": info.marker,
        "dashes": info.dashes,
        "cite": info.cite,
        "upper_bound": info.upper_bound,
    }


def context_of(plan: Plan) -> Context:
    """What metrics must know of a run."""
    protocol = plan.experiment.protocol
    return Context(
        groups=class_groups(plan.scenario, plan.dataset, protocol),
        absent_is_zero=protocol.absent == "zero",
        num_steps=len(plan.scenario.steps),
    )
