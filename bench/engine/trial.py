"""One iteration of a step on the meta device, whose tensors have shapes but no values: whether a method can work
with the maps that it will get, and how much memory it needs at least. It takes a moment and next to no memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from issbench.bench.engine.assemble import assemble, channels_per_step, make_network
from issbench.bench.engine.backbones import SIDES
from issbench.bench.engine.network import Network
from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.engine.update import Objective, Training
from issbench.bench.recipe import Recipe
from issbench.errors import RunError, UsageError, UserError
from issbench.methods.method import Method, NoOptions, Step

_META = torch.device("meta")
_BATCH = 2  # images; more need as much more


@dataclass(frozen=True)
class Need:
    """Bytes that stay in memory while a step trains."""

    fixed: int
    """Weights, gradients and the optimiser's moments; the teacher's weights; the state of the method."""
    image: int
    """For each image of a batch: itself, and what the forward pass leaves for the backward pass."""


def try_plan(plan: Plan, step: StepPlan) -> Need:
    """`try_step` for a step of a plan."""
    method: Any = step.method_class
    return try_step(step.place, method, step.options, step.recipe, step.previous is not None)


@lru_cache(maxsize=1024)
def try_step(step: Step, method_class: type[Method], options: Any, recipe: Recipe, continued: bool) -> Need:
    """What a step needs; `continued`: whether it starts from the weights of the step before.

    UsageError for crops that the backbone cannot work on, and whatever the method raises for users: a backbone that
    it cannot change, maps that are too small for it.
    """
    plain = replace(recipe, weights="none")
    channels = channels_per_step(step.classes_per_step)
    before = channels if step.domain or not continued else channels[:-1]
    try:
        with _META:
            weights = None
            if continued:
                weights = make_network(plain, before, "none", method_class.Head).state_dict()
            training = assemble(step, method_class, options, plain, weights, _META)
            return Need(_fixed(training), _image(training))
    except UserError:
        raise
    except Exception:
        _check_crop(plain)
        if method_class is Method:
            raise
        # A method of another package may look at values. What the plain network needs, it needs, too.
        return try_step(step, Method, NoOptions(), recipe, continued=False)


def _why_not(network: Network, crop: int) -> str:
    """What a network says of crops that it cannot work on; else empty."""
    try:
        with _META, torch.no_grad():
            network(torch.empty(_BATCH, 3, crop, crop))
    except Exception as error:  # each of timm's families has its own
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    return ""


def _check_crop(recipe: Recipe) -> None:
    """UsageError where the recipe's backbone cannot work on its crops."""
    with _META:
        network = make_network(recipe, (1,), "none")
    reason = _why_not(network, recipe.crop)
    if "overflow" in reason:
        raise RunError(
            f"crop={recipe.crop}: no machine has memory for images of this size; lower it (--set crop=…)"
        )
    if reason:
        sides = (recipe.output_stride, *SIDES)
        larger = sorted({-(-recipe.crop // side) * side for side in sides} - {recipe.crop})
        fit = next((crop for crop in larger if not _why_not(network, crop)), None)
        remedy = f"it can with --set crop={fit}" if fit else "take one of `bench list backbones`, such as resnet50"
        raise UsageError(
            f"backbone {recipe.backbone} cannot work on crops of {recipe.crop} × {recipe.crop} pixels ({reason}); "
            f"{remedy}"
        )


def _fixed(training: Training) -> int:
    modules = [module for module in (training.student, training.teacher, training.method) if module is not None]
    held = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    trained = [p for group in training.optimizer.param_groups for p in group["params"]]
    moments = 2 if training.recipe.optimizer == "adamw" else 1 if training.recipe.momentum else 0
    copies = 1 + moments  # with the gradient
    return sum(map(_bytes, held)) + copies * sum(map(_bytes, trained))


def _image(training: Training) -> int:
    """What the graph of the loss keeps, by storage: several operations may keep the same tensor, or views of it."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> None:
        kept[tensor.untyped_storage()._cdata] = tensor

    def never(_: None) -> Tensor:
        raise AssertionError("there is no backward pass")

    crop = training.recipe.crop
    images = torch.empty(_BATCH, 3, crop, crop).to(memory_format=torch.channels_last)
    labels = torch.zeros(_BATCH, crop, crop, dtype=torch.long)
    training.method.set_training_mode(training.student)
    with saved_tensors_hooks(keep, never):
        terms = Objective(training.student, training.teacher, training.method)(images, labels, 1.0, None)
    del terms
    for parameter in training.student.parameters():
        kept.pop(parameter.untyped_storage()._cdata, None)
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // _BATCH
    return total // 2 if training.recipe.precision == "bf16" else total  # at best everything is kept in bf16


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
