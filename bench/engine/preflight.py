"""What can go wrong is found before anything trains: networks, first weights, the disk."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence, Set
from pathlib import Path

from torch import nn

from issbench.bench.engine import distributed
from issbench.bench.engine.assemble import make_network
from issbench.bench.engine.loading import default_workers
from issbench.bench.engine.memory import check_memory
from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.engine.store import Store
from issbench.bench.engine.trial import try_plan
from issbench.bench.free_memory import available
from issbench.bench.recipe import Recipe
from issbench.errors import RunError

_CHECKPOINT = 3
"""Size of a checkpoint in networks: weights, momentum, and the state of a method; AdamW has one moment more."""
_PROCESS = 500_000_000
"""Bytes of a process that has imported torch."""
_BOUND = 2
"""How many times its lower bound the memory of a training is at most."""


def preflight(plans: Sequence[Plan], store: Store, missing: Set[str], load_weights: bool) -> int:
    """The bytes that the steps `missing` in the store need on the disk. Raises for a network that cannot be made,
    first weights that cannot be read (if `load_weights`), a network with which a method cannot work, or a disk
    without that room."""
    sizes: dict[Recipe, int] = {}
    for plan in plans:
        first = plan.steps[0]
        if first.recipe not in sizes and (first.key in missing or plan.steps[-1].key in missing):
            weights = first.recipe.weights if load_weights and first.key in missing else "none"
            sizes[first.recipe] = _bytes(make_network(first.recipe, first.channels_per_step, weights))
    for plan, step in _largest(plans, missing):
        try_plan(plan, step)
    if sizes:
        checkpoint = _CHECKPOINT + any(recipe.optimizer == "adamw" for recipe in sizes)
        steps = missing & {step.key for plan in plans for step in plan.steps}
        needed = (len(steps) + checkpoint) * max(sizes.values())
        _check_disk(store.root, needed)
        return needed
    return 0


def enough_memory(plans: Sequence[Plan], missing: Set[str], workers: int | None, last_step: int | None) -> None:
    """RunError where one of the `missing` steps up to `last_step` (None: all) needs more memory than this machine
    has left. What a GPU has is only known when it runs out."""
    free = distributed.from_main(available)
    if free is None:
        return
    here = [plan for plan in plans if plan.device.type == "cpu"]
    for plan, step in _largest(here, missing, last_step):
        readers = default_workers(plan.dataset) if workers is None else workers
        need, label = try_plan(plan, step), plan.experiment.label
        check_memory(need, step.recipe, readers, len(step.order), free, label)


def at_once(plans: Sequence[Plan], missing: Set[str]) -> int:
    """How many of these runs have room in memory beside each other, at least 1, on the CPU."""
    found = ((try_plan(plan, step), step.recipe.batch) for plan, step in _largest(plans, missing))
    most, free = max((need.fixed + batch * need.image for need, batch in found), default=0), available()
    return len(plans) if free is None else max(1, min(len(plans), free // (_PROCESS + _BOUND * most)))


def _largest(
    plans: Sequence[Plan], missing: Set[str], last_step: int | None = None
) -> Collection[tuple[Plan, StepPlan]]:
    """Of the missing steps that differ in their data alone the one with most classes."""
    found: dict[tuple[str, Recipe, str], tuple[Plan, StepPlan]] = {}
    for plan in plans:
        experiment = plan.experiment
        kind = (experiment.method, experiment.recipe, experiment.setting)
        for step in plan.steps:
            if step.key in missing and (last_step is None or step.index <= last_step):
                known = found.get(kind)
                if known is None or sum(step.channels_per_step) >= sum(known[1].channels_per_step):
                    found[kind] = (plan, step)
    return found.values()


def _bytes(network: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def _check_disk(root: Path, needed: int) -> None:
    """RunError where the steps do not fit."""
    place = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise RunError(
            f"the steps to train need about {needed:,} bytes in {root}, where {free:,} bytes are free; make room, "
            "or pass another --out"
        )
