"""What methods share whose old parts are frozen after the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from issbench.errors import UsageError
from issbench.methods.method import Step


def need_new_classes(method: str, step: Step) -> None:
    """UsageError in a domain-incremental scenario, for a method whose later steps train what new classes add."""
    if step.domain:
        raise UsageError(
            f"method {method} trains what new classes add to a network, and a domain-incremental step has none; "
            "take a class-incremental scenario, or another method"
        )


def freeze(*modules: nn.Module) -> None:
    """Leave all parameters of the modules as they are."""
    for module in modules:
        module.requires_grad_(False)


def freeze_norms(network: nn.Module) -> None:
    """Leave scale and offset of all batch norms as they are; their statistics are kept by evaluation mode."""
    freeze(*(module for module in network.modules() if isinstance(module, _BatchNorm)))


def grouped(*scaled: tuple[Sequence[nn.Module], float]) -> list[dict[str, Any]]:
    """Parameter groups: what trains of some modules, and its factor on the learning rate."""
    return [
        {"params": [p for module in modules for p in module.parameters() if p.requires_grad], "scale": scale}
        for modules, scale in scaled
    ]


def rates(network: Any, backbone: float) -> list[dict[str, Any]]:
    """Parameter groups with a factor on the learning rate of the backbone; ASPP and classifier have none."""
    return grouped(([network.backbone], backbone), ([network.aspp, network.classifier], 1.0))


def decay_only(groups: list[dict[str, Any]], new: nn.Module) -> list[dict[str, Any]]:
    """The parameter groups with weight decay for a new part of the network alone."""
    own = {id(parameter): parameter for parameter in new.parameters()}
    kept = [[p for p in group["params"] if id(p) not in own] for group in groups]
    others = [group | {"params": each, "weight_decay": 0.0} for group, each in zip(groups, kept, strict=True)]
    return [*others, {"params": [*own.values()]}]
