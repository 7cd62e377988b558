"""What methods share whose old parts are frozen after the first step."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from issbench.errors import UsageError
from issbench.methods.method import Step


def need_new_classes(method: str, step: Step) -> None:
    """UsageError in a domain-incremental scenario, for a method whose later steps train what new classes add."""
    if step.domain:
        raise UsageError(
            f"method {method} learns new classes beside frozen old ones, and a domain-incremental step has none; "
            "take a class-incremental scenario, or another method"
        )


def freeze(*modules: nn.Module) -> None:
    """Leave all parameters of the modules as they are."""
    for module in modules:
        module.requires_grad_(False)


def freeze_norms(network: nn.Module) -> None:
    """Leave scale and offset of all batch norms as they are; their statistics are kept by evaluation mode."""
    freeze(*(module for module in network.modules() if isinstance(module, _BatchNorm)))


def rates(network: Any, backbone: float) -> list[dict[str, Any]]:
    """Parameter groups with a factor on the learning rate of the backbone; ASPP and classifier have none."""
    return [
        {"params": [*network.backbone.parameters()], "scale": backbone},
        {"params": [*network.aspp.parameters(), *network.classifier.parameters()]},
    ]
