"""What methods share whose old parts are frozen after the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from issbench.errors import UsageError
from issbench.methods.method import Method, Step


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


def rates(network: Any, backbone: float, rate: float = 1.0) -> list[dict[str, Any]]:
    """Parameter groups with a factor on the learning rate of all, and one on top of it of the backbone."""
    return grouped(([network.backbone], backbone * rate), ([network.aspp, network.classifier], rate))


class FrozenNorms(Method):
    """DKD's recipe: in later steps norms are frozen, and of the head's `groups` the new one alone has weight decay.
    Options: `rate`, a factor on the learning rate of later steps, and `backbone_rate`, one of the backbone."""

    def __init__(self, options: Any, step: Step):
        super().__init__(options, step)
        need_new_classes(self.name, step)

    def prepare(self, network: nn.Module) -> None:
        super().prepare(network)
        if self.step.index:
            freeze_norms(network)

    def parameter_groups(self, network: Any) -> list[dict[str, Any]]:
        options, new = self.options, [*network.classifier.groups[-1].parameters()]
        if self.step.index == 0:
            return rates(network, options.backbone_rate)
        own = {*map(id, new)}
        groups = [
            group | {"params": [p for p in group["params"] if id(p) not in own], "weight_decay": 0.0}
            for group in rates(network, options.backbone_rate, options.rate)
        ]
        return [*groups, {"params": new, "scale": options.rate}]

    def set_training_mode(self, network: nn.Module) -> None:
        network.train(self.step.index == 0)
