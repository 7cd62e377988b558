"""What trains in a step: student, teacher, method and optimiser, as they are when the step begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from issbench.bench.engine.network import Network, start_new_classes
from issbench.bench.engine.norms import synchronise_norms
from issbench.bench.engine.update import Training, make_optimizer
from issbench.bench.recipe import Recipe
from issbench.methods.interface.head import Classifier, Head
from issbench.methods.method import Method, Step


def assemble(
    step: Step,
    method_class: type[Method],
    options: Any,
    recipe: Recipe,
    previous: Mapping[str, Tensor] | None,
    device: torch.device,
) -> Training:
    """The training of a step before its first iteration. `previous` has the weights after the step before;
    None where the step starts from the recipe's first weights."""
    channels, head = channels_per_step(step.classes_per_step), method_class.Head
    student = make_network(recipe, channels, recipe.weights if previous is None else "none", head)
    teacher = None
    if previous is not None:
        student.load_state_dict(previous, strict=False)  # the group of the new classes is not in there
        old = channels if step.domain else channels[:-1]
        if method_class.uses_teacher:
            teacher = frozen(make_network(recipe, old, "none", head), previous, device)
        if len(old) < len(channels):
            start_new_classes(student, method_class.new_classifier)
    student = on_device(student, device)
    method = method_class(options, step_of(step, student))
    names = frozenset(student.state_dict())
    method.to(device).prepare(student)
    student = synchronise_norms(student, device)
    return Training(student, teacher, method, make_optimizer(student, method, recipe), recipe, names)


def channels_per_step(classes_per_step: tuple[int, ...]) -> tuple[int, ...]:
    """The classes that each step adds, the first with the background."""
    first, *later = classes_per_step
    return (1 + first, *later)


def make_network(recipe: Recipe, channels: tuple[int, ...], weights: str, head: type[Head] = Classifier) -> Network:
    """The network of a recipe for the classes that each step adds, the first with the background."""
    return Network(
        recipe.backbone, weights, recipe.output_stride, recipe.aspp_channels, channels, head,
        crop=recipe.crop, activation=recipe.activation,
    )  # fmt: skip


def frozen(network: Network, weights: Mapping[str, Tensor], device: torch.device) -> Network:
    """A network with the weights of a finished step, on the device, in evaluation mode and without gradients."""
    network.load_state_dict(weights)
    network.requires_grad_(False).eval()
    return on_device(network, device)


def on_device(network: Network, device: torch.device) -> Network:
    """The network on the device, its weights as convolutions there like them best."""
    return network.to(device).to(memory_format=torch.channels_last)


def nudge(network: nn.Module, seed: int) -> None:
    """Move each weight to one of its two neighbours among floating-point numbers, drawn on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            up = torch.rand(weights.shape, generator=generator) < 0.5
            towards = torch.where(up, torch.inf, -torch.inf).to(weights)
            weights.copy_(torch.nextafter(weights, towards))


def step_of(step: Step, network: Network) -> Step:
    """The step with what its method must know of the network."""
    return replace(step, feature_channels=network.feature_channels, encoder_channels=network.encoder_channels)
